"""An MQTT client to try a broker with: one connection, and a queue of what it receives.

It must never use the gateway's client id.
"""

import asyncio
from typing import Any

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError
from gateway.mqtt import packets
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from gateway.mqtt.limits import BrokerLimits
from gateway.mqtt.packets import Publish


class ProbeClient:
    """Can be opened many times with the session of `endpoint`. Acknowledges nothing by itself."""

    def __init__(self, endpoint: BrokerEndpoint, receive_maximum: int = 65_535) -> None:
        self._received: asyncio.Queue[Publish] = asyncio.Queue()
        self._connection = BrokerConnection(endpoint, self._received.put_nowait, self._on_connected, receive_maximum)
        self.open, self.close = self._connection.open, self._connection.close
        self.wait_disconnected = self._connection.disconnected.wait
        self.session_present = False
        """Whether the broker had kept the session, at the last connection."""

    @property
    def up(self) -> bool:
        return self._connection.up

    @property
    def limits(self) -> BrokerLimits:
        """What the broker granted at the last connection."""
        return self._connection.limits

    async def subscribe(self, topic_filter: str) -> int:
        """The broker's reason code. Retained messages are sent at once. Raises BrokerError."""
        return int((await self._connection.subscribe([(topic_filter, SubscribeOptions(qos=1))]))[0].value)

    async def publish(self, topic: str, payload: bytes, retain: bool = False, expiry: int | None = None) -> int:
        """The broker's reason code. The broker drops the message after `expiry` seconds. Raises BrokerError."""
        properties = b"" if expiry is None else packets.message_expiry(expiry)
        reason: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._connection.publish(
            topic, payload, retain, properties, lambda code: None if reason.done() else reason.set_result(code)
        )
        disconnected = asyncio.ensure_future(self.wait_disconnected())
        waits: list[asyncio.Future[Any]] = [reason, disconnected]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnected.cancel()
        if not reason.done():
            raise BrokerError(f"the connection broke while publishing: {self._connection.disconnect_reason}")
        return reason.result()

    async def receive(self, seconds: float) -> Publish | None:
        """The next message; None where none arrives in so many seconds."""
        try:
            return await asyncio.wait_for(self._received.get(), seconds)
        except TimeoutError:
            return None

    def ack(self, message: Publish) -> None:
        self._connection.ack(message.packet_id)

    def _on_connected(self, session_present: bool) -> None:
        self.session_present = session_present
