"""Several processes on one store move the devices of a rollout: each once, and the counts are those of the rows."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.manager.api import ModelDefinition
from gateway.manager.rollouts import NewRollout, RolloutDeviceState, RolloutRunner
from gateway.manager.store import Place, Store, Transaction
from gateway.manager.store.tables import DEPLOYMENTS, DEVICES, RESULTS, ROLLOUT_COUNTS, ROLLOUT_DEVICES
from tests.support.polling import until
from tests.support.processes import environment, line, running
from tests.support.stores import open_place

WORKER = Path(__file__).with_name("rollout_worker.py")
NOW = 100.0


@pytest.fixture(params=["sqlite", "postgres_url", "pgbouncer_url"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    url = None if request.param == "sqlite" else str(request.getfixturevalue(request.param))
    return Place(tmp_path, url)


@pytest.fixture
def store(shared: Place) -> Iterator[Store]:
    """At the end the counts are those of the rows, and PostgreSQL has met no deadlock."""
    with open_place(shared) as opened:
        yield opened
        kept, real = _counts(opened)
        assert kept == real
        if shared.url is not None:
            deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            assert _ask(opened, sa.text(deadlocks)) == [(0,)]


def _ask(store: Store, select: Any) -> list[tuple[Any, ...]]:
    return store.read(lambda transaction: [tuple(row) for row in transaction.connection.execute(select)])


def _counts(store: Store) -> tuple[dict[tuple[int, str], int], dict[tuple[int, str], int]]:
    """As they are kept, and as the rows have them; without zeros."""
    rollout, state = ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state
    by_rows = sa.select(rollout, state, sa.func.count()).group_by(rollout, state)
    kept, real = _ask(store, sa.select(ROLLOUT_COUNTS)), _ask(store, by_rows)
    return {(one, two): number for one, two, number in kept if number}, {
        (one, two): number for one, two, number in real
    }


def _register(store: Store, names: list[str]) -> list[int]:
    store.write(lambda transaction: transaction.register("f", names, 1.0))
    return list(store.read(lambda transaction: transaction.device_ids("f")).values())


def _create(store: Store, name: str, device_ids: list[int]) -> int:
    new = NewRollout("f", name, "kws", "DO_NOTHING", (ModelDefinition("kws", url=f"s3://m/{name}"),))
    return RolloutRunner(store).create(new, lambda _: device_ids, NOW)


@contextmanager
def workers(place: Place, *roles: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """A process for each role. They begin at once."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment()}
    with ExitStack() as stack:
        command = [sys.executable, str(WORKER), str(place.data), place.url or ""]
        processes = [stack.enter_context(running([*command, role], **pipes)) for role in roles]
        for each in processes:
            assert line(each, "sign of life") == "ready\n"
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        yield processes


def _done(process: "subprocess.Popen[str]") -> list[int]:
    """The numbers of its last line."""
    while (said := line(process, "end").split())[:1] != ["done"]:
        assert said, "it failed: its stderr says why"
    return [int(each) for each in said[1:]]


def _check_each_has_it_once(store: Store, total: int) -> None:
    assert _counts(store)[0] == {(1, RolloutDeviceState.ASSIGNED): total}
    assert _ask(store, sa.select(sa.func.count()).select_from(DEPLOYMENTS)) == [(total,)]
    assert _ask(store, sa.select(DEVICES.c.plan, sa.func.count()).group_by(DEVICES.c.plan)) == [(1, total)]


def test_two_processes_step_one_rollout(shared: Place, store: Store) -> None:
    total = 10_000
    _create(store, "one", _register(store, [f"d{number}" for number in range(total)]))
    with workers(shared, "step", "step") as processes:
        taken = [_done(each)[0] for each in processes]
    assert sum(taken) == total / 100
    _check_each_has_it_once(store, total)


def test_a_process_is_killed_while_another_one_steps(shared: Place, store: Store) -> None:
    total = 3_000
    _create(store, "one", _register(store, [f"d{number}" for number in range(total)]))
    with workers(shared, "step", "step") as (first, second):
        line(first, "step")
        first.kill()
        _done(second)
    _check_each_has_it_once(store, total)


def test_a_process_is_killed_within_a_step(shared: Place, store: Store) -> None:
    """Meanwhile the rollout is its own, where another one can look; afterwards nothing of the step is there."""
    total = 300
    _create(store, "one", _register(store, [f"d{number}" for number in range(total)]))
    runner = RolloutRunner(store)
    with workers(shared, "hold") as [holder]:
        assert line(holder, "step") == "holds\n"
        if shared.url is not None:
            assert not runner.advance(1, NOW)
        holder.kill()
        holder.wait()
        assert _counts(store)[0] == {(1, RolloutDeviceState.WAITING): total}
        assert runner.run_due_steps(1, NOW).progress.count(RolloutDeviceState.ASSIGNED) == total
    _check_each_has_it_once(store, total)


def test_results_fetches_and_steps_at_once(shared: Place, store: Store) -> None:
    """Two processes report the opposite of the same devices, in opposite orders, while others move the same devices."""
    total, gone = 400, 20
    device_ids = _register(
        store, [*(f"d{number}" for number in range(total)), *(f"gone{each}" for each in range(gone))]
    )
    runner = RolloutRunner(store)
    for name in ("one", "two"):
        rollout = _create(store, name, device_ids)
        while name == "one" and runner.advance(rollout, NOW):
            pass
    roles = ("report", "report-reverse", "fetch", "supersede", "deregister")
    with workers(shared, *roles) as processes:
        done = [_done(each) for each in processes]
    assert done[-1] == [gone]
    progress = runner.read(1).progress
    assert progress.count(RolloutDeviceState.SUCCEEDED, RolloutDeviceState.FAILED) == progress.total == total
    told = sa.select(RESULTS.c.told, sa.func.count()).group_by(RESULTS.c.told)
    assert _ask(store, told) == [(4, total)], "each of two processes said it twice"


@pytest.mark.parametrize("what", ["devices", "counts"])
def test_rows_are_locked_in_their_order(postgres_url: str, tmp_path: Path, what: str) -> None:
    """A transaction that waits for the first row holds none of the later ones: so nobody waits in a circle."""
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    place = Place(tmp_path, postgres_url)
    with open_place(place) as store, open_place(place) as other:
        one, two = _register(store, ["d1", "d2"])
        for number, device in ((1, one), (2, two)):
            _create(store, f"r{number}", [device])

        def lock(transaction: Transaction, numbers: list[int]) -> None:
            if what == "devices":
                transaction.lock_devices(numbers)
            else:
                transaction.count_in_rollouts(
                    dict.fromkeys([(number, RolloutDeviceState.WAITING) for number in numbers], 1)
                )

        def hold(transaction: Transaction) -> None:
            lock(transaction, [1])
            waiting.start()
            until(lambda: _ask(store, waits) == [(1,)], lambda: "it does not wait")
            transaction.connection.exec_driver_sql("SET LOCAL lock_timeout = '500ms'")
            lock(transaction, [2])

        waiting = threading.Thread(target=lambda: other.write(lambda transaction: lock(transaction, [2, 1])))
        try:
            store.write(hold)
        finally:
            waiting.join()
