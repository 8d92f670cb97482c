"""Runs commands of `edge-gateway manager`, each in a process that may kill itself.

It reads a request a line from stdin (JSON). {"arguments", "place", "files", "kill"}: it forks, and answers the child's
pid. `place` is data folder and URL or null, `files` are for stdout and stderr. `kill` is [number, when] or null: the
child kills itself (SIGKILL) "before" or "after" the change of that number which it makes durable: commits of
transactions that may write, and renames of files. When is "check": after each change it checks the database instead.
{"wait": PID}: it answers the status of that child. It must never have a thread: a fork would not take it along.

Intervals and parts are small, so that few devices make many transactions, and nothing waits for a second.
"""

import gc
import itertools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from gateway.manager import Place, process, service
from gateway.manager.cli import app
from gateway.manager.control import ArnScope, Caller, ControlApi, jobs
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import repository, runner
from gateway.manager.store import ObjectStore, Store, open_store
from tests.faults import whole_database
from tests.support.stores import open_place

LOADED = process
"""`serve` imports it where it needs it: here once for all."""

PART = 2
INTERVAL = 0.05


class Changes:
    """Calls `before` and `after` around each durable change of this process, in any thread, with its number from 1."""

    def __init__(self, before: Callable[[int], object], after: Callable[[int], object]) -> None:
        self._before = before
        self._after = after
        self._numbers = itertools.count(1)
        self._writes = threading.local()

    def listen(self) -> None:
        sa.event.listen(sa.Engine, "commit", self._on_commit)
        commit: Callable[[Any, Any], None] = DefaultDialect.do_commit
        rename = os.replace

        def do_commit(dialect: Any, connection: Any) -> None:
            writes, self._writes.now = getattr(self._writes, "now", False), False
            self._around(lambda: commit(dialect, connection)) if writes else commit(dialect, connection)

        def replace(*arguments: Any, **options: Any) -> None:
            self._around(lambda: rename(*arguments, **options))

        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
        os.replace = replace

    def _on_commit(self, connection: sa.Connection) -> None:
        self._writes.now = not connection.get_execution_options().get("reads")

    def _around(self, change: Callable[[], object]) -> None:
        number = next(self._numbers)
        self._before(number)
        change()
        self._after(number)


def kill_at(number: int, when: str) -> Changes:
    def kill(now: int) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return Changes(kill, lambda _: None) if when == "before" else Changes(lambda _: None, kill)


def check_at_each(place: Place) -> Changes:
    """The process ends where the database is not whole."""
    opened: list[Store] = []

    def check(_: int) -> None:
        try:
            if not opened:
                opened.append(open_store(place, create=False, read_only=True))
            opened[0].read(whole_database.check)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    return Changes(lambda _: None, check)


def child(
    arguments: Sequence[str], place: tuple[str, str | None], files: tuple[str, str], kill: tuple[int, str] | None
) -> None:
    """Never returns."""
    for descriptor, name in enumerate((os.devnull, *files)):
        os.dup2(os.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644), descriptor)
    data, database = place
    if kill is not None:
        number, when = kill
        changes = check_at_each(Place(Path(data), database)) if when == "check" else kill_at(number, when)
        changes.listen()
    try:
        app([*arguments, "--data", data, *([] if database is None else ["--database", database])])
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def load() -> None:
    """What each child would need a second for."""
    with TemporaryDirectory() as folder, open_place(Place(Path(folder))) as store, redirect_stdout(StringIO()):
        EdgeApi(store)
        api = ControlApi(store, ObjectStore(Path(folder), store), ArnScope())
        api.handle("SageMaker.ListDeviceFleets", b"{}", Caller(), 0.0)
        model = Path(folder, "model")
        model.write_bytes(b"a model")
        for command in (["register", "f", "d"], ["deploy", "f", "d", f"kws={model}"]):
            app([*command, "--data", folder], standalone_mode=False)
    gc.freeze()


def main() -> None:
    runner.SLICE = repository.PART = PART
    runner.PAUSE = 0.0
    service.JOBS_INTERVAL = service.ROLLOUTS_INTERVAL = INTERVAL
    jobs.HELD = INTERVAL
    load()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                child(**request)
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
