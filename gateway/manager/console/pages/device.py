"""One device: what it has and should have, what it said last, its metrics as charts, its log; and who may remove it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.manager.console.charts import Chart, chart_of
from gateway.manager.console.errors import PageError
from gateway.manager.console.views import (
    Redirected,
    Shown,
    View,
    ViewAnswer,
    ViewRequest,
    downloaded,
    link_to,
)
from gateway.manager.models import from_members, output_shape
from gateway.manager.reports import BucketReport, DeviceReport, LogReport

PATH = "/devices/{fleet}/{device}"
CHARTS = 12
"""Of a page."""
ENTRIES = 50
"""Of the log."""
DOWNLOADED = 10_000
DEREGISTERS = "DeregisterDevices"


@dataclass(frozen=True, slots=True)
class Range:
    """A time until now that charts show, in about so many buckets."""

    words: str
    seconds: float
    points: int


RANGES: Mapping[str, Range] = {
    "1h": Range("1 hour", 3600, 60),
    "24h": Range("24 hours", 86_400, 96),
    "7d": Range("7 days", 7 * 86_400, 84),
    "30d": Range("30 days", 30 * 86_400, 120),
    "1y": Range("1 year", 366 * 86_400, 122),
}
DEFAULT = "24h"


@dataclass(frozen=True, slots=True)
class ShownMetric:
    """`key`: its model, version, dimension and name. `chart` None: no sample in that time. `seconds`: of a bucket."""

    key: Mapping[str, Any]
    chart: Chart | None
    buckets: list[BucketReport]
    seconds: float


def show(request: ViewRequest) -> ViewAnswer:
    asked = request.query.get("range", DEFAULT)
    if asked not in RANGES:
        raise PageError(400, f"There is no range {asked[:40]!r}.", f"Take {', '.join(RANGES)}.")
    output = request.operations.find("EdgeManager.GetDeviceReport", _names(request))
    report: DeviceReport = from_members(output, output_shape("GetDeviceReport"))["device"]
    form = request.query.get("format")
    entries = _log(request, DOWNLOADED if form is not None else ENTRIES)
    if form is not None:
        return downloaded(form, "log", entries, tuple(LogReport.__annotations__))
    first = request.number("first", 0) or 0
    keys = _call(request, "ListDeviceMetrics")["metrics"]
    end = request.now
    variables = {
        "report": report,
        "now": request.now,
        "entries": entries,
        "metrics": [_metric(request, each, RANGES[asked], end) for each in keys[first : first + CHARTS]],
        "ranges": {name: (each.words, request.link(range=name)) for name, each in RANGES.items()},
        "range": asked,
        "start": end - RANGES[asked].seconds,
        "end": end,
        "next": request.link(first=first + CHARTS) if len(keys) > first + CHARTS else None,
        "first": request.link(first=None) if first else None,
        "may_deregister": request.viewer.may(f"sagemaker:{DEREGISTERS}"),
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown("device.html", variables)


def _metric(request: ViewRequest, key: Mapping[str, Any], over: Range, end: float) -> ShownMetric:
    start = end - over.seconds
    named = {"ModelName": "model", "ModelVersion": "version", "Dimension": "dimension", "MetricName": "name"}
    members = {member: key[form] for member, form in named.items()}
    times = {"StartTime": start, "EndTime": end, "Points": over.points}
    series = _call(request, "GetDeviceHistory", **members, **times)["series"]
    buckets = series[0]["buckets"] if series else []
    seconds = series[0]["seconds"] if series else 0.0
    return ShownMetric(key, chart_of(buckets, seconds, start, end), buckets, seconds)


def _log(request: ViewRequest, limit: int) -> list[LogReport]:
    """The newest first."""
    found: list[LogReport] = _call(request, "GetDeviceLog", MaxResults=limit)["entries"]
    return found[::-1]


def _call(request: ViewRequest, operation: str, **members: Any) -> Any:
    output = request.operations.call(f"EdgeManager.{operation}", _names(request) | members)
    return from_members(output, output_shape(operation))


def _names(request: ViewRequest) -> dict[str, str]:
    return {"DeviceFleetName": request.parameters["fleet"], "DeviceName": request.parameters["device"]}


def deregister(request: ViewRequest) -> ViewAnswer:
    fleet, device = request.parameters["fleet"], request.parameters["device"]
    if request.form.get("confirm", "").strip() != device:
        what = "The name of the device was not typed. Nothing was changed."
        raise PageError(400, what, f"Go back, type {device} into the field, and send it again.")
    members = {"DeviceFleetName": fleet, "DeviceNames": [device]}
    request.operations.call(f"SageMaker.{DEREGISTERS}", members)
    return Redirected(link_to("/devices", fleet=fleet), f"The device {device} of {fleet} was deregistered.")


VIEWS = (
    View(PATH, show, action="edge-manager:GetDeviceReport"),
    View(PATH, deregister, action=f"sagemaker:{DEREGISTERS}", changes=True),
)
