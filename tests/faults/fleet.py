"""A fleet of simulated devices, each with a connection of its own, and the load that they make.

Everything here runs on one asyncio loop.
"""

import asyncio
import itertools
from collections.abc import Sequence

from gateway.demo.brokers.discovery import Broker
from tests.faults.device import Behaviour, Device, Endpoint
from tests.faults.ledger import Ledger

TICK_S = 0.01
AT_ONCE = 100
"""So many devices connect at once."""


class Fleet:
    """All devices of a scenario, of however many DeviceFleetNames."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.devices: list[Device] = []
        self._connections: list[asyncio.Task[None]] = []
        self._loads: list[asyncio.Task[None]] = []

    async def join(
        self, broker: Broker, count: int, behaviour: Behaviour, prefix: str, fleet: str, port: int | None = None
    ) -> list[Device]:
        """Devices {prefix}-{index}, connected, their hellos handed over. `port` None: the broker's own."""
        names = [f"{prefix}-{index}" for index in range(count)]
        users = await asyncio.to_thread(broker.add_users, [f"{fleet}/{name}" for name in names])
        endpoint = Endpoint(broker.address.host, port or broker.address.device_port, asyncio.Semaphore(AT_ONCE))
        new = [Device(endpoint, fleet, name, users[f"{fleet}/{name}"], self._ledger, behaviour) for name in names]
        self.devices += new
        self._connections += [asyncio.create_task(device.stay_connected()) for device in new]
        if behaviour.resend_after is not None:
            self._connections.append(asyncio.create_task(_resending(new)))
        for device in new:
            await device.is_up.wait()
            device.hello()
        return new

    def load(self, rate: float, devices: Sequence[Device] = ()) -> None:
        """Heartbeats of all devices, or of these, in turn; `rate` of them a second, until `stop_load`. It may be called
        for several loads at once."""
        self._loads.append(asyncio.create_task(_loading(rate, devices or self.devices)))

    async def stop_load(self) -> None:
        """No more load."""
        for load in self._loads:
            load.cancel()
        self._loads.clear()

    def beat(self, count: int = 1) -> None:
        """So many heartbeats of each device, at once."""
        for _ in range(count):
            for device in self.devices:
                device.beat()

    async def disconnect_all(self) -> None:
        """All devices disconnect."""
        await self.stop_load()
        for connection in self._connections:
            connection.cancel()
        for device in self.devices:
            device.close()


async def _loading(rate: float, devices: Sequence[Device]) -> None:
    """A device that waits for too many PUBACKs or acks sends nothing meanwhile: no device is faster than the broker
    confirms and the gateway acks."""
    loop, turns = asyncio.get_running_loop(), itertools.cycle(devices)
    began, made = loop.time(), 0
    while True:
        due = int((loop.time() - began) * rate) - made
        for device in itertools.islice(turns, due):
            if device.may_send:
                device.beat()
        made += due
        await asyncio.sleep(TICK_S)


async def _resending(devices: Sequence[Device]) -> None:
    while True:
        await asyncio.sleep(0.1)
        for device in devices:
            device.resend()
