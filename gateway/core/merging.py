"""Heartbeats -> one SendHeartbeat: samples get value and date, models are merged, equal results are one.

Only heartbeats of one layout are merged, with at most one DeploymentResult, bounded in heartbeats and bytes. The size
of a call is known before it is built. Must never depend on a device's state.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.core.effects import DeliveryToken
from gateway.errors import DecodeError, LimitError
from gateway.protocol import (
    LATEST,
    LIVENESS,
    DatedResult,
    DatedSample,
    Device,
    Heartbeat,
    HelloRecord,
    Layout,
    Metric,
    ModelReport,
    Number,
    Result,
    Samples,
    SendHeartbeat,
    decode_heartbeat,
)

# On the path of each heartbeat zip is called without `strict`, which takes as long again.

DAY = 86_400
MAX_CALL_BYTES = 2 * 1024 * 1024
"""Bytes of JSON, about, at most in a call. A sample of two bytes becomes up to 1,190 bytes, since the service takes its
names with each; all other calls wait while one is built and signed (10 ms for each MiB). The service model has no limit
of samples; our Edge Manager takes requests of 4 MiB."""

KEPT_DECODED = 128
"""Bytes of a payload, above which its content does not wait decoded: that takes up to a hundred times as much."""
LARGE_LAYOUT = 64
"""Metrics and models. What waits under a larger layout is rejected when its device has replaced that."""
_DROPPED = Layout("dropped", (), ())
"""In place of a layout that is only in the payload."""

_POWERS = tuple(10**exponent for exponent in range(31))
_SAMPLE_BYTES = 90
"""Bytes of JSON around the names of one sample: the keys, a timestamp, a value of usual length."""
_MAX_SAMPLE_BYTES = _SAMPLE_BYTES + 1_100
"""With names as long as the service takes them."""


@dataclass(slots=True, eq=False)
class QueuedHeartbeat:
    """A heartbeat that waits. `layout`: None until the hello of its tag is known. `arrived`, `time`: Unix seconds.

    `epoch` and `time` are those of the last `update_time`. `dropped`: the heartbeat is without its content now.
    `samples`: how many it can have, by the last check.
    """

    delivery: DeliveryToken
    heartbeat: Heartbeat
    arrived: int
    layout: Layout | None = None
    record: HelloRecord | None = None
    epoch: int | None = None
    time: int = 0
    dropped: bool = False
    samples: int = 0

    @property
    def seq(self) -> int | None:
        return self.heartbeat.seq

    def follow_clock(self, clock: float, step: int) -> None:
        """The gateway's clock was set by `step` seconds, to `clock` beyond the monotonic one."""
        self.arrived += step
        if self.heartbeat.time is None:
            self.time = self.arrived
        if self.record is not None:
            self.record.follow_clock(clock)

    def drop_content(self) -> None:
        """Leave what only the making of a call needs to the payload. A `live` is small, whatever its payload is."""
        if self.dropped or self.heartbeat.source is LIVENESS:
            return
        source, time, *_, have, _, seq = self.heartbeat
        if isinstance(source, Layout):
            source = self.layout = _DROPPED
        self.heartbeat, self.dropped = Heartbeat(source, time, have=have, seq=seq), True

    def restore_content(self) -> None:
        """Decode the payload again."""
        self.heartbeat, self.dropped = decode_heartbeat(self.delivery.payload), False
        if isinstance(self.heartbeat.source, Layout):
            self.layout = self.heartbeat.source

    def update_time(self) -> None:
        """Date it by what is known of its epoch now."""
        self.epoch = None if self.record is None else self.record.epoch
        time = self.heartbeat.time
        self.time = self.arrived if time is None else (self.epoch or 0) + time


def is_large(layout: Layout) -> bool:
    """Whether it takes more than about LARGE_LAYOUT * 150 bytes of memory."""
    return len(layout.metrics) + sum(1 + len(model.metrics) for model in layout.models) > LARGE_LAYOUT


def drop_long(items: Iterable[QueuedHeartbeat]) -> None:
    """Drop the content of those with a long payload."""
    for item in items:
        if len(item.delivery.payload) > KEPT_DECODED:
            item.drop_content()


def check_heartbeat(item: QueuedHeartbeat, layout: Layout) -> None:
    """Date a heartbeat by what is known of its epoch, and check it against its layout.

    Raises DecodeError for more samples than the layout has metrics, LimitError for a date or a value that cannot be, or
    where the heartbeat alone is more than MAX_CALL_BYTES.
    """
    heartbeat = item.heartbeat
    _, _, values, models, _, result, _ = heartbeat
    item.update_time()
    oldest, count = _check_row(values, layout.metrics, "values")
    if len(models) > len(layout.models):
        raise DecodeError(f"models: {len(models)} where the layout has {len(layout.models)}")
    for model, samples in zip(layout.models, models):  # noqa: B905
        if samples is not None:
            sample_age, inference_age, row = samples
            in_row, more = _check_row(row, model.metrics, model.name)
            oldest = max(oldest, in_row, sample_age or 0, inference_age or 0)
            count += more + 1
    item.samples = count
    if result is not None:
        oldest = max(oldest, result.start_age or 0, result.end_age or 0)
    if item.time > item.arrived + DAY or item.time > LATEST:
        raise LimitError(f"time: {item.time} is more than a day after its arrival, or after 2100")
    if item.time < oldest:
        raise LimitError("time: before 1970")
    # Few samples are below it whatever their names are, which spares most heartbeats the count.
    if count > MAX_CALL_BYTES // _MAX_SAMPLE_BYTES or result is not None:
        size = _json_size(heartbeat, layout)
        if size > MAX_CALL_BYTES:
            raise LimitError(f"heartbeat: a call of {size} bytes, at most {MAX_CALL_BYTES}: send fewer samples at once")


def _check_row(row: tuple[Samples, ...], metrics: tuple[Metric, ...], what: str) -> tuple[int, int]:
    """The greatest age in a row, and how many samples it can have."""
    if len(row) > len(metrics):
        raise DecodeError(f"samples of {what}: {len(row)} where the layout has {len(metrics)}")
    oldest, count = 0, len(row)
    for metric, samples in zip(metrics, row):  # noqa: B905
        if isinstance(samples, int):
            continue  # the usual case: no age, and no exponent makes it too large for a double
        if isinstance(samples, tuple):
            oldest = max(oldest, *map(int, samples[1::2]), 0)
            numbers = samples[::2]
            count += len(numbers)
        else:
            numbers = () if samples is None else (samples,)
        if not all(math.isfinite(apply_exponent(number, metric.exponent)) for number in numbers):
            raise LimitError(f"samples of {what}: {metric.name} is beyond a double")
    return oldest, count


def apply_exponent(number: Number, exponent: int | None) -> Number:
    """number * 10**exponent; for an int the float nearest to that decimal (Python's int / int rounds correctly)."""
    if exponent is None:
        return number
    return number / _POWERS[-exponent] if exponent < 0 else float(number * _POWERS[exponent])


def mergeable_count(waiting: Iterable[QueuedHeartbeat], most: int, most_bytes: int) -> int:
    """How many of `waiting`, from the first on, make one call of at most `most` heartbeats and about `most_bytes`.

    All have a layout. The bytes are at most MAX_CALL_BYTES. Nothing is read beyond the first that does not fit.
    """
    layout: Layout | None = None
    result: Result | None = None
    taken: list[Heartbeat] = []
    size, exact = 0, False
    most_bytes = min(most_bytes, MAX_CALL_BYTES)
    for item in waiting:
        heartbeat, layout = item.heartbeat, layout or item.layout
        assert layout is not None
        if len(taken) == most or (item.layout is not layout and item.layout != layout):
            break
        if exact or not item.samples or heartbeat.result is not None:
            size += _json_size(heartbeat, layout)
        else:
            size += item.samples * (_SAMPLE_BYTES + layout.longest_names)
        if taken and size > most_bytes and not exact:  # it is counted only where that is near
            size, exact = sum([_json_size(each, layout) for each in (*taken, heartbeat)]), True
        if taken and size > most_bytes:
            break
        if heartbeat.result is not None:
            if result is not None and _without_ages(heartbeat.result) != _without_ages(result):
                break
            result = heartbeat.result
        taken.append(heartbeat)
    return len(taken)


def _without_ages(result: Result) -> Result:
    return replace(result, start_age=None, end_age=None)


def _json_size(heartbeat: Heartbeat, layout: Layout) -> int:
    """About how many bytes of JSON a heartbeat of this layout becomes."""
    size = _row_size(layout.metrics, heartbeat.values)
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        if samples is not None:
            size += _SAMPLE_BYTES + len(model.name) + len(model.version) + _row_size(model.metrics, samples.metrics)
    # In JSON and here what is not ASCII is escaped.
    return size + (len(ascii(heartbeat.result)) if heartbeat.result else 0)


def _row_size(metrics: tuple[Metric, ...], row: tuple[Samples, ...]) -> int:
    size = 0
    for metric, samples in zip(metrics, row, strict=False):
        if samples is not None:
            count = len(samples) // 2 if isinstance(samples, tuple) else 1
            size += count * (_SAMPLE_BYTES + len(metric.dimension) + len(metric.name))
    return size


def merge(device: Device, batch: Sequence[QueuedHeartbeat]) -> SendHeartbeat:
    """One call for all of `batch`, samples in the order of arrival. Every heartbeat of it has passed the check."""
    layout = batch[-1].layout
    assert layout is not None
    metrics: list[DatedSample] = []
    reports: dict[tuple[str, str], _Report] = {}
    result = None
    for item in batch:
        time = item.time
        _, _, values, models, _, reported, _ = item.heartbeat
        _add_samples(metrics, layout.metrics, values, time)
        for model, samples in zip(layout.models, models):  # noqa: B905
            if samples is None:
                continue
            sample_age, inference_age, row = samples
            report = reports.get((model.name, model.version))
            if report is None:
                report = reports[model.name, model.version] = _Report([])
            if sample_age is not None:
                report.latest_sample = _latest(report.latest_sample, time - sample_age)
            if inference_age is not None:
                report.latest_inference = _latest(report.latest_inference, time - inference_age)
            _add_samples(report.metrics, model.metrics, row, time)
        if reported is not None:
            result = _dated_result(reported, time)
    in_call = [
        ModelReport(name, version, report.latest_sample, report.latest_inference, tuple(report.metrics))
        for (name, version), report in reports.items()
    ]
    return SendHeartbeat(device, layout.agent_version, tuple(metrics), tuple(in_call), result, len(batch))


@dataclass(slots=True)
class _Report:
    """What all heartbeats of a call say of one model."""

    metrics: list[DatedSample]
    latest_sample: int | None = None
    latest_inference: int | None = None


def _add_samples(dated: list[DatedSample], metrics: tuple[Metric, ...], row: tuple[Samples, ...], time: int) -> None:
    for metric, samples in zip(metrics, row):  # noqa: B905
        exponent = metric.exponent
        if isinstance(samples, tuple):
            pairs = zip(samples[::2], samples[1::2], strict=True)
            dated += [(metric, apply_exponent(number, exponent), time - int(age)) for number, age in pairs]
        elif samples is not None:
            dated.append((metric, samples if exponent is None else apply_exponent(samples, exponent), time))


def _latest(first: int | None, second: int) -> int:
    return second if first is None or second > first else first


def _dated_result(result: Result, time: int) -> DatedResult:
    return DatedResult(
        result.deployment,
        result.status,
        result.message,
        None if result.start_age is None else time - result.start_age,
        None if result.end_age is None else time - result.end_age,
        result.models,
    )
