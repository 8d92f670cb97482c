"""The history of samples in both engines: compaction, reads, retention."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa

from gateway.manager.api import MetricKey, latest_values
from gateway.manager.history import DAY, HOUR, MINUTE, SPAN, Bucket, Point, Series, series
from gateway.manager.reports import device_log
from gateway.manager.store import (
    Auditor,
    Compaction,
    HeartbeatCall,
    HistoryLimits,
    MetricFilter,
    Place,
    Retention,
    Store,
    Transaction,
    Turn,
    device_metrics,
    device_samples,
    device_series,
    fleet_series,
    history_compaction,
    history_reads,
    history_retention,
    limits,
)
from gateway.manager.store.history import HELD, delete_chunks, read_usage
from gateway.manager.store.tables import SAMPLE_CHUNKS
from gateway.manager.store.totals import read_totals
from tests.support import stores
from tests.support.processes import environment, line, running

NOW = 1_796_000_000.0
PROCESS = Path(__file__).with_name("compacting_process.py")
SECOND = 1_000_000
HEAP = MetricKey("", "", "sys", "heap")
T = TypeVar("T")
Sent = tuple[str, float, float]
"""Name, Unix seconds, value."""


def register(store: Store, *devices: str, fleet: str = "f") -> int:
    """The number of the last one."""
    store.write(lambda transaction: transaction.register(fleet, devices, NOW))
    number = store.read(lambda transaction: transaction.device_id(fleet, devices[-1]))
    assert number is not None
    return number


def send(
    store: Store, samples: Iterable[Sent], device: str = "d", fleet: str = "f", version: str | None = None
) -> None:
    """One heartbeat."""
    metrics = [{"Dimension": "sys", "MetricName": name, "Timestamp": at, "Value": value} for name, at, value in samples]
    call: dict[str, object] = {"AgentVersion": "1", "AgentMetrics": metrics}
    if version is not None:
        call = {
            "AgentVersion": "1",
            "Models": [{"ModelName": "m", "ModelVersion": version, "ModelMetrics": metrics}],
        }
    store.record([HeartbeatCall(fleet, device, latest_values(call, NOW), NOW)], lambda *_: set())


def compact(store: Store, now: float = NOW, days: int | None = None) -> None:
    """All that waits."""
    walk = Compaction(store, Turn(), days)
    store.write(lambda transaction: transaction.connection.execute(sa.text("DELETE FROM tasks")))
    while walk.step(now):
        pass


def count(store: Store, table: str) -> int:
    return int(store.read(lambda transaction: transaction.connection.scalar(sa.text(f"SELECT count(*) FROM {table}"))))


def samples_of(store: Store, device: int, key: MetricKey = HEAP) -> list[tuple[float, float]]:
    """All, in Unix seconds."""

    def read(transaction: Transaction) -> list[tuple[float, float]]:
        found = device_metrics(transaction, device, MetricFilter())
        if key not in found:
            return []
        points, more = device_samples(transaction, device, found[key][0], -(2**60), 2**60, 10**6)
        assert not more
        return [(at / SECOND, value) for at, value in points]

    return store.read(read)


def series_of(store: Store, device: int, over: Series) -> dict[MetricKey, list[Bucket]]:
    """Of all metrics of the device."""

    def read(transaction: Transaction) -> dict[MetricKey, list[Bucket]]:
        metrics = device_metrics(transaction, device, MetricFilter())
        found = device_series(transaction, device, [number for number, _ in metrics.values()], over)
        return {key: found[number] for key, (number, _) in metrics.items()}

    return store.read(read)


def fleet_series_of(store: Store, over: Series) -> dict[MetricKey, list[Bucket]]:
    return store.read(lambda transaction: fleet_series(transaction, "f", MetricFilter(), over))


def is_consistent(store: Store) -> bool:
    """The usage by day is what a count of the chunks gives."""

    def check(transaction: Transaction) -> bool:
        usage = {
            day: (each.chunks, each.samples, each.bytes) for day, each in read_usage(transaction.connection).items()
        }
        counted: dict[int, tuple[int, int, int]] = {}
        for start, samples, blob in transaction.connection.execute(
            sa.text("SELECT start, count, samples FROM sample_chunks")
        ):
            before = counted.get(start // DAY, (0, 0, 0))
            counted[start // DAY] = (before[0] + 1, before[1] + samples, before[2] + len(bytes(blob)))
        return counted == {day: each for day, each in usage.items() if each != (0, 0, 0)}

    return store.read(check)


def brute(points: Iterable[tuple[int, float]], over: Series) -> list[tuple[int, int, float, float]]:
    """Start, count, least and greatest of each bucket."""
    buckets: dict[int, list[float]] = {}
    for at, value in set(points):
        start = at // over.size * over.size
        if over.start <= start < over.end:
            buckets.setdefault(start, []).append(value)
    return [(start, len(each), min(each), max(each)) for start, each in sorted(buckets.items())]


def plain(buckets: Iterable[Bucket]) -> list[tuple[int, int, float, float]]:
    return [(each.start, each.count, each.min, each.max) for each in buckets]


def test_samples_are_there_before_and_after_they_are_compacted(store: Store) -> None:
    device = register(store, "d")
    sent = [(NOW + 60 * number, 20 + number / 8) for number in range(20)]
    for at, value in sent:
        send(store, [("heap", at, value)])
    assert samples_of(store, device) == sent
    compact(store)
    assert samples_of(store, device) == sent
    assert count(store, "recent_samples") == 0
    assert count(store, "sample_chunks") in (1, 2)
    assert is_consistent(store)


def test_a_sample_that_is_delivered_twice_is_one(store: Store) -> None:
    device = register(store, "d")
    for _ in range(2):
        send(store, [("heap", NOW, 1.5), ("heap", NOW, 2.5)])
        send(store, [("heap", NOW, 1.5)])
        assert samples_of(store, device) == [(NOW, 1.5), (NOW, 2.5)]
        compact(store)
    assert samples_of(store, device) == [(NOW, 1.5), (NOW, 2.5)]
    over = series(int(NOW * SECOND), int(NOW * SECOND) + 1, least=HOUR)
    (buckets,) = fleet_series_of(store, over).values()
    assert [each.count for each in buckets] == [2]
    send(store, [("heap", NOW, 1.5)])
    assert fleet_series_of(store, over) == {HEAP: buckets}


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_what_waits_counts_once_for_its_fleet(store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """A late sample, and one that was compacted and comes again, of devices that are read one by one or together."""
    monkeypatch.setattr(history_reads, "AT_ONCE", at_once)
    register(store, "a", "b", "c")
    register(store, "a", fleet="other")
    for device in "ab":
        send(store, [("heap", NOW, 1.5), ("heap", NOW - 7200, 2.5)], device)
    compact(store)
    for device in "abc":
        send(store, [("heap", NOW, 1.5), ("heap", NOW - 3600, 3.5), ("load", NOW, 4.5)], device)
        send(store, [("heap", NOW - 3600, 3.5)], device)
    send(store, [("heap", NOW, 100.0)], "a", "other")
    hours = series(int(NOW - 86400) * SECOND, int(NOW) * SECOND + 1, least=HOUR)
    shown = {
        key.name: [(each.count, each.max) for each in buckets] for key, buckets in fleet_series_of(store, hours).items()
    }
    assert shown == {"heap": [(2, 2.5), (3, 3.5), (3, 1.5)], "load": [(3, 4.5)]}


def test_a_late_sample_lands_at_its_own_time(store: Store) -> None:
    device = register(store, "d")
    send(store, [("heap", NOW, 1.0)])
    compact(store)
    send(store, [("heap", NOW - 3 * 86400, 2.0), ("heap", NOW - 60, 3.0)])
    compact(store)
    assert samples_of(store, device) == [(NOW - 3 * 86400, 2.0), (NOW - 60, 3.0), (NOW, 1.0)]
    assert is_consistent(store)


@pytest.mark.parametrize("seed", range(3))
def test_series_are_what_was_sent(store: Store, seed: int) -> None:
    """Heartbeats of several devices in any order, repeated, with compactions between them."""
    chance = random.Random(seed)
    numbers = {name: register(store, name) for name in ("a", "b", "c")}
    sent: dict[tuple[str, MetricKey], list[tuple[int, float]]] = {}
    beats: list[tuple[str, str | None, list[Sent]]] = []
    for _ in range(60):
        name, version = chance.choice("abc"), chance.choice((None, "1", "2"))
        samples = [
            (
                chance.choice(("heap", "load")),
                NOW - chance.randrange(3 * 86400),
                chance.choice((chance.gauss(0, 1), 21.5)),
            )
            for _ in range(chance.randrange(1, 12))
        ]
        beats += [(name, version, samples)] * chance.choice((1, 1, 2))
        for metric, at, value in samples:
            key = MetricKey("", "", "sys", metric) if version is None else MetricKey("m", version, "sys", metric)
            sent.setdefault((name, key), []).append((int(at) * SECOND, value))
    chance.shuffle(beats)
    for name, version, samples in beats:
        send(store, samples, name, version=version)
        if chance.random() < 0.1:
            compact(store)
    for size in (10 * MINUTE, HOUR, SPAN, DAY):
        over = series(int(NOW - 2 * 86400) * SECOND, int(NOW) * SECOND, least=size)
        for name, number in numbers.items():
            found = series_of(store, number, over)
            assert {key: plain(each) for key, each in found.items()} == {
                key: brute(points, over) for (device, key), points in sent.items() if device == name
            }
        if size >= HOUR:
            of_fleet = fleet_series_of(store, over)
            for key, buckets in of_fleet.items():
                each = {
                    (at, value, device)
                    for (device, other), points in sent.items()
                    if other == key
                    for at, value in points
                }
                counts: dict[int, int] = {}
                for at, _, _ in each:
                    start = at // over.size * over.size
                    if over.start <= start < over.end:
                        counts[start] = counts.get(start, 0) + 1
                assert {bucket.start: bucket.count for bucket in buckets} == counts
    assert is_consistent(store)


def test_sums_beyond_a_double_and_both_zeros_are_kept(store: Store) -> None:
    device = register(store, "d")
    values = (1.7e308, 1.7e308, -0.0, 5e-324, -1.7e308, 0.1 + 0.2)
    sent = [(NOW + number, value) for number, value in enumerate(values)]
    for at, value in sent:
        send(store, [("heap", at, value)])
        compact(store)
    assert [value.hex() for _, value in samples_of(store, device)] == [value.hex() for value in values]
    over = series(int(NOW * SECOND), int(NOW * SECOND) + 10 * SECOND, 1, HOUR)
    (buckets,) = fleet_series_of(store, over).values()
    assert [(each.count, each.min, each.mean, each.max) for each in buckets] == [(6, -1.7e308, None, 1.7e308)]


def test_a_walk_is_due_every_ten_minutes_or_where_many_rows_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    register(store, "d")
    walk = Compaction(store, Turn(), None)
    send(store, [("heap", NOW, 1.0)])
    assert not walk.step(NOW)
    assert count(store, "recent_samples") == 0
    send(store, [("heap", NOW, 2.0)])
    assert not walk.step(NOW + history_compaction.INTERVAL - 1)
    assert count(store, "recent_samples") == 1
    monkeypatch.setattr(history_compaction, "MOST_WAITING", 0)
    assert not walk.step(NOW + history_compaction.INTERVAL - 1)
    assert count(store, "recent_samples") == 0


def test_a_walk_takes_slices(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so many rows, bytes and chunks; a device whose rows are more than a slice takes several."""
    monkeypatch.setattr(history_compaction, "MOST_ROWS", 10)
    monkeypatch.setattr(history_compaction, "MOST_BYTES", 8 * 20)
    monkeypatch.setattr(history_compaction, "MOST_SPANS", 2)
    numbers = {name: register(store, name) for name in "abcd"}
    for name, beats in (("a", 3), ("b", 25), ("c", 1), ("d", 4)):
        for beat in range(beats):
            send(store, [("heap", NOW + beat, 1.0)], name)
    send(store, [("heap", NOW - 86400 * day, 2.0) for day in range(1, 30)], "c")
    turn = Turn()
    walk = Compaction(store, turn, None)
    steps = 1
    while walk.step(NOW):
        steps += 1
    assert steps >= 6
    assert count(store, "recent_samples") == 0
    assert {name: len(samples_of(store, number)) for name, number in numbers.items()} == {
        "a": 3, "b": 25, "c": 30, "d": 4,
    }  # fmt: skip
    assert is_consistent(store)


def test_one_process_at_a_time_compacts_and_another_one_follows_it(place: Place) -> None:
    with stores.open_place(place) as one, stores.open_place(place) as other:
        register(one, "d")
        first, second = Compaction(one, Turn(), None), Compaction(other, Turn(), None)
        send(one, [("heap", NOW, 1.0)])
        assert not first.step(NOW)
        send(one, [("heap", NOW, 2.0)])
        later = NOW + history_compaction.INTERVAL
        assert not first.step(later)
        send(one, [("heap", NOW, 3.0)])
        walk_due = later + history_compaction.INTERVAL
        one.write(lambda transaction: Turn().take(transaction.connection, later, walk_due - HELD + 1))
        assert not second.step(walk_due)  # it is the turn of another one
        assert count(one, "recent_samples") == 1
        assert not second.step(walk_due + HELD)
        assert count(one, "recent_samples") == 0


def test_what_two_processes_decided_at_one_moment_is_written_once(place: Place) -> None:
    with stores.open_place(place) as one, stores.open_place(place) as other:
        device = register(one, "d")
        send(one, [("heap", NOW, 1.0)])
        first, second = Compaction(one, Turn(), None), Compaction(other, Turn(), None)
        write = one.write

        def write_after_the_other(work: Callable[[Transaction], T]) -> T:
            second.step(NOW)
            send(other, [("heap", NOW, 2.0)])
            return write(work)

        one.write = write_after_the_other  # type: ignore[method-assign]
        assert first.step(NOW)  # what it had read holds no longer
        one.write = write  # type: ignore[method-assign]
        compact(other)
        assert samples_of(one, device) == [(NOW, 1.0), (NOW, 2.0)]
        assert is_consistent(one)


def test_nothing_is_left_of_a_device_that_is_deregistered_while_it_is_compacted(store: Store) -> None:
    register(store, "d")
    other = register(store, "e")
    for name in "de":
        send(store, [("heap", NOW, 1.0)], name)
    walk = Compaction(store, Turn(), None)
    write = store.write

    def write_after_the_end(work: Callable[[Transaction], T]) -> T:
        store.write = write  # type: ignore[method-assign]
        assert write(lambda transaction: transaction.deregister("f", "d"))
        return write(work)

    store.write = write_after_the_end  # type: ignore[method-assign]
    while walk.step(NOW):
        pass
    assert count(store, "sample_chunks") == 1
    assert samples_of(store, other) == [(NOW, 1.0)]
    assert is_consistent(store)
    assert store.write(lambda transaction: transaction.deregister("f", "e"))
    retain(store, HistoryLimits())
    assert count(store, "sample_chunks") == count(store, "deregistered") == 0
    assert is_consistent(store)


def test_the_samples_of_a_deregistered_device_go_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_retention, "MOST", {"sqlite": 7, "postgresql": 7})
    register(store, "d")
    other = register(store, "e")
    for name in "de":
        send(store, [("heap", NOW - 86400 * day, float(day)) for day in range(40)], name)
    compact(store)
    for name in ("d", "none"):
        store.write(lambda transaction: transaction.register("f", ["none"], NOW))
        assert store.write(lambda transaction: transaction.deregister("f", name))  # noqa: B023
    retention, left = Retention(store, Turn(), HistoryLimits()), [count(store, "sample_chunks")]
    store.write(lambda transaction: transaction.connection.execute(sa.text("DELETE FROM tasks")))
    while retention.step(NOW):
        left.append(count(store, "sample_chunks"))
    assert all(0 <= before - after <= 7 for before, after in pairwise(left))
    assert left[0] == 80
    assert left[-1] == len(samples_of(store, other)) == 40
    assert count(store, "deregistered") == 0
    assert is_consistent(store)


def test_metrics_that_were_deleted_and_spans_that_are_too_old_are_not_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "METRICS", limits.DeviceLimit("metrics", 3))
    device = register(store, "d")
    send(store, [("a", NOW - 50, 1.0), ("b", NOW - 40, 1.0), ("b", NOW - 9 * 86400, 1.0)])
    compact(store, days=7)
    assert samples_of(store, device, MetricKey("", "", "sys", "b")) == [(NOW - 40, 1.0)]
    for number in range(20):  # it makes up names: of those nothing is kept
        send(store, [(f"x{number}", NOW + number, 1.0), ("b", NOW + number, 2.0)])
    compact(store, days=7)
    metrics = store.read(lambda transaction: device_metrics(transaction, device, MetricFilter()))
    assert {key.name: extent.samples for key, (_, extent) in metrics.items()} == {"a": 1, "b": 21}


def test_a_device_has_so_many_chunks_and_its_log_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_compaction, "MOST_CHUNKS", 50)
    monkeypatch.setattr(history_compaction, "SPARE", 10)
    device = register(store, "d")
    send(store, [("heap", NOW - 86400 * day, 1.0) for day in range(70)])
    compact(store)
    assert [at for at, _ in samples_of(store, device)] == [NOW - 86400 * day for day in reversed(range(40))]
    assert is_consistent(store)
    (entry,) = [each for each in device_log(store, device, 10) if each["kind"] == "limit"]
    assert entry["detail"] == {"deleted": 30, "kept": 50, "samples": 30, "what": "history"}


def retain(store: Store, limits: HistoryLimits, now: float = NOW) -> None:
    retention = Retention(store, Turn(), limits)
    store.write(lambda transaction: transaction.connection.execute(sa.text("DELETE FROM tasks")))
    while retention.step(now):
        pass


def test_what_is_older_than_so_many_days_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_retention, "MOST", {"sqlite": 7, "postgresql": 7})
    device = register(store, "d")
    send(store, [("heap", NOW - 86400 * day, float(day)) for day in range(40)])
    compact(store)
    store.write(lambda transaction: transaction.connection.execute(sa.text("UPDATE device_log SET at = 1")))
    for at in [1.0] * 20 + [float(NOW)]:
        store.write(lambda transaction: Auditor("", "", "a", at).add(transaction.connection, [("r", None, None)]))  # noqa: B023
    retain(store, HistoryLimits(days=10, size=10**9))
    assert count(store, "audit") == 1
    assert samples_of(store, device) == [(NOW - 86400 * day, float(day)) for day in reversed(range(11))]
    assert count(store, "fleet_hours") == 11
    assert count(store, "device_log") == 0
    assert is_consistent(store)


def test_the_oldest_days_go_where_the_size_is_not_enough(store: Store) -> None:
    device = register(store, "d")
    send(store, [("heap", NOW - 86400 * day, float(day)) for day in range(40)])
    compact(store)
    retain(store, HistoryLimits(days=400, size=store.read(read_totals).history.size // 4))
    left = samples_of(store, device)
    assert 8 <= len(left) <= 10
    assert left[-1] == (NOW, 0.0)
    assert is_consistent(store)


def test_a_file_gets_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of SQLite: so far that some pages stay free for what comes."""
    monkeypatch.setattr(history_retention, "FREE_PAGES", 10)

    def pages(transaction: Transaction) -> list[int]:
        return [
            transaction.connection.exec_driver_sql(f"PRAGMA {each}").scalar_one()
            for each in ("page_count", "freelist_count")
        ]

    with stores.sqlite_store(tmp_path) as store:
        register(store, "d")
        chance = random.Random(1)
        for _ in range(20):
            send(store, [("heap", NOW - chance.randrange(86400), chance.random()) for _ in range(1000)])
        compact(store)
        before, _ = store.read(pages)
        retain(store, HistoryLimits(days=10), NOW + 20 * 86400)
        after, free = store.read(pages)
    assert after < before * 0.6
    assert free <= 10 + after // 8


def test_names_that_nobody_uses_go_and_a_process_that_kept_their_numbers_notices(store: Store) -> None:
    register(store, "d")
    device = register(store, "e")
    send(store, [("heap", NOW, 1.0)], "d")
    send(store, [("load", NOW, 1.0)], "e")
    store.write(lambda transaction: transaction.deregister("f", "d"))
    retain(store, HistoryLimits())
    assert count(store, "metric_names") == 1
    send(store, [("heap", NOW, 2.0)], "e")
    assert samples_of(store, device) == [(NOW, 2.0)]
    compact(store)
    assert samples_of(store, device) == [(NOW, 2.0)]


def usage(store: Store) -> tuple[int, int, int]:
    """Chunks, their samples, and rows that wait."""
    totals = store.read(read_totals)
    return totals.history.chunks, totals.history.samples, totals.recent_rows


def test_the_size_that_is_reported_is_the_one_that_is_limited(store: Store) -> None:
    """What is there stays with a limit of so many bytes, and the oldest day goes with one byte less."""
    device = register(store, "d")
    sent = [(NOW - 86400 * day, float(day)) for day in reversed(range(5))]
    send(store, [("heap", *sample) for sample in sent])
    compact(store)
    size = store.read(read_totals).history.size
    retain(store, HistoryLimits(days=400, size=size))
    assert samples_of(store, device) == sent
    retain(store, HistoryLimits(days=400, size=size - 1))
    assert samples_of(store, device) == sent[1:]


def test_totals_are_what_there_is(store: Store) -> None:
    register(store, "d")
    assert usage(store) == (0, 0, 0)
    for beat in range(3):
        send(store, [("heap", NOW + beat, 1.0)])
    assert usage(store) == (0, 0, 3)
    compact(store)
    assert usage(store) == (1, 3, 0)
    store.write(lambda transaction: delete_chunks(transaction.connection, "device >= 0"))
    assert usage(store) == (0, 0, 0)


def test_raw_samples_come_in_pages(store: Store) -> None:
    device = register(store, "d")
    sent = [(NOW + number, float(number)) for number in range(30)]
    for number, (at, value) in enumerate(sent):
        send(store, [("heap", at, value)])
        if number == 20:
            compact(store)

    def pages(transaction: Transaction) -> list[list[Point]]:
        ((metric, _),) = device_metrics(transaction, device, MetricFilter(name="heap")).values()
        found: list[list[Point]] = []
        after, more = None, True
        while more:
            points, more = device_samples(transaction, device, metric, 0, 2**60, 7, after)
            found.append(points)
            after = points[-1]
        return found

    found = store.read(pages)
    assert [len(each) for each in found] == [7, 7, 7, 7, 2]
    assert [(at / SECOND, value) for each in found for at, value in each] == sent


def test_a_damaged_task_row_is_no_ones_turn(store: Store) -> None:
    """A clock that was far ahead and is right again: the history goes on."""
    register(store, "d")
    store.write(lambda transaction: Turn().take(transaction.connection, 0.0, NOW + 10**6))
    send(store, [("heap", NOW, 1.0)])
    assert not Compaction(store, Turn(), None).step(NOW)
    assert count(store, "recent_samples") == 0


def test_kill_9_while_it_compacts_loses_no_sample_and_repeats_none(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that compact are killed one after another while samples are recorded."""
    sent: dict[str, list[tuple[float, float]]] = {name: [] for name in "abcdef"}
    with stores.open_place(place) as opened:
        store = stores.patient(opened)
        numbers = {name: register(store, name) for name in sent}
        arguments = [sys.executable, str(PROCESS), str(place.data), *([place.url] if place.url else [])]
        for kill in range(6):
            with running(arguments, stdout=subprocess.PIPE, env=environment()) as process:
                assert line(process, "the beginning")
                for beat in range(15):
                    at = NOW + 100 * kill + beat
                    for name, points in sent.items():
                        send(store, [("heap", at, float(beat)), ("heap", at - 86400, 0.5)], name)
                        points += [(at, float(beat)), (at - 86400, 0.5)]
                process.kill()
            store.write(lambda transaction: transaction.connection.execute(sa.text("DELETE FROM tasks")))
        for name, number in numbers.items():
            assert samples_of(store, number) == sorted(sent[name])
        compact(store)
        for name, number in numbers.items():
            assert samples_of(store, number) == sorted(sent[name])
        assert is_consistent(store)


def test_heartbeats_are_recorded_while_old_samples_are_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_retention, "MOST", {"sqlite": 50, "postgresql": 50})
    register(store, "d")
    device = register(store, "e")
    for month in range(5):
        send(store, [("heap", NOW - 86400 * (30 * month + day), 1.0) for day in range(30)] * 20, "d")
    for metric in range(20):
        send(store, [(f"m{metric}", NOW - 86400 * day, 1.0) for day in range(100)], "d")
    compact(store)
    sent: list[float] = []
    ends = threading.Event()

    def heartbeats() -> None:
        while not ends.is_set():
            send(store, [("heap", NOW + len(sent), 1.0)], "e")
            sent.append(NOW + len(sent))

    sender = threading.Thread(target=heartbeats)
    sender.start()
    try:
        retention = Retention(store, Turn(), HistoryLimits(days=10))
        store.write(lambda transaction: transaction.connection.execute(sa.text("DELETE FROM tasks")))
        slices, before = 0, len(sent)
        while retention.step(NOW):
            slices += 1
        meanwhile = len(sent) - before
    finally:
        ends.set()
        sender.join()
    assert slices >= 30
    assert meanwhile > 0
    assert [at for at, _ in samples_of(store, device)] == sent
    assert is_consistent(store)


def test_a_damaged_chunk_stops_nothing(store: Store) -> None:
    device, other = register(store, "d"), register(store, "e")
    send(store, [("heap", NOW, 1.0)], "d")
    compact(store)
    store.write(lambda transaction: transaction.connection.execute(sa.update(SAMPLE_CHUNKS).values(samples=b"\1\1?")))
    for name in "de":
        send(store, [("heap", NOW, 2.0), ("heap", NOW + 1, 3.0)], name)
    compact(store)
    assert count(store, "recent_samples") == 0
    assert samples_of(store, other) == [(NOW, 2.0), (NOW + 1, 3.0)]
    store.write(
        lambda transaction: transaction.connection.execute(
            sa.delete(SAMPLE_CHUNKS).where(SAMPLE_CHUNKS.c.part == 0, SAMPLE_CHUNKS.c.device == device)
        )
    )
    assert samples_of(store, device) == [(NOW, 2.0), (NOW + 1, 3.0)]
