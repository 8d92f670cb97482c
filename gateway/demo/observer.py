"""An operator's ear on the broker: sees every message under the root and says nothing.

It must never publish, and never stand in a message's way: it acknowledges all at once.
"""

import time
from collections.abc import Callable

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.events import Message
from gateway.errors import MessageError
from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.session import Delivery, MqttSession
from gateway.protocol.topics import Topics

CLIENT_ID = "demo-observer"
ROOT = "edge"


class Observer:
    """`began`: the monotonic second from which sightings are dated."""

    def __init__(
        self, at: BrokerAddress, who: BrokerLogin, began: float, on_message: Callable[[Message], None]
    ) -> None:
        self._topics = Topics(ROOT)
        self._began = began
        self._on_message = on_message
        endpoint = BrokerEndpoint(at.host, at.gateway_port, CLIENT_ID, who.user, who.password)
        self._broker = MqttSession(endpoint, [f"{ROOT}/#"], self, 1000)

    @property
    def is_up(self) -> bool:
        """Whether nothing can be missed."""
        return self._broker.up

    async def open(self) -> None:
        """Return once the broker confirmed the subscription. Raises BrokerError."""
        await self._broker.open()

    async def close(self) -> None:
        await self._broker.close()

    def connected(self, connection: int, resumed: bool) -> None:
        """Nothing was missed: there is one connection, made before the first device."""

    def delivered(self, delivery: Delivery) -> None:
        self._broker.settle(delivery)
        try:
            device, channel = self._topics.parse(delivery.topic)
        except MessageError:
            return  # somebody plays with topics that are none of the protocol's
        at = time.monotonic() - self._began
        self._on_message(Message(at, device, channel, delivery.topic, delivery.payload))
