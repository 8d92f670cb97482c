"""What the service does besides calls, in a thread of its own.

Each task is one of `Task`: what it does is committed in small transactions, so that calls are answered between them.
Several processes on one database may run the same task. A database that is away is reported once, until it is back.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.manager.errors import StoreUnavailable

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


@dataclass(frozen=True, slots=True)
class Task:
    """`step` does one piece of the work at the time that it is given (Unix seconds); True: there is more to do now.

    `interval`: seconds between two rounds. Between two steps of a round it rests for as long as a step took: calls wait
    for the same lock and the same processor.
    """

    name: str
    interval: float
    step: Callable[[float], bool]


class Background:
    """Runs the tasks from `start` until `close`. `says_away` false: another one reports a database that is away."""

    def __init__(self, tasks: Sequence[Task], *, says_away: bool = True) -> None:
        self._says_away = says_away
        self._tasks = tasks
        self._next = dict.fromkeys((task.name for task in tasks), 0.0)
        self._ends = False
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns after the step that runs."""
        self._ends = True
        self._woken.set()
        self._thread.join()

    def wake(self, *names: str) -> None:
        """These tasks have something to do now. Any thread may call it."""
        with self._lock:
            self._next |= dict.fromkeys(names, 0.0)
        self._woken.set()

    def _run(self) -> None:
        while not self._ends:
            self._woken.clear()
            for task in self._tasks:
                if time.monotonic() >= self._next[task.name]:
                    self._take(task)
            if not self._ends:
                self._woken.wait(max(0.0, min(self._next.values()) - time.monotonic()))

    def _take(self, task: Task) -> None:
        more, begin = False, time.monotonic()
        self._next[task.name] = math.inf
        try:
            more = task.step(time.time())
            if self._away:
                self._away = False
                LOG.info("the database can be used again: the background tasks go on")
        except StoreUnavailable as error:
            if self._says_away and not self._away:
                self._away = True
                LOG.error(
                    "the database cannot be used: rollouts wait; check the disk and the data folder", detail=str(error)
                )
        except Exception:  # also of a damaged row: the thread must not end
            LOG.exception("a task in the background failed; it is tried again", task=task.name)
        end = time.monotonic()
        with self._lock:
            if more or self._next[task.name] == math.inf:  # else it was woken meanwhile
                self._next[task.name] = end + (end - begin if more else task.interval)
