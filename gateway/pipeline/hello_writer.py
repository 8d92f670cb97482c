"""Keeps what a turn of the loop learns of hellos in one transaction; what waits for it goes on afterwards."""

import asyncio

import structlog

from gateway.core.effects import SaveHellos
from gateway.errors import StateError
from gateway.pipeline.confirmations import PublishBarrier
from gateway.protocol.messages import Device, HelloRecord
from gateway.storage.state_store import StateStore

_log = structlog.get_logger()


class HelloWriter:
    """Before the store. A disk that fails holds nothing up: it is told, and what was learnt is known until the end."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._learnt: dict[Device, tuple[HelloRecord, ...]] = {}
        self._waiting: list[PublishBarrier] = []

    @property
    def under_way(self) -> bool:
        """Whether something is learnt and not yet on the disk."""
        return bool(self._learnt)

    def keep(self, effect: SaveHellos, confirmations: PublishBarrier) -> None:
        """What follows in the list waits for the disk."""
        if not self._learnt:
            self._loop.call_soon(self._write)
        confirmations.expect()
        self._learnt[effect.device] = effect.hellos
        self._waiting.append(confirmations)

    def _write(self) -> None:
        learnt, self._learnt = self._learnt, {}
        waiting, self._waiting = self._waiting, []
        try:
            self._store.save_hellos(learnt)
        except StateError as error:
            _log.error("hellos cannot be kept: a restart forgets older tags until this is mended", error=str(error))
        for confirmations in waiting:
            confirmations.came()
