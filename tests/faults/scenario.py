"""One scenario: a broker, a fake Edge Manager that fails, a fleet, a ledger, and gateways as processes.

The service, the fleet and the proxies run on one asyncio loop in a thread of its own, so the ledger gets all events in
the order in which they happened. The test's own thread stops and starts processes and waits.
"""

import asyncio
import os
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgpack
import paho.mqtt.client as paho

from gateway.demo.brokers.discovery import Broker
from tests.faults.device import Behaviour, Device
from tests.faults.fleet import Fleet
from tests.faults.ledger import Figures, Ledger
from tests.faults.service import FaultyEdgeManager
from tests.support.arrivals import DEADLINE_S
from tests.support.gateway_process import COMMAND, GatewayProcess, settings
from tests.support.loop_thread import LoopThread
from tests.support.plain_device import Login, Operator
from tests.support.polling import until
from tests.support.tcp_proxy import TcpProxy

FULL = os.environ.get("FAULTS") == "full"
GROUP = "a-group-of-the-tests-0123456789"
"""Long enough that a gateway takes it."""
WAIT_S = 120.0 if FULL else DEADLINE_S
DRAIN_S = 50
"""More than a stop needs where the service answers, on the slowest machine too."""

T = TypeVar("T")
Report = Callable[[Figures, float, str], None]
"""Takes a scenario's figures, its seconds, and a remark."""


def no_report(figures: Figures, seconds: float, more: str) -> None:
    """For a scenario without figures of its own."""


def scaled(small: T, full: T) -> T:
    """What CI has time for, or the size of FAULTS=full."""
    return full if FULL else small


class Scenario(LoopThread):
    """A context manager; leaving it ends all that it started. `name` is the DeviceFleetName of most devices."""

    def __init__(self, broker: Broker, name: str, folder: Path, report: Report = no_report) -> None:
        super().__init__("scenario", WAIT_S)
        self.broker = broker
        self.name = name
        self.ledger = Ledger()
        self.service = FaultyEdgeManager(self.ledger)
        self.fleet = Fleet(self.ledger)
        self.folder = folder
        self._report = report
        self._cleanup = ExitStack()
        self._began = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._cleanup.close()
        finally:
            super().__exit__(kind, error, at)

    async def opened(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each device is a connection
        await self.service.open()

    async def closed(self) -> None:
        await self.fleet.disconnect_all()
        await self.service.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the loop's next turns

    # Who takes part

    def gateway(self, port: int | None = None, command: Sequence[str] = COMMAND, **more: object) -> GatewayProcess:
        """A gateway with `more` settings, connected and subscribed. `port`: a proxy's."""
        return self.enter(GatewayProcess(self.variables(port, **more), command))

    def enter(self, gateway: GatewayProcess) -> GatewayProcess:
        """Start it; it ends with the scenario."""
        return self._cleanup.enter_context(gateway)

    def variables(self, port: int | None = None, **more: object) -> dict[str, str]:
        """The environment of such a gateway."""
        at = self.broker.address
        at = at if port is None else replace(at, gateway_port=port)
        ours: dict[str, Any] = {"fleets": self.name, "state": self.folder / "state", "device_rate": 100_000} | more
        return settings(at, self.service.url, ours.pop("fleets"), ours.pop("state"), **ours)

    def join(
        self,
        count: int,
        wants_acks: bool = True,
        prefix: str = "d",
        resend_after: float | None = None,
        says_live: bool = False,
        **where: Any,
    ) -> list[Device]:
        """So many devices, connected, their hellos published; their names begin with `prefix`. `where`: `fleet`, if it
        is another, and `port`, a proxy's."""
        where = {"fleet": self.name} | where
        return self.run(
            self.fleet.join(self.broker, count, Behaviour(wants_acks, resend_after, says_live), prefix, **where)
        )

    @property
    def now(self) -> float:
        """Unix seconds by the true clock."""
        return time.time()

    @property
    def login(self) -> Login:
        """The gateway's own."""
        at = self.broker.address
        return Login(at.host, at.gateway_port, at.gateway.user, at.gateway.password)

    def watch_dead(self) -> None:
        """From now on the ledger gets what is published on `dead`, for this scenario's own fleet."""
        at = self.broker.address
        login = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
        self._cleanup.enter_context(_DeadLetters(login, self.name, self._on_refused))

    def _on_refused(self, device: str, number: int, code: int) -> None:
        self.loop.call_soon_threadsafe(self.ledger.refused, device, number, code)

    def proxy(self, port: int) -> TcpProxy:
        """In front of that port of the broker."""
        made = TcpProxy(self.broker.address.host, port)
        self.run(made.open())
        self._cleanup.callback(lambda: self.run(made.close()))
        return made

    # What happens

    def load(self, rate: float, devices: Sequence[Device] = ()) -> None:
        """So many heartbeats a second, until `stop_load`."""
        self.call(self.fleet.load, rate, devices)

    def stop_load(self) -> None:
        self.run(self.fleet.stop_load())

    def beat(self, count: int = 1) -> None:
        """So many heartbeats of each device."""
        self.call(self.fleet.beat, count)

    def run_for(self, seconds: float) -> None:
        """Let so much time pass: it is the length of what the scenario does, not a wait for something."""
        time.sleep(seconds)

    def until(self, holds: Callable[[], bool], otherwise: str, within: float = WAIT_S) -> None:
        until(holds, lambda: f"{otherwise}; {self.figures()}", within)

    def until_accepted(self, more: int) -> None:
        """Until so many more calls were accepted."""
        target = self.service.count(True, "SendHeartbeat") + more
        self.until(lambda: self.service.count(True, "SendHeartbeat") >= target, f"no {more} calls more")

    def until_failed(self, more: int = 1) -> None:
        """Until so many more calls went wrong."""
        target = self.service.count(False) + more
        self.until(lambda: self.service.count(False) >= target, f"no {more} calls failed")

    def until_confirmed(self) -> None:
        """Until the broker confirmed all that was sent."""
        self.until(lambda: all(device.all_confirmed for device in list(self.fleet.devices)), "not all was confirmed")

    def until_through(self, within: float = WAIT_S) -> None:
        """Until every heartbeat is accepted or rejected, and every seq is acked; each within so many s."""
        while left := self.ledger.open:
            self.until(lambda left=left: self.ledger.open < left, "not all came through", within)  # type: ignore[misc]

    def until_decided(self) -> None:
        """Until all that was asked for is acked, and the newest heartbeat of each device is through."""
        self.until(lambda: self.call(self.ledger.open_devices) == 0, "not all was decided")

    # The result

    def figures(self, prefix: str = "") -> Figures:
        """So far, of the devices whose names begin so."""
        return self.call(self.ledger.figures, prefix)

    def start_over(self, report: Report) -> None:
        """Begin another scenario with the same devices, once nothing is open."""
        self.call(self.ledger.start_over)
        self._report, self._began = report, time.monotonic()

    def check_ledger(self, more: str = "", forgiven: int = 0) -> Figures:
        """Report the figures; raise AssertionError where a rule of the ledger is broken."""
        figures = self.figures()
        self._report(figures, time.monotonic() - self._began, more)
        assert self.call(self.ledger.broken, forgiven)[:5] == []
        return figures


class _DeadLetters(Operator):
    """Reports each rejected heartbeat: its device, its number and the code."""

    def __init__(self, login: Login, fleet: str, report: Callable[[str, int, int], None]) -> None:
        super().__init__(login, fleet)
        self._on_refused = report

    def _on_message(self, message: paho.MQTTMessage) -> None:
        super()._on_message(message)
        message_on_dead = self.dead.next()
        device = message_on_dead.topic.split("/")[-2]
        self._on_refused(device, msgpack.unpackb(message_on_dead.payload)[1], int(message_on_dead.properties["code"]))
