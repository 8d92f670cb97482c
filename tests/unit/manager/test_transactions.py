"""What one transaction in the background does at most in SQLite: heartbeats wait for it."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy.event import listen

from gateway.manager import Place, Store, open_store
from gateway.manager.api import ModelDefinition, latest_values, to_us
from gateway.manager.history import DAY, SPAN, SpanKey, encode
from gateway.manager.rollouts import NewRollout, RolloutRunner
from gateway.manager.store import (
    Compaction,
    HeartbeatCall,
    HistoryLimits,
    LogEntry,
    Retention,
    Turn,
    bulk,
    sweep_silence,
    tables,
)
from gateway.manager.store.history import Usage, add_usage, write_parts

DEVICES = 1100
ROWS = 3000
STATEMENTS = 40
NOW = time.time()


@dataclass
class Transactions:
    """Of the connection that writes: (changed rows, statements) of each one, pages that are given back aside."""

    driver: sqlite3.Connection
    seen: list[tuple[int, int]] = field(default_factory=list)
    _before: int = 0
    _statements: int = 0

    def trace(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self._before, self._statements = self.driver.total_changes, 0
        elif statement == "COMMIT":
            self.seen.append((self.driver.total_changes - self._before, self._statements))
        elif not statement.startswith(("PRAGMA", "--")):
            self._statements += 1


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All devices announced themselves alive, and each has a heartbeat."""
    folder: Path = tmp_path_factory.mktemp("transactions")
    with closing(open_store(Place(folder), create=True)) as store:
        names = [f"d{number}" for number in range(DEVICES)]
        store.write(lambda transaction: transaction.register("f", names, NOW))
        members = (("liveness", "state", 1.0), ("liveness", "seconds", 60.0), ("system", "heap", 1.5))
        metrics = [
            {"Dimension": each, "MetricName": name, "Value": value, "Timestamp": NOW} for each, name, value in members
        ]
        values = latest_values({"AgentVersion": "1.0", "AgentMetrics": metrics}, NOW)
        store.record([HeartbeatCall("f", name, values, NOW) for name in names], lambda *_: set())
        yield store


def transactions(store: Store, work: Callable[[], object]) -> list[tuple[int, int]]:
    """Those that `work` committed."""

    def driver_of(transaction):  # type: ignore[no-untyped-def]
        return transaction.connection.connection.driver_connection

    traced = Transactions(store.write(driver_of))
    traced.driver.set_trace_callback(traced.trace)
    try:
        work()
    finally:
        traced.driver.set_trace_callback(None)
    return traced.seen


def until_done(step: Callable[[float], bool], now: float) -> Callable[[], None]:
    def work() -> None:
        while step(now):
            pass

    return work


def check(seen: list[tuple[int, int]], changed: int) -> None:
    """`changed`: rows that all of them changed at least."""
    assert sum(rows for rows, _ in seen) >= changed
    assert max(rows for rows, _ in seen) <= ROWS
    assert max(statements for _, statements in seen) <= STATEMENTS


def test_the_steps_of_a_rollout_and_of_one_that_supersedes_it(store):
    runner = RolloutRunner(store)
    devices = list(store.read(lambda transaction: transaction.device_ids("f")).values())
    for number in range(2):
        new = NewRollout(
            "f", None, f"model{number}", "policy", (ModelDefinition("wake", "DEPLOY", "s3://b/k", "a" * 40),)
        )
        check(transactions(store, lambda: runner.create(new, lambda _: devices, NOW)), DEVICES)  # noqa: B023
        check(transactions(store, until_done(runner.advance_all, NOW)), 3 * DEVICES)


def test_devices_that_fell_silent(store):
    check(transactions(store, until_done(lambda now: sweep_silence(store, now), NOW + DAY / 1e6)), 2 * DEVICES)


def test_compaction(store):
    check(transactions(store, until_done(Compaction(store, Turn(), None).step, NOW + 100)), 2 * DEVICES)


def test_the_compaction_of_many_devices_reads_few_rows_in_vain(tmp_path):
    """A slice ends at a number of chunks, which a row of each device reaches soon."""
    devices, asked = [f"d{number}" for number in range(DEVICES)], []

    def trace(statement: str) -> None:
        asked.extend(map(int, re.findall(r"FROM recent_samples WHERE device >= .* LIMIT (\d+)", statement)))

    with closing(open_store(Place(tmp_path), create=True)) as store:
        listen(store.engine, "connect", lambda connection, _: connection.set_trace_callback(trace))
        store.write(lambda transaction: transaction.register("f", devices, NOW))
        metrics = [{"Dimension": "d", "MetricName": f"m{n}", "Value": n, "Timestamp": NOW} for n in range(20)]
        values = latest_values({"AgentVersion": "1.0", "AgentMetrics": metrics}, NOW)
        store.record([HeartbeatCall("f", name, values, NOW) for name in devices], lambda *_: set())
        until_done(Compaction(store, Turn(), None).step, NOW)()
    assert DEVICES <= sum(asked) <= 5 * DEVICES


def test_a_device_with_a_long_history_is_deregistered(store):
    start = to_us(NOW) // SPAN * SPAN
    chunk, chunks = encode([(start, 1.0)]), 2 * ROWS

    def fill(transaction):  # type: ignore[no-untyped-def]
        transaction.register("f", ["gone"], NOW)
        [device] = transaction.device_ids("f", ["gone"]).values()
        write_parts(transaction.connection, {SpanKey(device, metric, start): [chunk] for metric in range(chunks)})
        add_usage(transaction.connection, {start // DAY: Usage(chunks, chunks, chunks * len(chunk.blob))})

    store.write(fill)
    check(transactions(store, lambda: store.write(lambda transaction: transaction.deregister("f", "gone"))), 2)
    step = Retention(store, Turn(), HistoryLimits()).step
    check(transactions(store, until_done(step, NOW + 300)), chunks)


def test_retention(store):
    old = to_us(NOW) - 500 * DAY
    chunk = encode([(old, 1.0)])
    parts = {SpanKey(device, 1, old): [chunk] for device in range(DEVICES)}
    hours = [(1, 1, old + number * SPAN, 1, 1.0, 1.0, 1.0) for number in range(DEVICES)]
    entries = [LogEntry(1, old / 1e6, "state", "{}") for _ in range(DEVICES)]

    def fill(transaction):  # type: ignore[no-untyped-def]
        write_parts(transaction.connection, parts)
        add_usage(transaction.connection, {old // DAY: Usage(DEVICES, DEVICES, DEVICES * len(chunk.blob))})
        columns = ("fleet", "metric", "start", "count", "min", "max", "sum")
        bulk.insert(transaction.connection, tables.FLEET_HOURS, columns, hours)
        transaction.log(entries)

    store.write(fill)
    step = Retention(store, Turn(), HistoryLimits(400, 2 * 10**9)).step
    check(transactions(store, until_done(step, NOW + 200)), 2 * DEVICES)
