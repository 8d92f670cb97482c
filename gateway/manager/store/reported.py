"""The newest values that a device reported, which are one column of its row. No I/O.

A heartbeat changes most of them. A row for each metric and each model would be as many updates, and PostgreSQL logs two
changes for each; tables have only which ones there are, and that seldom changes.
"""

from collections.abc import Mapping

import msgspec

from gateway.manager.api import ModelTimes, Sample

ModelId = tuple[str, str]
"""Name and version."""


class Reported(msgspec.Struct, array_like=True, frozen=True):
    """`metrics`: number of a metric -> the sample with the latest time. `models`: their latest times."""

    metrics: dict[int, Sample] = {}
    models: dict[ModelId, ModelTimes] = {}


pack = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reported).decode


def unpack(stored: bytes | None) -> Reported:
    """None, or empty: the device reported nothing yet."""
    return _decode(stored) if stored else Reported()


def later_metrics(known: Mapping[int, Sample], new: Mapping[int, Sample], most: int) -> tuple[dict[int, Sample], int]:
    """The newest `most` of both, and how many there were beyond.

    A sample that is older than the known one comes from a backlog: it does not replace the newest.
    """
    metrics = dict(known)
    for metric, sample in new.items():
        before = metrics.get(metric)
        if before is None or sample.at >= before.at:
            metrics[metric] = sample
    beyond = len(metrics) - most
    if beyond > 0:
        for metric in sorted(metrics, key=lambda metric: (metrics[metric].at, metric))[:beyond]:
            del metrics[metric]
    return metrics, max(beyond, 0)


def later_models(
    known: Mapping[ModelId, ModelTimes], new: Mapping[ModelId, ModelTimes], most: int
) -> tuple[dict[ModelId, ModelTimes], int]:
    """Likewise."""
    models = dict(known)
    for model, times in new.items():
        before = models.get(model)
        models[model] = times if before is None else before.later(times)
    beyond = len(models) - most
    if beyond > 0:
        for model in sorted(models, key=lambda model: (_order(models[model]), model))[:beyond]:
            del models[model]
    return models, max(beyond, 0)


def newest_versions(models: Mapping[ModelId, ModelTimes]) -> dict[ModelId, bool]:
    """Of each model, whether it is the version with the latest times among those of its name."""
    newest: dict[str, tuple[float, str]] = {}
    for (name, version), times in models.items():
        newest[name] = max(newest.get(name, (_order(times), version)), (_order(times), version))
    return {model: newest[model[0]][1] == model[1] for model in models}


def _order(times: ModelTimes) -> float:
    return next((time for time in times if time is not None), 0.0)
