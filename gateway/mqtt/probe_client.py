"""A visitor of the broker: one connection that says and hears what it is told to, and keeps what it hears.

For whoever tries a broker out. It must never use the gateway's client id, and knows nothing of devices.
"""

import asyncio
from typing import Any

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError
from gateway.mqtt import packets
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from gateway.mqtt.packets import Publish


class ProbeClient:
    """Opened again and again with the session of `endpoint`. Acknowledges nothing by itself."""

    def __init__(self, endpoint: BrokerEndpoint, receive_maximum: int = 65_535) -> None:
        self._heard: asyncio.Queue[Publish] = asyncio.Queue()
        self._link = BrokerConnection(endpoint, self._heard.put_nowait, self._connected, receive_maximum)
        self.resumed = False
        """Whether the broker had kept the session, at the last connection."""

    @property
    def up(self) -> bool:
        """Whether its connection stands."""
        return self._link.up

    @property
    def fault(self) -> str:
        """Why its last connection ended."""
        return self._link.fault

    @property
    def announced(self) -> dict[str, Any]:
        """The properties of the last CONNACK by their names in MQTT 5, without spaces."""
        return self._link.announced

    async def open(self) -> None:
        """Raises BrokerError."""
        await self._link.open()

    async def close(self) -> None:
        """The session stays as the endpoint's `session_expiry` says."""
        await self._link.close()

    async def lost(self) -> None:
        """Wait until the connection is gone."""
        await self._link.lost.wait()

    async def subscribe(self, topic_filter: str) -> int:
        """The broker's reason code. Retained messages are sent at once. Raises BrokerError."""
        return int((await self._link.subscribe([(topic_filter, SubscribeOptions(qos=1))]))[0].value)

    async def publish(self, topic: str, payload: bytes, retain: bool = False, expiry: int | None = None) -> int:
        """The broker's reason code. The broker drops the message `expiry` seconds later. Raises BrokerError."""
        properties = b"" if expiry is None else packets.message_expiry(expiry)
        confirmed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._link.publish(
            topic, payload, retain, properties, lambda code: None if confirmed.done() else confirmed.set_result(code)
        )
        gone = asyncio.ensure_future(self.lost())
        waits: list[asyncio.Future[Any]] = [confirmed, gone]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not confirmed.done():
            raise BrokerError(f"the connection broke while publishing: {self.fault}")
        return confirmed.result()

    async def hear(self, seconds: float) -> Publish | None:
        """The next message; None where none comes for so long."""
        try:
            return await asyncio.wait_for(self._heard.get(), seconds)
        except TimeoutError:
            return None

    def ack(self, heard: Publish) -> None:
        """Send its PUBACK."""
        self._link.ack(heard.packet_id)

    def _connected(self, resumed: bool) -> None:
        self.resumed = resumed
