"""What the samples of a heartbeat mean under its layout. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.core import apply_exponent
from gateway.errors import DecodeError
from gateway.protocol import Heartbeat, Layout, Metric, Number, Samples


class NamedSample(NamedTuple):
    """`model`: its name and version; None: of the device itself. `value` is after the exponent. `age`: seconds before
    the heartbeat's time."""

    model: str | None
    metric: str
    value: Number
    age: int


def named_samples(heartbeat: Heartbeat, layout: Layout) -> list[NamedSample]:
    """In their order. Raises DecodeError where there are more than the layout names."""
    _check_count(heartbeat.values, layout.metrics, "values")
    _check_count(heartbeat.models, layout.models, "models")
    named = list(_of(None, layout.metrics, heartbeat.values))
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        if samples is not None:
            _check_count(samples.metrics, model.metrics, f"samples of {model.name}")
            named += _of(f"{model.name} {model.version}", model.metrics, samples.metrics)
    return named


def _check_count(values: Sequence[object], names: Sequence[object], what: str) -> None:
    if len(values) > len(names):
        raise DecodeError(f"{what}: {len(values)}, the layout has {len(names)}")


def _of(model: str | None, metrics: Sequence[Metric], values: Sequence[Samples]) -> Iterator[NamedSample]:
    for metric, samples in zip(metrics, values, strict=False):
        if samples is None:
            continue
        series = samples if isinstance(samples, tuple) else (samples, 0)
        for number, age in zip(series[::2], series[1::2], strict=True):
            value = apply_exponent(number, metric.exponent)
            yield NamedSample(model, f"{metric.dimension}/{metric.name}", value, int(age))
