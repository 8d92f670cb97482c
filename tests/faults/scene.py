"""One scenario's people and places: a broker, a cloud that misbehaves, a fleet, a ledger, and gateways as processes.

The cloud, the fleet and the proxies live on one asyncio loop in a thread of its own, so the ledger hears of everything
in the order in which it happened. The test's own thread stops and starts processes and waits.
"""

import asyncio
import os
import resource
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgpack
import paho.mqtt.client as paho

from gateway.demo.brokers.discovery import Broker
from tests.faults.cloud import Cloud
from tests.faults.device import Device, Habits
from tests.faults.fleet import Fleet
from tests.faults.ledger import Figures, Ledger
from tests.faults.proxy import Proxy
from tests.support.gateway_process import COMMAND, GatewayProcess, settings
from tests.support.plain_device import Login, Operator
from tests.support.polling import until

FULL = os.environ.get("FAULTS") == "full"
PATIENCE_S = 120.0 if FULL else 29.0

T = TypeVar("T")
Tell = Callable[[Figures, float, str], None]
"""Hears of a scenario's figures, its seconds, and a word more."""


def nobody(figures: Figures, seconds: float, more: str) -> None:
    """Hears of nothing."""


def scaled(small: T, full: T) -> T:
    """What CI has time for, or the size of FAULTS=full."""
    return full if FULL else small


class Scene:
    """A context manager; leaving it ends all that it started. `name` is the DeviceFleetName of most devices."""

    def __init__(self, broker: Broker, name: str, folder: Path, tell: Tell = nobody) -> None:
        self.broker = broker
        self.name = name
        self.ledger = Ledger()
        self.cloud = Cloud(self.ledger)
        self.fleet = Fleet(self.ledger)
        self.folder = folder
        self._tell = tell
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scene", daemon=True)
        self._entered = ExitStack()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each device is a connection
        self._thread.start()
        try:
            self.do(self.cloud.open())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._entered.close()
        finally:
            self._stop()

    def _stop(self) -> None:
        try:
            self.do(self._end())
        finally:
            self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        await self.fleet.leave()
        await self.cloud.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the loop's next turns

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """Call it on the loop, where nothing else happens meanwhile."""

        async def answer() -> T:
            return question(*arguments)

        return self.do(answer())

    # Who takes part

    def gateway(self, port: int | None = None, command: Sequence[str] = COMMAND, **more: object) -> GatewayProcess:
        """A gateway with `more` settings, connected and subscribed. `port`: a proxy's."""
        return self.enter(GatewayProcess(self.variables(port, **more), command))

    def enter(self, gateway: GatewayProcess) -> GatewayProcess:
        """Start it; it ends with the scene."""
        return self._entered.enter_context(gateway)

    def variables(self, port: int | None = None, **more: object) -> dict[str, str]:
        """The environment of such a gateway."""
        at = self.broker.address
        at = at if port is None else replace(at, gateway_port=port)
        ours: dict[str, Any] = {"fleets": self.name, "state": self.folder / "state", "device_rate": 100_000} | more
        return settings(at, self.cloud.url, ours.pop("fleets"), ours.pop("state"), **ours)

    def join(
        self, count: int, asks: bool = True, prefix: str = "d", again_after: float | None = None, **where: Any
    ) -> list[Device]:
        """So many devices, connected and introduced; their names begin with `prefix`. `where`: `fleet`, if it is
        another, and `port`, a proxy's."""
        where = {"fleet": self.name} | where
        return self.do(self.fleet.join(self.broker, count, Habits(asks, again_after), prefix, **where))

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
        """From now on the ledger hears of what stands on `dead`, in this scene's own fleet."""
        at = self.broker.address
        login = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
        self._entered.enter_context(_DeadLetters(login, self.name, self._refused))

    def _refused(self, device: str, number: int, code: int) -> None:
        self._loop.call_soon_threadsafe(self.ledger.refused, device, number, code)

    def proxy(self, port: int) -> Proxy:
        """In front of that port of the broker."""
        made = Proxy(self.broker.address.host, port)
        self.do(made.open())
        self._entered.callback(lambda: self.do(made.close()))
        return made

    # What happens

    def load(self, rate: float, devices: Sequence[Device] = ()) -> None:
        """So many heartbeats a second, until `rest`."""
        self.ask(self.fleet.load, rate, devices)

    def rest(self) -> None:
        self.do(self.fleet.rest())

    def beat(self, count: int = 1) -> None:
        """So many heartbeats of each device."""
        self.ask(self.fleet.beat, count)

    def go_on(self, seconds: float) -> None:
        """Let everything go on: the time is the scenario's own, nothing is waited for."""
        time.sleep(seconds)

    def until(self, holds: Callable[[], bool], otherwise: str, within: float = PATIENCE_S) -> None:
        until(holds, lambda: f"{otherwise}; {self.figures()}", within)

    def until_accepted(self, more: int) -> None:
        """Until so many more calls were accepted."""
        target = self.cloud.made(True, "SendHeartbeat") + more
        self.until(lambda: self.cloud.made(True, "SendHeartbeat") >= target, f"no {more} calls more")

    def until_failed(self, more: int = 1) -> None:
        """Until so many more calls went wrong."""
        target = self.cloud.made(False) + more
        self.until(lambda: self.cloud.made(False) >= target, f"no {more} calls failed")

    def until_confirmed(self) -> None:
        """Until the broker confirmed all that was sent."""
        self.until(lambda: all(device.is_quiet for device in list(self.fleet.devices)), "not all was confirmed")

    def until_through(self, within: float = PATIENCE_S) -> None:
        """Until every heartbeat is accepted or refused, and every seq is acked; each within so many s."""
        while left := self.ledger.open:
            self.until(lambda left=left: self.ledger.open < left, "not all came through", within)  # type: ignore[misc]

    def until_decided(self) -> None:
        """Until all that was asked for is acked, and the newest heartbeat of each device is through."""
        self.until(lambda: self.ask(self.ledger.open_devices) == 0, "not all was decided")

    # How it came out

    def figures(self, prefix: str = "") -> Figures:
        """So far, of the devices whose names begin so."""
        return self.ask(self.ledger.figures, prefix)

    def turn_the_page(self, tell: Tell) -> None:
        """Begin another scenario with the same people, once all is through."""
        self.ask(self.ledger.turn_the_page)
        self._tell, self._began = tell, time.monotonic()

    def close_books(self, more: str = "", forgiven: int = 0) -> Figures:
        """Tell the figures; raise AssertionError where a rule of the ledger is broken."""
        figures = self.figures()
        self._tell(figures, time.monotonic() - self._began, more)
        assert self.ask(self.ledger.broken, forgiven)[:5] == []
        return figures


class _DeadLetters(Operator):
    """Tells of each refused heartbeat: its device, its number and the code."""

    def __init__(self, login: Login, fleet: str, tell: Callable[[str, int, int], None]) -> None:
        super().__init__(login, fleet)
        self._refused = tell

    def _heard(self, message: paho.MQTTMessage) -> None:
        super()._heard(message)
        letter = self.dead.next()
        device = letter.topic.split("/")[-2]
        self._refused(device, msgpack.unpackb(letter.payload)[1], int(letter.said["code"]))
