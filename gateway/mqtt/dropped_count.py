"""Reads how many messages the broker has dropped, where it publishes that (Mosquitto does, in $SYS).

It has a connection of its own: a broker may end the connection of a client that asks for $SYS (rumqttd does, tried).
"""

from collections.abc import Callable
from dataclasses import replace

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError, BrokerRefused
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from gateway.mqtt.packets import Publish

TOPIC = "$SYS/broker/publish/messages/dropped"
SUFFIX = "-statistics"
"""Of the client id."""


class DroppedCount:
    """`on_total` gets the number since the start of the broker: once after `open`, then whenever it has changed."""

    def __init__(self, endpoint: BrokerEndpoint, on_total: Callable[[int], None]) -> None:
        self._on_total = on_total
        own = replace(endpoint, client_id=endpoint.client_id + SUFFIX, session_expiry=0)
        self._connection = BrokerConnection(own, self._on_message)

    async def open(self) -> bool:
        """Connect and subscribe; False: the broker refuses it. Raises BrokerError where it cannot be reached.

        A broker that grants the subscription to whom its ACL denies the topic sends nothing.
        """
        try:
            await self._connection.open()
        except BrokerRefused:
            return False
        try:
            (reason,) = await self._connection.subscribe([(TOPIC, SubscribeOptions(qos=0))])
        except BrokerError:
            return False
        return not reason.is_failure

    async def wait_disconnected(self) -> None:
        await self._connection.disconnected.wait()

    async def close(self) -> None:
        await self._connection.close()

    def _on_message(self, message: Publish) -> None:
        if message.payload.isdigit():
            self._on_total(int(message.payload))
