"""State that survives a restart: hellos of the devices, topic filters of the session, dead letters."""

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from gateway.errors import ConfigError, explain
from gateway.lock import FILE as LOCK_FILE
from gateway.lock import FolderInUse, FolderLock
from gateway.storage.damaged_files import set_aside
from gateway.storage.dead_letters import DeadLetterFile
from gateway.storage.hello_database import HelloDatabase

LOCK_WAIT = 2.0
"""Seconds in which a gateway that stops may leave the folder."""
UNKNOWN_DOWNTIME = 86_400.0
"""Seconds."""


class StateStore:
    """One folder: `hellos.sqlite`, `dead.jsonl` and `alive`. Raises ConfigError if the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._alive = folder / "alive"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the subscriptions name the group, a secret
            self._lock = _lock(folder)
            try:
                database = HelloDatabase(folder / "hellos.sqlite")
            except BaseException:
                self._lock.close()
                raise
        except FolderInUse as holder:
            todo = "stop it, or give this one a state_dir and a client_id of its own"
            raise ConfigError([f"state_dir {folder}: a gateway runs with it ({holder}); {todo}"]) from None
        except (OSError, sqlite3.Error) as error:
            raise ConfigError([f"state_dir {explain(error, folder)}"]) from error
        self.database = database
        dead_letters = DeadLetterFile(folder)
        self.hellos, self.save_hellos = database.hellos, database.save_hellos
        self.registrations = database.registrations
        self.filters, self.save_filters = database.filters, database.save_filters
        self.save_dead_letter, self._close_dead_letters = dead_letters.append, dead_letters.close

    def touch_liveness(self) -> None:
        """The gateway runs: `downtime` counts from now."""
        with suppress(OSError):  # other methods report a failing disk
            self._alive.touch()

    def downtime(self) -> float:
        """Seconds since a gateway last ran here; UNKNOWN_DOWNTIME if that is unknown, or the clock has gone back."""
        try:
            seconds = time.time() - self._alive.stat().st_mtime
        except OSError:
            return UNKNOWN_DOWNTIME
        return max(0.0, seconds) if seconds > -1.0 else UNKNOWN_DOWNTIME

    def close(self) -> None:
        """Nothing is lost if it is never called."""
        self.database.close()
        self._close_dead_letters()
        self._lock.close()


def _lock(folder: Path) -> FolderLock:
    """Raises FolderInUse or OSError."""
    try:
        return FolderLock(folder, LOCK_WAIT)
    except IsADirectoryError as error:  # nobody has locked that
        set_aside(folder / LOCK_FILE, error)
        return FolderLock(folder, LOCK_WAIT)
