"""The demo's scenario: starts all parts, waits for each step, and stops all parts.

It must never report a step that it has not observed: it raises DemoError instead.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.demo import narration, processes
from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.discovery import ManagedBroker
from gateway.demo.brokers.process import ManagedProcess
from gateway.demo.environment import Environment
from gateway.demo.events import Event, PublishEvent
from gateway.demo.hints import commands_to_try
from gateway.demo.observers import RecordingProxy, TopicObserver, recording_proxy
from gateway.demo.processes import FLEET, LISTENING, SUBSCRIBED, DemoError
from gateway.demo.screen import DeviceRow, Screen
from gateway.demo.tracker import Tracker, differences, missing_step, result_of
from gateway.manager import Place, device_reports, open_store

STEP_TIMEOUT = 12.0
"""Seconds. Without a fault a step takes one to three."""
HEARTBEATS_BEFORE = 2
"""Heartbeats of each device before the deployment."""
HEARTBEATS_IN_ALL = 5
CHECK_INTERVAL = 0.2
"""Seconds between checks that all processes run."""
OBSERVER = "observer"
GUEST = "dev-4"


class Scenario:
    """One run. `folder`: for all files. `program`: the command `edge-gateway` on this machine."""

    def __init__(self, folder: Path, screen: Screen, environment: Environment, program: str) -> None:
        self._folder = folder
        self._screen = screen
        self._environment = environment
        self._program = program
        self._names = [device.name for device in environment.devices]
        self._tracker = Tracker(self._names)
        self._began = time.monotonic()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._event_handled = asyncio.Event()
        self._event_loop: asyncio.Task[None] | None = None
        self._processes: list[ManagedProcess] = []
        self._routine_hidden = False
        self.is_over = False
        """Whether all steps are done, and only `--keep` leaves it running."""

    async def run(self, find_broker: Callable[[Path], ManagedBroker], keep: bool) -> None:
        """All steps, then the table. `find_broker` gets the folder for the broker's files.

        Raises DemoError, and another GatewayError or OSError if a part cannot start.
        """
        async with AsyncExitStack() as stack:
            self._event_loop = asyncio.create_task(self._handle_events())
            stack.callback(self._event_loop.cancel)
            self._broker = await self._start_broker(stack, find_broker)
            listening = recording_proxy(free_ports(1)[0], self._began, self._events.put_nowait)
            proxy = await stack.enter_async_context(listening)
            await self._start_manager_and_gateway(stack, proxy)
            await self._start_devices(stack)
            await self._deploy()
            self.is_over = True
            if keep:
                await self._keep_running()

    # Start

    async def _start_broker(self, stack: AsyncExitStack, find_broker: Callable[[Path], ManagedBroker]) -> ManagedBroker:
        folder = self._folder / "broker"
        folder.mkdir()
        broker = find_broker(folder)
        stack.push_async_callback(processes.run_in_threads, broker.stop)
        await processes.run_in_threads(broker.start)
        address = broker.address
        login = broker.add_reader(OBSERVER)
        broker.add_users(f"{FLEET}/{name}" for name in (*self._names, GUEST))
        self._observer = TopicObserver(address, login, self._began, self._events.put_nowait)
        await self._observer.open()
        stack.push_async_callback(self._observer.close)
        rules = "the shipped configuration and an ACL" if address.has_acl else "without ACL and passwords"
        self._screen.header("broker", f"{address.kind}, {address.host}:{address.device_port}, {rules}")
        return broker

    async def _start_manager_and_gateway(self, stack: AsyncExitStack, proxy: RecordingProxy) -> None:
        endpoint = f"http://{self._broker.address.host}:{proxy.port}"
        manager = processes.manager_process(self._folder)
        gateway = processes.gateway_process(self._folder, self._broker.address, endpoint)
        async with self._supervised(stack, manager), self._supervised(stack, gateway):
            urls = await processes.run_in_threads(
                lambda: processes.start_and_wait(manager, LISTENING),
                lambda: processes.start_and_wait(gateway, SUBSCRIBED),
                self._compile,
            )
        proxy.target = str(urls[0])
        self._screen.header("Edge Manager", f"{proxy.target}; calls pass a proxy, {endpoint}")
        await processes.run_manager_command(self._folder, "register", FLEET, *self._names)

    def _compile(self) -> None:
        environment = self._environment
        if environment.mpy_cross and any(device.micropython for device in environment.devices):
            processes.compile_board(environment.mpy_cross, self._folder)

    async def _start_devices(self, stack: AsyncExitStack) -> None:
        devices = []
        for device in self._environment.devices:
            login = self._broker.add_user(f"{FLEET}/{device.name}")
            devices.append(processes.device_process(self._folder, device, self._broker.address, login))
            self._screen.header(device.name, str(device))
        model = self._environment.model
        self._screen.header("model", f"{model.name}, {model.stat().st_size:,} bytes")
        for note in self._environment.notes:
            self._screen.header("note", note)
        self._screen.step("Three devices say hello, ask for their plan, and report each second")
        async with AsyncExitStack() as starting:
            for process in devices:
                await starting.enter_async_context(self._supervised(stack, process))
            await processes.run_in_threads(*[lambda each=each: each.start(lambda: True) for each in devices])

    @asynccontextmanager
    async def _supervised(self, stack: AsyncExitStack, process: ManagedProcess) -> AsyncIterator[None]:
        """The body starts the process. It is stopped at the end in any case, and checked once it is started."""
        stack.push_async_callback(processes.run_in_threads, process.stop)
        yield
        self._processes.append(process)

    # Steps

    async def _deploy(self) -> None:
        devices = self._tracker.devices.values()
        await self._wait_until(lambda: all(device.accepted >= HEARTBEATS_BEFORE for device in devices))
        handle, model = self._environment.handle, self._environment.model
        self._screen.step(f"edge-gateway manager deploy {FLEET} --all {handle}={model.name}")
        await processes.run_manager_command(self._folder, "deploy", FLEET, "--all", f"{handle}={model}")
        deployment = str(self._reports()[self._names[0]]["deployments"][-1]["DeploymentName"])
        await self._wait_until(lambda: all(missing_step(each, deployment) is None for each in devices), deployment)
        await self._wait_until(lambda: all(each.accepted >= HEARTBEATS_IN_ALL for each in devices), deployment)
        await self._wait_until(lambda: self._print_table_if_equal(deployment), deployment)

    def _print_table_if_equal(self, deployment: str) -> bool:
        """Print the table at a moment when all samples have arrived and the manager's counts are the observed ones."""
        devices = self._tracker.devices.values()
        if not all(device.all_samples_accepted for device in devices):
            return False
        reports = self._reports()
        if any(differences(device, reports[device.name], deployment) for device in devices):
            return False
        self._routine_hidden = True
        self._screen.table([self._row(name, reports[name], deployment) for name in self._names])
        return True

    def _reports(self) -> dict[str, Any]:
        """The manager's records, by device."""
        place = Place(self._folder / "manager")
        with contextlib.closing(open_store(place, create=False, read_only=True)) as store:
            return {each["device"]: each for each in device_reports(store, time.time(), FLEET)}

    def _row(self, name: str, report: dict[str, Any], deployment: str) -> DeviceRow:
        device = self._tracker.devices[name]
        return DeviceRow(
            device=name,
            runtime=device.runtime,
            accepted=report["accepted"],
            plan=narration.digest(device.digest),
            result=result_of(report, deployment),
            payload=device.payload_bytes,
            packets=device.packet_bytes,
            json=device.json_bytes,
            http=device.http_bytes,
            heartbeats=device.heartbeats,
            hello=device.hello_bytes,
        )

    async def _keep_running(self) -> None:
        """Wait for a signal. Of the demo's own devices only errors are shown."""
        await processes.run_manager_command(self._folder, "register", FLEET, GUEST)
        entry = processes.find_log_event(self._folder / "gateway.log", "status pages served") or {}
        commands = commands_to_try(
            self._broker.address,
            observer=self._broker.add_user(OBSERVER),
            guest=self._broker.add_user(f"{FLEET}/{GUEST}"),
            program=self._program,
            data=self._folder / "manager",
            environment=self._environment,
            status_url=str(entry.get("url", "")),
        )
        self._screen.step("All parts keep running until Ctrl-C. Routine messages are not shown any more. Try these:")
        for purpose, command in commands:
            self._screen.command(purpose, command)
        self._screen.text("")
        await self._wait_until(lambda: False, seconds=float("inf"))

    # Events

    async def _handle_events(self) -> None:
        """Count and show events as they come. A call waits for the heartbeat that it carries."""
        waiting: list[Event] = []
        while True:
            waiting.append(await self._events.get())
            early = []
            for event in waiting:
                if self._tracker.is_early(event):
                    early.append(event)
                else:
                    self._handle(event)
            waiting = early
            self._event_handled.set()

    def _handle(self, event: Event) -> None:
        self._tracker.add(event)
        if isinstance(event, PublishEvent) and not narration.is_shown(event):
            return
        line = narration.describe(event, {name: each.layouts for name, each in self._tracker.devices.items()})
        is_routine = line.device in self._tracker.devices and line.tone is not narration.Tone.BAD
        if not (self._routine_hidden and is_routine):
            self._screen.event(line)

    async def _wait_until(
        self, condition: Callable[[], bool], deployment: str = "", seconds: float = STEP_TIMEOUT
    ) -> None:
        """Check a condition after each event. Raises DemoError after so many seconds, or if a process has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            self._check_processes()
            results = [device.results.get(deployment, "SUCCESS") for device in self._tracker.devices.values()]
            if (deployment and set(results) != {"SUCCESS"}) or time.monotonic() > deadline:
                raise DemoError(self._failure_text(deployment))
            self._event_handled.clear()
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL):
                    await self._event_handled.wait()

    def _check_processes(self) -> None:
        if self._event_loop is not None and self._event_loop.done():
            self._event_loop.result()
        for process in self._processes:
            if not process.is_running:
                log = processes.log_tail(process.name, process.log)
                raise DemoError(f"{process.name} ended too early, with status {process.process.returncode}.\n{log}")
        if not self._observer.is_up:
            log = processes.log_tail("the broker", self._folder / "broker" / "log")
            raise DemoError(f"the broker closed the observer's connection.\n{log}")

    def _failure_text(self, deployment: str) -> str:
        """What is missing for each device, and the log of the part that the first device waits for."""
        texts, part = [], ""
        reports = self._reports() if deployment else {}
        for name, device in self._tracker.devices.items():
            missing = missing_step(device, deployment or None)
            different = [] if missing or not deployment else differences(device, reports[name], deployment)
            texts += [f"{name}: {text}" for text in ([missing.text] if missing else different)]
            texts += [f"{name}: {error}" for error in device.errors[-2:]]
            part = part or (missing.part if missing else "gateway" if different else "")
            part = name if part == "device" else part
        if not texts:
            texts, part = ["the devices became too slow"], "gateway"
        return "\n".join([*texts, processes.log_tail(part, self._folder / f"{part}.log")])
