"""The commands that show the history of samples: `app`, which the manager's commands mount. Decides nothing."""

import contextlib
import struct
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.manager.api import MetricKey, to_us
from gateway.manager.cli import options
from gateway.manager.cli.options import DatabaseOption, DataOption, FleetArgument, JsonOption
from gateway.manager.cli.tables import Listing, Row, printable_text, time_text
from gateway.manager.errors import ManagerError
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from gateway.manager.history import Bucket, Series
    from gateway.manager.store import MetricFilter, Store

WIDTH = 10
"""Characters of a bar."""
Found = dict[MetricKey, "list[Bucket]"]

app = typer.Typer()

MetricArgument = Annotated[
    str | None,
    typer.Argument(metavar="METRIC", help="NAME or DIMENSION/NAME; else a list of all.", show_default=False),
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only of that model; '': of the agent.")]
VersionOption = Annotated[str | None, typer.Option("--version", help="Only of that version.")]
FromOption = Annotated[
    str, typer.Option("--from", metavar="TIME", help="So long ago, as 90m or 7d; or 2026-11-30T10:00.")
]
ToOption = Annotated[str, typer.Option("--to", metavar="TIME", help="Likewise; 0: now.")]
PointsOption = Annotated[int, typer.Option(min=1, max=11_000, help="Rows of a metric, about.")]


@app.command("history")
def show_history(
    fleet: FleetArgument,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A DeviceName.", show_default=False)],
    metric: MetricArgument = None,
    model: ModelOption = None,
    version: VersionOption = None,
    first: FromOption = "1d",
    last: ToOption = "0",
    points: PointsOption = 60,
    raw: Annotated[bool, typer.Option("--raw", help="Each sample.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --raw: so many samples of a metric at most.")] = 1000,
    as_json: JsonOption = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Show what a device measured: least, mean and greatest value of each metric over time."""
    from gateway.manager.history import series
    from gateway.manager.rollouts.actions import require_device
    from gateway.manager.store import device_metrics, device_series

    with options.read_data(Place(data, database)) as store:
        with options.exit_on_error(), _damage_reported():
            begin, end = parse_range(first, last, time.time())
            wanted = parse_metric(metric, model, version)
            number = require_device(store, fleet, device)
            metrics = store.read(lambda transaction: device_metrics(transaction, number, wanted))
        _hint(f"{fleet}/{device}", metric, metrics)
        if metric is None:
            rows = [
                {**key._asdict(), "samples": each.samples, "first": each.first / 1e6, "newest": each.last / 1e6}
                for key, (_, each) in metrics.items()
            ]
            options.write_json(rows) if as_json else options.show(_metrics_table(rows))
        elif raw:
            with options.exit_on_error(), _damage_reported():
                samples = {key: _samples(store, number, each, begin, end, limit) for key, (each, _) in metrics.items()}
            _show_samples(samples, as_json)
        else:
            over = series(begin, end, points)
            with options.exit_on_error(), _damage_reported():
                numbers = {each: key for key, (each, _) in metrics.items()}
                found = store.read(lambda transaction: device_series(transaction, number, numbers, over))
            _show_series({numbers[each]: buckets for each, buckets in found.items()}, over, as_json)


@app.command("fleet-history")
def show_fleet_history(
    fleet: FleetArgument,
    metric: MetricArgument = None,
    model: ModelOption = None,
    version: VersionOption = None,
    first: FromOption = "7d",
    last: ToOption = "0",
    points: PointsOption = 60,
    as_json: JsonOption = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Show what all devices of a fleet measured, by version of the model, in hours or longer."""
    from gateway.manager.history import HOUR, series
    from gateway.manager.store import fleet_series

    with options.read_data(Place(data, database), fleet) as store:
        with options.exit_on_error(), _damage_reported():
            begin, end = parse_range(first, last, time.time())
            wanted = parse_metric(metric, model, version)
            over = series(begin, end, points if metric else 1, HOUR)
            found = store.read(lambda transaction: fleet_series(transaction, fleet, wanted, over))
        _hint(fleet, metric, found)
        _show_series(found, over, as_json)


@contextlib.contextmanager
def _damage_reported() -> Iterator[None]:
    try:
        yield
    except (ValueError, zlib.error, struct.error) as error:
        raise ManagerError(f"samples in the database are damaged ({error}): ask for another time") from error


def _hint(whose: str, metric: str | None, found: Collection[object]) -> None:
    if metric is not None and not found:
        typer.echo(f"{whose} has no samples of {metric}: without METRIC, what it has is listed", err=True)


def parse_metric(metric: str | None, model: str | None, version: str | None) -> "MetricFilter":
    from gateway.manager.store import MetricFilter

    dimension, slash, name = (metric or "").rpartition("/")
    return MetricFilter(name if metric else None, dimension if slash else None, model, version)


def parse_range(first: str, last: str, now: float) -> tuple[int, int]:
    """In microseconds. Raises ManagerError."""
    begin, end = parse_time(first, "--from", now), parse_time(last, "--to", now)
    if begin >= end:
        raise ManagerError(f"--from {first} is not before --to {last}")
    return begin, end


def parse_time(text: str, option: str, now: float) -> int:
    """Unix microseconds; a date without an offset is of UTC. Raises ManagerError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return to_us(now - options.parse_duration(text, option))
        except ManagerError:
            raise ManagerError(f"{option} '{text}' is no time: 90m, 7d, 2026-11-30 or 2026-11-30T10:00") from None
    return to_us((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _samples(
    store: "Store", device: int, metric: int, begin: int, end: int, limit: int
) -> tuple[list[tuple[int, float]], bool]:
    from gateway.manager.store import device_samples

    return store.read(lambda transaction: device_samples(transaction, device, metric, begin, end, limit))


def _show_samples(found: dict[MetricKey, tuple[list[tuple[int, float]], bool]], as_json: bool) -> None:
    if as_json:
        options.write_json(
            {**key._asdict(), "samples": [{"at": at / 1e6, "value": value} for at, value in points], "more": more}
            for key, (points, more) in found.items()
        )
        return
    rows = (
        (metric_text(key), datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds"), f"{value:.10g}")
        for key, (points, _) in found.items()
        for at, value in points
    )
    options.show(Listing(("Metric", "Time", "Value"), rows))
    for key, (points, more) in found.items():
        if more:
            after = datetime.fromtimestamp(points[-1][0] / 1e6, UTC).isoformat()
            typer.echo(f"more of {metric_text(key)}: --from {after}, or a greater --limit")


def _show_series(found: Found, over: "Series", as_json: bool) -> None:
    if as_json:
        options.write_json(
            {**key._asdict(), "seconds": over.size / 1e6, "buckets": [_bucket(each) for each in buckets]}
            for key, buckets in found.items()
        )
        return
    for key, buckets in found.items():
        typer.echo(metric_text(key))
        options.show(Listing(("From", "Samples", "Min", "Mean", "Max", ""), _series(buckets)))


def _bucket(bucket: "Bucket") -> dict[str, Any]:
    return {
        "start": bucket.start / 1e6,
        "count": bucket.count,
        "min": bucket.min,
        "mean": bucket.mean,
        "max": bucket.max,
    }


def _series(buckets: "list[Bucket]") -> Iterator[Row]:
    least = min((each.min for each in buckets), default=0.0)
    greatest = max((each.max for each in buckets), default=0.0)
    for each in buckets:
        mean = "" if each.mean is None else f"{each.mean:.6g}"
        numbers = (f"{each.count:,}", f"{each.min:.6g}", mean, f"{each.max:.6g}")
        yield time_text(each.start / 1e6), *numbers, bar(each, least, greatest)


def bar(bucket: "Bucket", least: float, greatest: float) -> str:
    """From the least to the greatest value of the bucket, with its mean, within those of all."""

    def place(value: float) -> int:
        share = (value / 2 - least / 2) / (greatest / 2 - least / 2)  # halves: the difference may be beyond a double
        return round(share * (WIDTH - 1))

    if least == greatest:
        return "*"
    begin, end = place(bucket.min), place(bucket.max)
    drawn = [" "] * begin + ["-"] * (end - begin + 1)
    if bucket.mean is not None:
        drawn[place(bucket.mean)] = "*"
    return "".join(drawn)


def _metrics_table(rows: Iterable[dict[str, Any]]) -> Listing:
    cells = (
        (
            metric_text(MetricKey(*(row[each] for each in MetricKey._fields))),
            f"{row['samples']:,}",
            time_text(row["first"]),
            time_text(row["newest"]),
        )
        for row in rows
    )
    return Listing(("Metric", "Samples", "First", "Newest"), cells)


def metric_text(key: MetricKey) -> str:
    model = f"{key.model} {key.version} " if key.model or key.version else ""
    return printable_text(f"{model}{key.dimension}/{key.name}")
