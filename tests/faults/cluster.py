"""Several managers on one database as processes, and what must hold of it whatever happened: `Cluster.check`."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from gateway.manager.store import Place, Transaction, open_store
from gateway.manager.store.tables import (
    DEVICE_STATES,
    FLEET_STATES,
    ROLLOUT_COUNTS,
    ROLLOUT_DEVICES,
)
from tests.faults.scenario import WAIT_S
from tests.support.callers import EPOCH, Callers
from tests.support.manager_process import Manager
from tests.support.polling import until
from tests.support.stores import stored_samples

FLEET = "f"
IN_TIME_S = 9.5
"""For a call, or a page, while the database is away: the gateway and Prometheus give up after 10 s."""


class Cluster:
    """`size` managers that share a database and the folder of the model files. `url` None: SQLite, which has one."""

    def __init__(self, folder: Path, url: str | None, size: int) -> None:
        folder.mkdir()
        self.fleet = FLEET
        self.data = folder / "data"
        self.place = Place(self.data, url)
        self.managers = [Manager(self.data, database=url) for _ in range(size)]

    def start(self) -> None:
        """Those that do not run."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(Manager.start, [each for each in self.managers if each.process is None]))

    def stop(self) -> None:
        for manager in self.managers:
            manager.stop()

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.managers]

    @property
    def log(self) -> str:
        return self.managers[0].log

    def run(self, *arguments: str) -> str:
        """A command; its output."""
        return self.managers[0].run(*arguments).stdout

    def check_running(self) -> None:
        for each in self.managers:
            assert each.process is not None
            assert each.process.poll() is None, self.log

    def check(self, *callers: Callers) -> None:
        """Nothing that was acknowledged is lost, nothing is counted twice, and all counts are those of the rows."""
        store = open_store(self.place, create=False, read_only=True)
        try:
            store.read(lambda transaction: _check(transaction, self.fleet, callers))
        finally:
            store.close()


def _check(transaction: Transaction, fleet: str, callers: Sequence[Callers]) -> None:
    connection, ids = transaction.connection, transaction.device_ids(fleet)
    accepted = dict(connection.execute(sa.select(DEVICE_STATES.c.device, DEVICE_STATES.c.accepted)).all())
    samples = stored_samples(transaction)
    for name, device in ids.items():
        told = [each.told[name] for each in callers if name in each.told]
        if not told:  # it is no caller's
            continue
        least, unknown = sum(each.accepted for each in told), sum(each.unknown for each in told)
        assert least <= accepted[device] <= least + unknown, f"{name}: {accepted[device]} of {told}"
        most = max((each.accepted for each in told), default=0)
        found = {(round(at) - EPOCH, value) for at, value in samples.get(device, ())}
        assert found == {(number, number) for number in range(1, most + 1)}, f"{name}: samples of {most}"
    columns = DEVICE_STATES.c.fleet, DEVICE_STATES.c.state
    by_rows = sa.select(*columns, sa.func.count()).group_by(*columns)
    kept = sa.select(FLEET_STATES).where(FLEET_STATES.c.devices != 0)
    assert set(map(tuple, connection.execute(kept))) == set(map(tuple, connection.execute(by_rows)))
    counts = sa.select(ROLLOUT_COUNTS).where(ROLLOUT_COUNTS.c.devices != 0)
    rows = connection.execute(sa.select(ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state)).all()
    assert {(rollout, state): number for rollout, state, number in connection.execute(counts)} == Counter(
        (rollout, state) for rollout, state in rows
    )


@contextmanager
def running(folder: Path, url: str | None, size: int) -> Iterator[Cluster]:
    """They listen."""
    cluster = Cluster(folder, url, size)
    with ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def asked(manager: Manager, path: str) -> int:
    """The status of a page, which comes in time."""
    began = time.monotonic()
    status = manager.page(path)
    took = time.monotonic() - began
    assert took < IN_TIME_S, f"{path} took {took:.1f} s"
    return status


def check_pages(made: Cluster, path: str, status: int) -> None:
    """Of all at once."""
    with ThreadPoolExecutor() as threads:
        assert set(threads.map(lambda manager: asked(manager, path), made.managers)) == {status}


def until_more(callers: Callers, more: int) -> None:
    """Until so many more heartbeats were accepted."""
    target = callers.accepted + more
    until(lambda: callers.accepted >= target, lambda: f"{callers.accepted} of {target}; {callers.statuses}", WAIT_S)


def until_status(callers: Callers, status: int, more: int = 1) -> None:
    """Until so many more calls had that status; 0: the connection broke."""
    target = callers.statuses[status] + more
    until(lambda: callers.statuses[status] >= target, lambda: f"no {status}: {callers.statuses}", WAIT_S)


def until_page(manager: Manager, path: str, status: int) -> None:
    until(lambda: manager.page(path) == status, lambda: f"{path} is not {status}", WAIT_S)
