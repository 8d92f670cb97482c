"""The commands that show the history of samples: `app`, which the manager's commands mount. Decides nothing."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.manager.cli import options, output
from gateway.manager.cli.options import FleetArgument
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, open_client, takes_site
from gateway.manager.cli.tables import Listing, Row, printable_text, time_text
from gateway.manager.errors import ManagerError

_SERIES: Row = ("From", "Samples", "Min", "Mean", "Max")
WIDTH = 10
"""Characters of a bar."""

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
@takes_site
@takes_form
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
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="With --raw: so many samples of a metric at most.")
    ] = 1000,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Show what a device measured: least, mean and greatest value of each metric over time."""
    with open_client(site, read_only=True) as client, options.exit_on_error():
        over = range_members(first, last, time.time())
        asked = {"DeviceFleetName": fleet, "DeviceName": device, **metric_members(metric, model, version)}
        if metric is None:
            found = client.call("ListDeviceMetrics", **asked)["metrics"]
        elif raw:
            found = client.call("GetDeviceSamples", **asked, **over, MaxResults=limit)["series"]
        else:
            found = client.call("GetDeviceHistory", **asked, **over, Points=points)["series"]
    _hint(f"{fleet}/{device}", metric, found)
    if metric is None:
        output.write(form, found, _metrics_table)
    elif raw:
        _show_samples(found, form)
    else:
        _show_series(found, form)


@app.command("fleet-history")
@takes_site
@takes_form
def show_fleet_history(
    fleet: FleetArgument,
    metric: MetricArgument = None,
    model: ModelOption = None,
    version: VersionOption = None,
    first: FromOption = "7d",
    last: ToOption = "0",
    points: PointsOption = 60,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Show what all devices of a fleet measured, by version of the model, in hours or longer."""
    with open_client(site, read_only=True) as client, options.exit_on_error():
        asked = {"DeviceFleetName": fleet, **metric_members(metric, model, version)}
        over = range_members(first, last, time.time())
        found = client.call("GetFleetHistory", **asked, **over, Points=points if metric else 1)["series"]
    _hint(fleet, metric, found)
    _show_series(found, form)


def _hint(whose: str, metric: str | None, found: Collection[object]) -> None:
    if metric is not None and not found:
        typer.echo(f"{whose} has no samples of {metric}: without METRIC, what it has is listed", err=True)


def metric_members(metric: str | None, model: str | None, version: str | None) -> dict[str, str | None]:
    """As the operations take them."""
    dimension, slash, name = (metric or "").rpartition("/")
    return {
        "MetricName": name if metric else None,
        "Dimension": dimension if slash else None,
        "ModelName": model,
        "ModelVersion": version,
    }


def range_members(first: str, last: str, now: float) -> dict[str, float]:
    """In Unix seconds. Raises ManagerError."""
    begin, end = parse_time(first, "--from", now), parse_time(last, "--to", now)
    if begin >= end:
        raise ManagerError(f"--from {first} is not before --to {last}")
    return {"StartTime": begin, "EndTime": end}


def parse_time(text: str, option: str, now: float) -> float:
    """Unix seconds; a date without an offset is of UTC. Raises ManagerError."""
    from gateway.manager.rollouts import rules_text

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - rules_text.parse_duration(text, option)
        except ManagerError:
            raise ManagerError(f"{option} '{text}' is no time: 90m, 7d, 2026-11-30 or 2026-11-30T10:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _show_samples(found: Sequence[dict[str, Any]], form: Form) -> None:
    output.write(form, found, _samples_table)
    if form is not Form.TABLE:
        return
    for series in found:
        if series["more"]:
            after = datetime.fromtimestamp(series["samples"][-1]["at"], UTC).isoformat()
            typer.echo(f"more of {metric_text(series)}: --from {after}, or a greater --limit")


def _samples_table(found: Iterable[dict[str, Any]]) -> Listing:
    rows = (
        (metric_text(series), _exact(each["at"]), f"{each['value']:.10g}")
        for series in found
        for each in series["samples"]
    )
    return Listing(("Metric", "Time", "Value"), rows)


def _exact(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _show_series(found: Sequence[dict[str, Any]], form: Form) -> None:
    if form is not Form.TABLE:
        output.write(form, found, _series_table)
        return
    for series in found:
        typer.echo(metric_text(series))
        output.write(form, series["buckets"], lambda buckets: Listing((*_SERIES, ""), _rows([*buckets])))


def _series_table(found: Iterable[dict[str, Any]]) -> Listing:
    """All of them in one table, without bars."""
    rows = ((metric_text(series), *row[:-1]) for series in found for row in _rows(series["buckets"]))
    return Listing(("Metric", *_SERIES), rows)


def _rows(buckets: Sequence[dict[str, Any]]) -> Iterator[Row]:
    least = min((each["min"] for each in buckets), default=0.0)
    greatest = max((each["max"] for each in buckets), default=0.0)
    for each in buckets:
        mean = "" if each["mean"] is None else f"{each['mean']:.6g}"
        numbers = (f"{each['count']:,}", f"{each['min']:.6g}", mean, f"{each['max']:.6g}")
        yield time_text(each["start"]), *numbers, bar(each, least, greatest)


def bar(bucket: Mapping[str, Any], least: float, greatest: float) -> str:
    """From the least to the greatest value of the bucket, with its mean, within those of all."""

    def place(value: float) -> int:
        share = (value / 2 - least / 2) / (greatest / 2 - least / 2)  # halves: the difference may be beyond a double
        return round(share * (WIDTH - 1))

    if least == greatest:
        return "*"
    begin, end = place(bucket["min"]), place(bucket["max"])
    drawn = [" "] * begin + ["-"] * (end - begin + 1)
    if bucket["mean"] is not None:
        drawn[place(bucket["mean"])] = "*"
    return "".join(drawn)


def _metrics_table(rows: Iterable[dict[str, Any]]) -> Listing:
    cells = (
        (metric_text(row), f"{row['samples']:,}", time_text(row["first"]), time_text(row["newest"])) for row in rows
    )
    return Listing(("Metric", "Samples", "First", "Newest"), cells)


def metric_text(metric: Mapping[str, Any]) -> str:
    """`metric` has its four names."""
    model = f"{metric['model']} {metric['version']} " if metric["model"] or metric["version"] else ""
    return printable_text(f"{model}{metric['dimension']}/{metric['name']}")
