"""The play: puts everything up, lets it happen, waits for what must be seen, and takes it all down again.

What it reports it has seen; where something did not happen it raises DemoError, and never prints a success instead.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.demo import kit, narration, stage
from gateway.demo.brokers.address import BrokerLogin, free_ports
from gateway.demo.brokers.discovery import ManagedBroker
from gateway.demo.brokers.process import ManagedProcess
from gateway.demo.events import Message, Sighting
from gateway.demo.hints import Place, lines
from gateway.demo.observer import Observer
from gateway.demo.proxy import Tap, tapping
from gateway.demo.screen import Row, Screen
from gateway.demo.stage import FLEET, LISTENING, SUBSCRIBED, DemoError
from gateway.demo.tracker import Record, contradictions, lack, result_of
from gateway.manager.cli.reports import status
from gateway.manager.store.database import open_store

PATIENCE = 12.0
"""Seconds for each act; each takes one to three where nothing is wrong."""
BEFORE = 2
"""Heartbeats of each device before there is a deployment."""
IN_ALL = 5
LOOK = 0.2
"""Seconds between two looks at whether all parts still run."""
OBSERVER = "observer"
GUEST = "dev-4"


class Play:
    """One run. `folder`: for everything that is written. `program`: how `edge-gateway` is called on this machine."""

    def __init__(self, folder: Path, screen: Screen, found: kit.Kit, program: str) -> None:
        self._folder = folder
        self._screen = screen
        self._kit = found
        self._program = program
        self._names = [player.name for player in found.players]
        self._record = Record(self._names)
        self._began = time.monotonic()
        self._sightings: asyncio.Queue[Sighting] = asyncio.Queue()
        self._news = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._parts: list[ManagedProcess] = []
        self._muted = False
        self.is_over = False
        """Whether all was seen, and only `--keep` holds it up."""

    async def run(self, find: Callable[[Path], ManagedBroker], keep: bool) -> None:
        """Everything, then the table. `find`: gives a broker that keeps its files in that folder.

        Raises DemoError, and another GatewayError or OSError where a part cannot start.
        """
        async with AsyncExitStack() as up:
            self._follower = asyncio.create_task(self._follow())
            up.callback(self._follower.cancel)
            self._broker = await self._put_up_broker(up, find)
            tap = await up.enter_async_context(tapping(free_ports(1)[0], self._began, self._sightings.put_nowait))
            await self._put_up_service(up, tap)
            await self._put_up_devices(up)
            deployment = await self._perform()
            self.is_over = True
            if keep:
                await self._stay(deployment)

    # Putting up

    async def _put_up_broker(self, up: AsyncExitStack, find: Callable[[Path], ManagedBroker]) -> ManagedBroker:
        folder = self._folder / "broker"
        folder.mkdir()
        found = find(folder)
        up.push_async_callback(stage.in_threads, found.stop)
        await stage.in_threads(found.start)
        at = found.address
        reader = found.add_reader(OBSERVER)
        found.add_users(f"{FLEET}/{name}" for name in (*self._names, GUEST))
        self._observer = Observer(at, reader, self._began, self._sightings.put_nowait)
        await self._observer.open()
        up.push_async_callback(self._observer.close)
        rules = "the shipped configuration and an ACL" if at.has_acl else "which knows no ACL and no passwords"
        self._screen.fact("broker", f"{at.kind}, {at.host}:{at.device_port}, {rules}")
        return found

    async def _put_up_service(self, up: AsyncExitStack, tap: Tap) -> None:
        endpoint = f"http://{self._broker.address.host}:{tap.port}"
        manager = stage.manager(self._folder)
        gateway = stage.gateway(self._folder, self._broker.address, endpoint)
        async with self._putting_up(up, manager), self._putting_up(up, gateway):
            urls = await stage.in_threads(
                lambda: stage.start(manager, LISTENING), lambda: stage.start(gateway, SUBSCRIBED), self._compile
            )
        tap.target = str(urls[0])
        self._screen.fact("Edge Manager", f"{tap.target}; calls pass a tap, {endpoint}")
        await stage.manage(self._folder, "register", FLEET, *self._names)

    def _compile(self) -> None:
        if self._kit.cross and any(player.is_on_micropython for player in self._kit.players):
            stage.compile_board(self._kit.cross, self._folder)

    async def _put_up_devices(self, up: AsyncExitStack) -> None:
        at = self._broker.address
        children = []
        for player in self._kit.players:
            who = self._broker.add_user(f"{FLEET}/{player.name}")
            children.append(stage.device(self._folder, player, at, who))
            self._screen.fact(player.name, str(player))
        size = self._kit.model.stat().st_size
        self._screen.fact("model", f"{self._kit.model.name}, {size:,} bytes")
        for note in self._kit.notes:
            self._screen.fact("note", note)
        self._screen.act("Three devices say hello, ask for their plan, and report each second")
        async with AsyncExitStack() as putting:
            for child in children:
                await putting.enter_async_context(self._putting_up(up, child))
            await stage.in_threads(*[lambda child=child: child.start(lambda: True) for child in children])

    @asynccontextmanager
    async def _putting_up(self, up: AsyncExitStack, part: ManagedProcess) -> AsyncIterator[None]:
        """It is taken down at the end in any case, and watched once it is up."""
        up.push_async_callback(stage.in_threads, part.stop)
        yield
        self._parts.append(part)

    # What happens

    async def _perform(self) -> str:
        devices = self._record.devices.values()
        await self._until(lambda: all(device.accepted >= BEFORE for device in devices))
        handle, model = self._kit.handle, self._kit.model
        self._screen.act(f"edge-gateway manager deploy {FLEET} --all {handle}={model.name}")
        await stage.manage(self._folder, "deploy", FLEET, "--all", f"{handle}={model}")
        deployment = str(self._reports()[self._names[0]]["deployments"][-1]["DeploymentName"])
        await self._until(lambda: all(lack(device, deployment) is None for device in devices), deployment)
        await self._until(lambda: all(device.accepted >= IN_ALL for device in devices), deployment)
        await self._until(lambda: self._agrees(deployment), deployment)
        return deployment

    def _agrees(self, deployment: str) -> bool:
        """All that was sent has arrived, and the manager counts what was seen. Then, at that moment, the table."""
        devices = self._record.devices.values()
        if not all(device.is_settled for device in devices):
            return False
        reports = self._reports()
        if any(contradictions(device, reports[device.name], deployment) for device in devices):
            return False
        self._muted = True
        self._screen.table([self._row(name, reports[name], deployment) for name in self._names])
        return True

    def _reports(self) -> dict[str, Any]:
        """What the manager has in its store."""
        with contextlib.closing(open_store(self._folder / "manager", create=False)) as store:
            return {each["device"]: each for each in status(store, FLEET)}

    def _row(self, name: str, report: dict[str, Any], deployment: str) -> Row:
        seen = self._record.devices[name]
        return Row(
            device=name,
            runtime=seen.runtime,
            accepted=report["accepted"],
            plan=narration.digest(seen.digest),
            result=result_of(report, deployment),
            payload=seen.payload_bytes,
            packets=seen.packet_bytes,
            json=seen.json_bytes,
            http=seen.http_bytes,
            heartbeats=seen.heartbeats,
            hello=seen.hello_bytes,
        )

    async def _stay(self, deployment: str) -> None:
        """Until somebody ends it; routine is not shown any more."""
        await stage.manage(self._folder, "register", FLEET, GUEST)
        entry = stage.logged(self._folder / "gateway.log", "status pages served") or {}
        place = Place(
            at=self._broker.address,
            observer=self._credentials(OBSERVER),
            guest=self._credentials(f"{FLEET}/{GUEST}"),
            program=self._program,
            data=self._folder / "manager",
            handle=self._kit.handle,
            another=self._kit.another,
            pages=str(entry.get("url", "")),
        )
        self._screen.act("It all stays up until Ctrl-C. Routine is not shown any more; try these:")
        for purpose, command in lines(place):
            self._screen.command(purpose, command)
        self._screen.say("")
        await self._until(lambda: False, patience=float("inf"))

    def _credentials(self, user: str) -> BrokerLogin:
        return self._broker.add_user(user)

    # Waiting

    async def _follow(self) -> None:
        """Learn and show what is seen, as it comes; a call never before the heartbeat that it carries."""
        held: list[Sighting] = []
        while True:
            held.append(await self._sightings.get())
            early = []
            for sighting in held:
                if self._record.is_early(sighting):
                    early.append(sighting)
                else:
                    self._take(sighting)
            held = early
            self._news.set()

    def _take(self, sighting: Sighting) -> None:
        self._record.add(sighting)
        if isinstance(sighting, Message) and not narration.is_step(sighting):
            return
        line = narration.tell(sighting, {name: each.layouts for name, each in self._record.devices.items()})
        is_ours = line.device in self._record.devices
        if not (self._muted and is_ours and line.tone is not narration.Tone.BAD):
            self._screen.line(line)

    async def _until(
        self, condition: Callable[[], bool], deployment: str | None = None, patience: float = PATIENCE
    ) -> None:
        """Wait for a sighting that makes it true. Raises DemoError where a part is gone, or `patience` seconds are."""
        deadline = time.monotonic() + patience
        while not condition():
            self._check_parts()
            failed = deployment and any(
                device.results.get(deployment, "SUCCESS") != "SUCCESS" for device in self._record.devices.values()
            )
            if failed or time.monotonic() > deadline:
                raise DemoError(self._complaint(deployment))
            self._news.clear()
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._news.wait()

    def _check_parts(self) -> None:
        if self._follower is not None and self._follower.done():
            self._follower.result()
        for part in self._parts:
            if not part.is_running:
                ended = part.process.returncode
                raise DemoError(f"{part.name} ended too early, with status {ended}.\n{stage.tail(part.name, part.log)}")
        if not self._observer.is_up:
            log = self._folder / "broker" / "log"
            raise DemoError(f"the broker closed the observer's connection.\n{stage.tail('the broker', log)}")

    def _complaint(self, deployment: str | None) -> str:
        """What did not happen, device by device, and the log of the part at which the first of them stopped."""
        told, part = [], ""
        reports = self._reports() if deployment else {}
        for name, device in self._record.devices.items():
            lacking = lack(device, deployment)
            against = [] if lacking or not deployment else contradictions(device, reports[name], deployment)
            told += [f"{name}: {what}" for what in ([lacking.what] if lacking else against)]
            told += [f"{name}: {refusal}" for refusal in device.refusals[-2:]]
            part = part or (lacking.part if lacking else "gateway" if against else "")
            part = name if part == "device" else part
        if not told:
            told, part = ["the devices became too slow"], "gateway"
        return "\n".join([*told, stage.tail(part, self._folder / f"{part}.log")])
