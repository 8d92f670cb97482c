"""Heartbeats -> one SendHeartbeat: samples get their value and their date, models are merged, equal results are one.

Windowless: values in, values out. What may be merged is decided here too, by the protocol page: heartbeats of one
layout, at most one DeploymentResult, bounded in heartbeats and bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.core.effects import DeliveryToken
from gateway.errors import DecodeError, LimitError
from gateway.protocol.messages import LATEST, Device, Heartbeat, HelloRecord, Layout, Metric, Number, Result, Samples
from gateway.protocol.service_calls import DatedResult, DatedSample, ModelReport, SendHeartbeat

DAY = 86_400

_POWERS = tuple(10**exponent for exponent in range(31))
_SAMPLE_WEIGHT = 90
"""Bytes of JSON around the names of one sample: the keys, a timestamp, a value of usual length."""


@dataclass(slots=True, eq=False)
class QueuedHeartbeat:
    """A heartbeat in its mailbox. `layout` is None until the hello of its tag is known. `arrived` in Unix seconds.

    `epoch`: by which it was checked.
    """

    ticket: DeliveryToken
    heartbeat: Heartbeat
    arrived: int
    layout: Layout | None = None
    record: HelloRecord | None = None
    epoch: int | None = None

    @property
    def redated(self) -> bool:
        """Whether more is known of its epoch than when it was checked."""
        return self.record is not None and self.record.epoch != self.epoch

    @property
    def time(self) -> int:
        """The heartbeat's time in Unix seconds, by what is known of its epoch now."""
        time = self.heartbeat.time
        if time is None:
            return self.arrived
        return time if self.record is None else (self.record.epoch or 0) + time


def check(waiting: QueuedHeartbeat, layout: Layout) -> None:
    """Hold a heartbeat against its layout.

    Raises DecodeError for more samples than the layout has metrics, LimitError for a date or a value that cannot be.
    """
    heartbeat = waiting.heartbeat
    waiting.epoch = None if waiting.record is None else waiting.record.epoch
    oldest = _check_row(heartbeat.values, layout.metrics, "values")
    if len(heartbeat.models) > len(layout.models):
        raise DecodeError(f"models: {len(heartbeat.models)} where the layout has {len(layout.models)}")
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        if samples is not None:
            in_row = _check_row(samples.metrics, model.metrics, model.name)
            oldest = max(oldest, in_row, samples.sample_age or 0, samples.inference_age or 0)
    if heartbeat.result is not None:
        oldest = max(oldest, heartbeat.result.start_age or 0, heartbeat.result.end_age or 0)
    latest = waiting.time
    if latest > min(LATEST, waiting.arrived + DAY):
        raise LimitError(f"time: {latest} is more than a day after its arrival, or after 2100")
    if latest < oldest:
        raise LimitError("time: before 1970")


def _check_row(row: tuple[Samples, ...], metrics: tuple[Metric, ...], what: str) -> int:
    """The greatest age in a row."""
    if len(row) > len(metrics):
        raise DecodeError(f"samples of {what}: {len(row)} where the layout has {len(metrics)}")
    oldest = 0
    for metric, samples in zip(metrics, row, strict=False):
        if isinstance(samples, int):
            continue  # the usual case: no age, and no exponent makes it too large for a double
        if isinstance(samples, tuple):
            oldest = max(oldest, *map(int, samples[1::2]), 0)
            numbers = samples[::2]
        else:
            numbers = () if samples is None else (samples,)
        if not all(math.isfinite(scaled(number, metric.exponent)) for number in numbers):
            raise LimitError(f"samples of {what}: {metric.name} is beyond a double")
    return oldest


def scaled(number: Number, exponent: int | None) -> Number:
    """number * 10**exponent; for an int the float nearest to that decimal (Python's int / int rounds correctly)."""
    if exponent is None:
        return number
    return number / _POWERS[-exponent] if exponent < 0 else float(number * _POWERS[exponent])


def mergeable(waiting: Sequence[QueuedHeartbeat], most: int, most_bytes: int) -> int:
    """How many of `waiting`, from the first on, make one call of at most `most` heartbeats and about `most_bytes`."""
    if len(waiting) == 1:
        return 1
    layout, result, weight = waiting[0].layout, None, 0
    for count, item in enumerate(waiting):
        heartbeat = item.heartbeat
        weight += _weight(item)
        if count == most or (count and (weight > most_bytes or item.layout != layout)):
            return count
        if heartbeat.result is not None:
            if result is not None and _timeless(heartbeat.result) != _timeless(result):
                return count
            result = heartbeat.result
    return len(waiting)


def _timeless(result: Result) -> Result:
    return replace(result, start_age=None, end_age=None)


def _weight(item: QueuedHeartbeat) -> int:
    """About how many bytes of JSON a heartbeat becomes."""
    layout, heartbeat = item.layout, item.heartbeat
    assert layout is not None  # only what has one is asked about
    weight = _row_weight(layout.metrics, heartbeat.values)
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        if samples is not None:
            weight += _SAMPLE_WEIGHT + len(model.name) + _row_weight(model.metrics, samples.metrics)
    return weight + (len(repr(heartbeat.result)) if heartbeat.result else 0)


def _row_weight(metrics: tuple[Metric, ...], row: tuple[Samples, ...]) -> int:
    weight = 0
    for metric, samples in zip(metrics, row, strict=False):
        if samples is not None:
            count = len(samples) // 2 if isinstance(samples, tuple) else 1
            weight += count * (_SAMPLE_WEIGHT + len(metric.dimension) + len(metric.name))
    return weight


def merged(device: Device, batch: Sequence[QueuedHeartbeat]) -> SendHeartbeat:
    """One call for all of `batch`, samples in the order of arrival. Every heartbeat of it has passed `check`."""
    layout = batch[-1].layout
    assert layout is not None  # `mergeable` takes none without
    metrics: list[DatedSample] = []
    models: dict[tuple[str, str], ModelReport] = {}
    result = None
    for item in batch:
        time, heartbeat = item.time, item.heartbeat
        metrics += _dated(layout.metrics, heartbeat.values, time)
        for report in _reports(layout, heartbeat, time):
            key = report.name, report.version
            models[key] = _joined(models[key], report) if key in models else report
        if heartbeat.result is not None:
            result = _dated_result(heartbeat.result, time)
    return SendHeartbeat(device, layout.agent_version, tuple(metrics), tuple(models.values()), result, len(batch))


def _dated(metrics: tuple[Metric, ...], row: tuple[Samples, ...], time: int) -> list[DatedSample]:
    dated: list[DatedSample] = []
    for metric, samples in zip(metrics, row, strict=False):
        if isinstance(samples, tuple):
            pairs = zip(samples[::2], samples[1::2], strict=True)
            dated += [(metric, scaled(number, metric.exponent), time - int(age)) for number, age in pairs]
        elif samples is not None:
            dated.append((metric, scaled(samples, metric.exponent), time))
    return dated


def _reports(layout: Layout, heartbeat: Heartbeat, time: int) -> Iterable[ModelReport]:
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        if samples is not None:
            yield ModelReport(
                model.name,
                model.version,
                _ago(time, samples.sample_age),
                _ago(time, samples.inference_age),
                tuple(_dated(model.metrics, samples.metrics, time)),
            )


def _joined(first: ModelReport, second: ModelReport) -> ModelReport:
    return ModelReport(
        first.name,
        first.version,
        _later(first.latest_sample, second.latest_sample),
        _later(first.latest_inference, second.latest_inference),
        first.metrics + second.metrics,
    )


def _later(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


def _ago(time: int, age: int | None) -> int | None:
    return None if age is None else time - age


def _dated_result(result: Result, time: int) -> DatedResult:
    return DatedResult(
        result.deployment,
        result.status,
        result.message,
        _ago(time, result.start_age),
        _ago(time, result.end_age),
        result.models,
    )
