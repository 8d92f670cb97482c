"""What the manager's history costs: `python tests/benchmarks/bench_series.py`. No database, no network.

Bytes and microseconds a sample, for values of several kinds, once a minute and once a second; beside them the bytes of
the same samples as 16 bytes each (time and double) in a zlib stream. Then what a compaction costs, and a reader.
"""

import random
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.manager.history import (
    DAY,
    FULL,
    HOUR,
    MINUTE,
    SECOND,
    SPAN,
    Bucket,
    Chunk,
    MetricSample,
    Point,
    Series,
    SpanKey,
    compact,
    decode,
    device_buckets,
    encode,
    gather,
    merge,
    new_points,
    pack_samples,
    page,
    series,
    unpack_samples,
)

START = 20_700 * DAY
LATE = 0.1
"""Share of the samples that are a second late: a gateway's samples have times of whole seconds."""
METRICS = 5
chance = random.Random(1)


def steps(digits: int | None) -> Callable[[int], float]:
    """A value that moves slowly."""
    held = [20.0]

    def value(number: int) -> float:
        held[0] += chance.gauss(0, 0.05)
        return held[0] if digits is None else round(held[0], digits)

    return value


def single(value: Callable[[int], float]) -> Callable[[int], float]:
    """As a board with 32-bit floats sends it."""
    return lambda number: float(struct.unpack("<f", struct.pack("<f", value(number)))[0])


KINDS: dict[str, Callable[[int], float]] = {
    "constant": lambda number: 3.7,
    "counter": lambda number: float(17 * number + chance.randrange(8)),
    "slow, two decimals": steps(2),
    "slow, 32-bit float": single(steps(None)),
    "slow, double": steps(None),
    "random, two decimals": lambda number: round(chance.random() * 100, 2),
    "random, double": lambda number: chance.random() * 100,
}


def points(value: Callable[[int], float], count: int, interval: int, start: int = START) -> list[Point]:
    return [(start + n * interval + SECOND * (chance.random() < LATE), value(n)) for n in range(count)]


def spans(value: Callable[[int], float], count: int, interval: int) -> list[Chunk]:
    """Full spans, as a compaction leaves them."""
    each = SPAN // interval
    found = []
    for first in range(0, count, each):
        some = points(value, min(each, count - first), interval, START + first * interval)
        found += merge([], some)[0]
    return found


def took(work: Callable[..., object], *arguments: object) -> float:
    """Microseconds of CPU, the least of several."""
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        work(*arguments)
        best = min(best, time.thread_time() - began)
    return best * 1e6


def encode_all(several: list[list[Point]]) -> None:
    for some in several:
        encode(some)


def chunk_costs() -> Table:
    table = Table(title=f"chunks; {LATE:.0%} of the samples are a second late")
    for column in (
        "values",
        "samples",
        "bytes a sample",
        "as rows, zlib",
        "encode, us a sample",
        "decode, us a sample",
    ):
        table.add_column(column, justify="left" if column == "values" else "right")
    for name, value in KINDS.items():
        for count, interval in ((SPAN // MINUTE, MINUTE), (FULL, SECOND)):
            several = [points(value, count, interval) for _ in range(8)]
            some = several[0]
            chunk = encode(some)
            rows = zlib.compress(b"".join(struct.pack("<qd", *point) for point in some))
            costs = (
                took(lambda several=several: [*map(encode, several)]) / 8,
                took(lambda chunk=chunk: decode(chunk.blob)),
            )
            sizes = (len(chunk.blob), len(rows))
            figures = [f"{figure / count:.2f}" for figure in (*sizes, *costs)]
            table.add_row(name, f"{count:,} at 1/{'min' if interval == MINUTE else 's'}", *figures)
    return table


def compaction_costs() -> Table:
    """A span, compacted each hour: some thousand samples at a time, as a thread beside the loop should take them."""
    table = Table(title="compaction of a span, hour by hour; values slow, two decimals")
    for column in ("rate", "samples", "gather, us a sample", "compact, us a sample", "bytes a sample", "parts"):
        table.add_column(column, justify="left" if column == "rate" else "right")
    for rate, interval, devices in (("1/10 min", 10 * MINUTE, 100), ("1/min", MINUTE, 20), ("1/s", SECOND, 1)):
        values = {(device, metric): steps(2) for device in range(devices) for metric in range(METRICS)}
        parts: dict[SpanKey, list[Chunk]] = {}
        samples, gathering, compacting = 0, 0.0, 0.0
        for hour in range(SPAN // HOUR):
            times = [START + hour * HOUR + n * interval for n in range(HOUR // interval)]
            rows = [
                (device, pack_samples(heartbeat(at, device, values)), 1) for at in times for device in range(devices)
            ]
            batch = gather(rows)
            compacted = compact(batch, parts)
            gathering += took(gather, rows)
            compacting += took(compact, batch, parts)
            samples += compacted.samples
            for key, written in compacted.parts.items():
                numbers = {chunk.part for chunk in written}
                parts[key] = [*(chunk for chunk in parts.get(key, ()) if chunk.part not in numbers), *written]
        size = sum(len(chunk.blob) for chunks in parts.values() for chunk in chunks)
        figures = [f"{figure / samples:.2f}" for figure in (gathering, compacting, size)]
        table.add_row(rate, f"{samples:,}", *figures, f"{sum(map(len, parts.values())) / len(parts):.1f}")
    return table


def heartbeat(at: int, device: int, values: Mapping[tuple[int, int], Callable[[int], float]]) -> list[MetricSample]:
    late = at + SECOND * (chance.random() < LATE)
    return [(metric, late, values[device, metric](0)) for metric in range(METRICS)]


def reader_costs() -> Table:
    table = Table(title="a reader")
    for column in ("what", "points", "ms of CPU"):
        table.add_column(column, justify="left" if column == "what" else "right")
    slow, year, week = steps(2), 365 * DAY, 7 * DAY
    minutes = spans(slow, year // MINUTE, MINUTE)
    recent = points(slow, 60, MINUTE, START + week)
    drawn = [
        ("a year at 1/min, 500 points", minutes, year, 500),
        ("a week at 1/min, 500 points", minutes[:28], week, 500),
        ("a week at 1/min, a point a minute", minutes[:28], week, 10_080),
        ("an hour at 1/min, 500 points", minutes[:1], HOUR, 500),
        ("a week at 1/s, 500 points", spans(slow, week // SECOND, SECOND), week, 500),
        ("an hour at 1/s, 500 points", spans(slow, 2 * HOUR // SECOND, SECOND), HOUR, 500),
    ]
    for name, chunks, length, count in drawn:
        wanted = series(START, START + length, count)
        cost = took(draw, wanted, chunks, recent)
        table.add_row(name, f"{len(draw(wanted, chunks, recent)):,}", f"{cost / 1000:.1f}")
    cost = took(page, minutes, [], START, START + year, 10_000)
    table.add_row("the first page of a year", "10,000", f"{cost / 1000:.1f}")
    return table


def draw(wanted: Series, chunks: list[Chunk], recent: list[Point]) -> list[Bucket]:
    """With an hour that is not compacted yet."""
    return device_buckets(wanted, chunks, new_points(chunks[-1:], recent))


def main() -> None:
    console = Console(width=130)
    samples = [(metric, START + metric, 20.5) for metric in range(METRICS)]
    blob, times = pack_samples(samples), range(10_000)
    written = took(lambda: [pack_samples(samples) for _ in times]) / len(times)
    read = took(lambda: [list(unpack_samples(blob)) for _ in times]) / len(times)
    console.print(
        f"a heartbeat of {METRICS} samples: {len(blob)} bytes, {written:.2f} us to pack, {read:.2f} us to unpack"
    )
    for table in (chunk_costs(), compaction_costs(), reader_costs()):
        console.print(table)


if __name__ == "__main__":
    main()
