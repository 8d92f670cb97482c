"""Hellos between the core, the broker and the disk: retained ones are fetched, and what is learnt is saved.

Must never decide what a hello means.
"""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any

import structlog

from gateway.clock import monotonic
from gateway.core import Effect, Engine, SaveHellos, SaveRegistration
from gateway.errors import BrokerClosed, StateError
from gateway.mqtt import MqttSession
from gateway.pipeline import clock
from gateway.pipeline.publisher import PublishBarrier
from gateway.protocol import Channel, Device, HelloRecord, Topics
from gateway.storage import StateStore

RETRY_AFTER = 5.0
"""Seconds after which hellos that could not be saved are saved again."""
SAVED_AT_ONCE = 500
"""Devices in one transaction: some 30 ms of the loop."""

_log = structlog.get_logger()


class RetainedHelloReader:
    """Fetches what one turn of the loop asks for with one SUBSCRIBE, and ends the core's waits at their deadline.

    `linger`: seconds after the SUBACK for which the subscription stays.
    """

    def __init__(
        self,
        engine: Engine,
        topics: Topics,
        session: MqttSession,
        linger: float,
        execute: Callable[[list[Effect]], None],
        start_task: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._engine, self._topics = engine, topics
        self._session, self._linger = session, linger
        self._execute, self._start_task = execute, start_task
        self._loop = asyncio.get_running_loop()
        self._devices: list[Device] = []
        self._timer: asyncio.TimerHandle | None = None

    def fetch(self, device: Device) -> None:
        if not self._devices:
            self._loop.call_soon(lambda: self._start_task(self._fetch_all()))
        self._devices.append(device)

    async def _fetch_all(self) -> None:
        devices, self._devices = self._devices, []

        def confirmed() -> None:
            now = clock.now()
            for device in devices:
                self._engine.hello_lookup_started(device, now)
            self._set_timer()

        topics = [self._topics.format(device, Channel.HELLO) for device in devices]
        try:
            await self._session.read_retained(topics, confirmed, self._linger)
        except BrokerClosed as error:
            event = "the broker ends the connection when hellos are asked for: their devices get code 2"
            _log.error(event, reason=str(error), topic=topics[0], devices=len(topics))
            confirmed()  # the waits end at their deadline

    def end_waits(self, under_pressure: bool = False) -> None:
        """End the waits that are over. `under_pressure`: as Engine.tick's."""
        self._execute(self._engine.tick(clock.now(), under_pressure))
        self._set_timer()

    def _set_timer(self) -> None:
        self.stop()
        deadline = self._engine.deadline()
        self._timer = None if deadline is None else self._loop.call_later(deadline - monotonic(), self.end_waits)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class HelloWriter:
    """Saves what one turn of the loop learns in one transaction. A disk that fails delays nothing: it is logged.

    `known`: the hellos of all devices, for a file that was begun empty.
    """

    def __init__(self, store: StateStore, known: Callable[[], dict[Device, tuple[HelloRecord, ...]]]) -> None:
        self._database, self._known = store.database, known
        self._loop = asyncio.get_running_loop()
        self._unsaved: dict[Device, tuple[HelloRecord, ...]] = {}
        self._registrations: dict[Device, float | None] = {}
        self._barriers: list[PublishBarrier] = []
        self._scheduled: asyncio.Handle | None = None
        self._failing = False

    @property
    def pending(self) -> bool:
        """Whether something waits for the disk."""
        return bool(self._barriers)

    def start(self) -> None:
        """The hellos of the last run are restored."""
        if self._database.begun_empty:
            self._scheduled = self._loop.call_soon(self._write)

    def save(self, effect: SaveHellos, barrier: PublishBarrier) -> None:
        """What follows in the list of effects waits for the disk, unless that is known to fail."""
        self._unsaved[effect.device] = effect.hellos
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._write)
        if not self._failing:
            barrier.pending += 1
            self._barriers.append(barrier)

    def save_registration(self, effect: SaveRegistration) -> None:
        """Nothing waits for it: without it the next run does not know the device's registration."""
        self._registrations[effect.device] = effect.since
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = None
        if self._database.begun_empty:
            self._unsaved, self._database.begun_empty = self._known(), False
        part = dict(islice(self._unsaved.items(), SAVED_AT_ONCE))
        try:
            if part:
                self._database.save_hellos(part)
            if self._registrations:
                self._database.save_registrations(self._registrations)
                self._registrations = {}
        except StateError as error:
            event = "hellos cannot be saved: after a restart older tags are unknown, until the disk works again"
            _log.error(event, error=str(error))
            self._failing = True
            self._scheduled = self._loop.call_later(RETRY_AFTER, self._write)
        else:
            self._failing = False
            for device in part:
                del self._unsaved[device]
            if self._unsaved:
                self._scheduled = self._loop.call_soon(self._write)
                return
        barriers, self._barriers = self._barriers, []
        for barrier in barriers:
            barrier.done()
