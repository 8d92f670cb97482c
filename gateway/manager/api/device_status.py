"""A checked SendHeartbeat input -> what the manager keeps of it. No I/O, no clock.

Kept are every sample, and the newest values: of each metric the sample with the latest time, of each model its latest
times, and the DeploymentResult. A name that the caller left out counts as the empty string, and a missing sample time
as the time of arrival; a sample without a value is left out. Records are tuples: a call makes many of them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.manager.api.liveness import DIMENSION, NAMES, Announced, read

AGENT = ("", "")
"""The model name and version under which the agent's own metrics are kept."""


def to_us(seconds: float) -> int:
    """Unix seconds, years 1 to 9999 -> whole microseconds, in which times are stored."""
    return round(seconds * 1e6)


class MetricKey(NamedTuple):
    model: str
    version: str
    dimension: str
    name: str


class Sample(NamedTuple):
    """`at` is in Unix seconds."""

    value: float
    at: float


class ModelTimes(NamedTuple):
    """A model's latest times in Unix seconds; None: never reported."""

    sample: float | None
    inference: float | None

    def later(self, other: "ModelTimes") -> "ModelTimes":
        """The later one of each."""
        return ModelTimes(_later(self.sample, other.sample), _later(self.inference, other.inference))


class LatestValues(NamedTuple):
    """What is kept of one call. `result`: the DeploymentResult as JSON with sorted keys, so that equal ones are equal.

    `deployment` and `status` are its DeploymentName and DeploymentStatus. `samples`: every sample as metric, Unix
    seconds, value, in the order of the call. `metrics`: the newest of each. Both are without `state` and `seconds` of
    the agent's dimension `liveness`; `only_liveness`: the call has nothing else, so it is no heartbeat that the device
    sent.
    """

    agent_version: str
    liveness: Announced | None
    only_liveness: bool
    samples: Sequence[tuple[MetricKey, float, float]]
    metrics: Mapping[MetricKey, Sample]
    models: Mapping[tuple[str, str], ModelTimes]
    deployment: str | None
    status: str | None
    result: str | None


STATE, SECONDS = (MetricKey(*AGENT, DIMENSION, name) for name in NAMES)
_encode_result = json.JSONEncoder(sort_keys=True).encode


def latest_values(call: Mapping[str, Any], now: float) -> LatestValues:
    """`call`: a SendHeartbeat input as `validation.parse_input` returns it. `now`: Unix seconds."""
    models = call.get("Models", ())
    samples = _samples(AGENT, call.get("AgentMetrics", ()), now)
    for model in models:
        samples += _samples(_model_id(model), model.get("ModelMetrics", ()), now)
    metrics: dict[MetricKey, Sample] = {}
    for key, at, value in samples:
        if key not in metrics or at >= metrics[key].at:
            metrics[key] = Sample(value, at)
    state, seconds = metrics.pop(STATE, None), metrics.pop(SECONDS, None)
    if state is not None or seconds is not None:
        samples = [sample for sample in samples if sample[0] not in (STATE, SECONDS)]
    announced = None
    if state is not None:
        announced = read(state.value, None if seconds is None else seconds.value, min(state.at, now))
    result = call.get("DeploymentResult")
    return LatestValues(
        agent_version=call["AgentVersion"],
        liveness=announced,
        only_liveness=state is not None and not metrics and not models and result is None,
        samples=samples,
        metrics=metrics,
        models=_model_times(models) if models else {},
        deployment=None if result is None else result.get("DeploymentName", ""),
        status=None if result is None else result.get("DeploymentStatus"),
        result=None if result is None else _encode_result(result),
    )


def _samples(
    model_id: tuple[str, str], metrics: Sequence[Mapping[str, Any]], now: float
) -> list[tuple[MetricKey, float, float]]:
    model, version = model_id
    samples = []
    for metric in metrics:
        value = metric.get("Value")
        if value is not None:
            key = MetricKey(model, version, metric.get("Dimension", ""), metric.get("MetricName", ""))
            samples.append((key, float(metric.get("Timestamp", now)), float(value)))
    return samples


def _model_times(reported: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], ModelTimes]:
    models: dict[tuple[str, str], ModelTimes] = {}
    for model in reported:
        model_id, sample, inference = _model_id(model), model.get("LatestSampleTime"), model.get("LatestInference")
        known = models.get(model_id)
        if known is not None:
            sample, inference = _later(known.sample, sample), _later(known.inference, inference)
        models[model_id] = ModelTimes(sample, inference)
    return models


def _model_id(model: Mapping[str, Any]) -> tuple[str, str]:
    return model.get("ModelName", ""), model.get("ModelVersion", "")


def _later(one: float | None, other: float | None) -> float | None:
    return max((time for time in (one, other) if time is not None), default=None)
