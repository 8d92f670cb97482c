"""What the history costs in the database: `python tests/benchmarks/bench_history.py [sqlite] [postgresql]`.

Bytes of a sample on the disk and samples a second of the compaction; times of reads; the worst answer to heartbeats
while the retention deletes. PostgreSQL is a server of its own, with fsync.
"""

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.manager.api import latest_values, to_us
from gateway.manager.history import DAY, HOUR, MINUTE, SPAN, SpanKey, encode, series
from gateway.manager.store import (
    Compaction,
    HeartbeatCall,
    HistoryLimits,
    MetricFilter,
    Place,
    Retention,
    Store,
    Turn,
    bulk,
    device_series,
    fleet_series,
    open_store,
    tables,
)
from gateway.manager.store.history import Usage, add_usage, write_parts
from gateway.manager.store.history_compaction import INTERVAL
from tests.support.postgres import Postgres

NOW = 1_796_040_000.0
"""The beginning of a span."""
DEVICES = 100
"""Of the compaction."""
METRICS = 5
FLEET = 1000
"""Devices of the fleet that is read."""
OLD = 500_000
"""Chunks that the retention deletes."""
GROUP = 50
"""Heartbeats of one transaction."""
T = TypeVar("T")
chance = random.Random(1)


@contextmanager
def opened(engine: str) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        if engine == "sqlite":
            with closing(open_store(Place(data), create=True)) as store:
                yield store
            return
        data.chmod(0o755)
        settings = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
        with (
            Postgres(data / "server", settings) as server,
            closing(open_store(Place(data, server.url()), create=True)) as store,
        ):
            yield store


def register(store: Store, fleet: str, devices: int) -> list[int]:
    names = [f"d{number}" for number in range(devices)]
    store.write(lambda transaction: transaction.register(fleet, names, NOW))
    return list(store.read(lambda transaction: transaction.device_ids(fleet)).values())


def beat(store: Store, fleet: str, devices: range, at: float) -> None:
    """Of each device a heartbeat, of values that move slowly."""
    for first in range(devices.start, devices.stop, GROUP):
        group = []
        for number in range(first, min(first + GROUP, devices.stop)):
            metrics = [
                {
                    "Dimension": "sys",
                    "MetricName": f"m{each}",
                    "Value": round(20 + chance.gauss(0, 0.2), 2),
                    "Timestamp": at,
                }
                for each in range(METRICS)
            ]
            values = latest_values({"AgentVersion": "1", "AgentMetrics": metrics}, at)
            group.append(HeartbeatCall(fleet, f"d{number}", values, at))
        store.record(group, lambda *_: set())


def size_of(store: Store) -> int:
    """Bytes of the tables of the history on the disk; in SQLite all pages that are in use."""
    select = (
        "SELECT (page_count - freelist_count) * page_size"
        " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    if store.engine.dialect.name == "postgresql":
        names = ("sample_chunks", "fleet_hours", "history_days")
        select = "SELECT " + " + ".join(f"pg_total_relation_size('{each}')" for each in names)
    return int(store.read(lambda transaction: transaction.connection.scalar(sa.text(select))))


def compaction(store: Store) -> list[tuple[str, str]]:
    """Six hours at 1/min of all devices, a walk every ten minutes."""
    register(store, "compacted", DEVICES)
    before, samples = size_of(store), DEVICES * METRICS * 360
    walk, spent, writes = Compaction(store, Turn(), None), 0.0, []
    write = store.write

    def timed(work):  # type: ignore[no-untyped-def]
        begin = time.perf_counter()
        try:
            return write(work)
        finally:
            writes.append(time.perf_counter() - begin)

    for minute in range(360):
        beat(store, "compacted", range(DEVICES), NOW + 60 * minute)
        if minute % 10 == 9:
            store.write = timed  # type: ignore[method-assign]
            begin = time.perf_counter()
            while walk.step(NOW + minute // 10 * (INTERVAL + 1)):
                pass
            spent += time.perf_counter() - begin
            store.write = write  # type: ignore[method-assign]
    grown, rows = size_of(store) - before, ""
    if store.engine.dialect.name == "postgresql":
        select = "SELECT sum(pg_column_size(sample_chunks.*) + 4) FROM sample_chunks"
        filled = int(store.read(lambda transaction: transaction.connection.scalar(sa.text(select))))
        rows = f"; {filled / samples:.2f} in rows, the rest is free for the next ones"
    return [
        ("samples compacted a second", f"{samples / spent:,.0f}"),
        ("its transactions: mean, worst", f"{sum(writes) / len(writes) * 1000:.1f} ms, {max(writes) * 1000:.1f} ms"),
        ("bytes of a sample on the disk", f"{grown / samples:.2f}{rows}"),
    ]


def took(work: Callable[[], T]) -> float:
    """Milliseconds, the median of five."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return sorted(times)[2] * 1000


def reads(store: Store) -> list[tuple[str, str]]:
    (device,) = register(store, "one", 1)
    register(store, "many", FLEET)
    beat(store, "one", range(1), NOW)
    metric, now = 1, to_us(NOW)
    fleet = store.read(lambda transaction: transaction.fleet_id("many"))
    parts = {}
    for start in range(now - 365 * DAY, now, SPAN):
        points = [(start + minute * MINUTE, round(20 + chance.gauss(0, 0.2), 2)) for minute in range(360)]
        parts[SpanKey(device, metric, start)] = [encode(points)]
    hours = [
        (fleet, each, now - hour * HOUR, 60 * FLEET, 19.0, 21.0, 20.0 * 60 * FLEET)
        for each in range(1, METRICS + 1)
        for hour in range(1, 24 * 365)
    ]
    columns = ("fleet", "metric", "start", "count", "min", "max", "sum")

    def fill(transaction):  # type: ignore[no-untyped-def]
        write_parts(transaction.connection, parts)
        bulk.insert(transaction.connection, tables.FLEET_HOURS, columns, hours)

    store.write(fill)
    beat(store, "many", range(FLEET), NOW - 60)
    walk = Compaction(store, Turn(), None)
    while walk.step(NOW):
        pass
    for minute in range(10):
        beat(store, "many", range(FLEET), NOW + 60 * minute)

    def of_device(days: int, points: int) -> str:
        over = series(now - days * DAY, now, points)
        return (
            f"{took(lambda: store.read(lambda transaction: device_series(transaction, device, [metric], over))):.1f} ms"
        )

    def of_fleet(days: int) -> str:
        over, wanted = series(now - days * DAY, now + HOUR, 500, HOUR), MetricFilter()
        return f"{took(lambda: store.read(lambda transaction: fleet_series(transaction, 'many', wanted, over))):.1f} ms"

    return [
        ("a week of a metric at 1/min, a point a minute", of_device(7, 11_000)),
        ("a week, 500 points", of_device(7, 500)),
        ("a year, 500 points", of_device(365, 500)),
        (f"a week of a fleet of {FLEET:,}, {METRICS} metrics, 10,000 rows not compacted", of_fleet(7)),
        ("a year of it", of_fleet(365)),
    ]


def retention(store: Store) -> list[tuple[str, str]]:
    """The oldest chunks are those of one day; heartbeats go on in a thread."""
    register(store, "kept", GROUP)
    blob = encode([(minute * MINUTE, round(20 + chance.gauss(0, 0.2), 2)) for minute in range(360)])
    old = to_us(NOW) - 500 * DAY
    per_span, spans = 10_000, OLD // 10_000
    for span in range(spans):
        parts = {SpanKey(10**6 + number, 1, old + span * SPAN): [blob] for number in range(per_span)}
        grown = {(old + span * SPAN) // DAY: Usage(per_span, per_span * 360, per_span * len(blob.blob))}

        def fill(transaction, parts=parts, grown=grown):  # type: ignore[no-untyped-def]
            write_parts(transaction.connection, parts)
            add_usage(transaction.connection, grown)

        store.write(fill)
    before = file_size(store)
    quiet, busy, ends = [], [], threading.Event()
    for number in range(40):
        begin = time.perf_counter()
        beat(store, "kept", range(GROUP), NOW + number)
        quiet.append(time.perf_counter() - begin)

    def heartbeats() -> None:
        number = 100
        while not ends.wait(0.01):
            begin = time.perf_counter()
            beat(store, "kept", range(GROUP), NOW + number)
            busy.append(time.perf_counter() - begin)
            number += 1

    sender = threading.Thread(target=heartbeats)
    sender.start()
    deleting, begin = Retention(store, Turn(), HistoryLimits(400, 2 * 10**9)), time.perf_counter()
    try:
        more = True
        while more:  # as `background` takes its steps
            step = time.perf_counter()
            more = deleting.step(NOW + 10**5)
            time.sleep(time.perf_counter() - step)
        spent = time.perf_counter() - begin
    finally:
        ends.set()
        sender.join()
    return [
        (f"{OLD:,} chunks deleted in", f"{spent:.1f} s"),
        (f"a group of {GROUP} heartbeats meanwhile: median, worst", f"{median(busy)}, {max(busy) * 1000:.0f} ms"),
        ("without: median, worst", f"{median(quiet)}, {max(quiet) * 1000:.0f} ms"),
        ("the file before, after", f"{before / 1e6:.0f} MB, {file_size(store) / 1e6:.0f} MB"),
    ]


def median(times: list[float]) -> str:
    return f"{sorted(times)[len(times) // 2] * 1000:.1f} ms"


def file_size(store: Store) -> int:
    """Bytes; of a SQLite file its pages."""
    size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    if store.engine.dialect.name == "postgresql":
        size = "SELECT pg_database_size(current_database())"
    return int(store.read(lambda transaction: transaction.connection.scalar(sa.text(size))))


def main() -> None:
    engines = sys.argv[1:] or ["sqlite", "postgresql"]
    for engine in engines:
        table = Table(title=engine)
        table.add_column("what")
        table.add_column("figure", justify="right")
        for part in (compaction, reads, retention):
            with opened(engine) as store:
                for row in part(store):
                    table.add_row(*row)
        Console(width=130).print(table)


if __name__ == "__main__":
    main()
