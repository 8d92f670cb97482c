"""A checked SendHeartbeat input -> what the manager keeps of it. No I/O, no clock.

Kept are the newest values: of each metric the sample with the latest time, of each model its latest times, and the
DeploymentResult. A name that the caller left out counts as the empty string, and a missing sample time as the time of
arrival; a sample without a value is left out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.manager.api.liveness import DIMENSION, NAMES, Announced, read

AGENT = ("", "")
"""The model name and version under which the agent's own metrics are kept."""


def to_us(seconds: float) -> int:
    """Whole microseconds, in which times are stored."""
    return round(seconds * 1e6)


@dataclass(frozen=True, slots=True)
class MetricKey:
    model: str
    version: str
    dimension: str
    name: str


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` is in Unix seconds."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """A model's latest times in Unix seconds; None: never reported."""

    sample: float | None
    inference: float | None

    def later(self, other: "ModelTimes") -> "ModelTimes":
        """The later one of each."""
        return ModelTimes(_later(self.sample, other.sample), _later(self.inference, other.inference))


@dataclass(frozen=True, slots=True)
class LatestValues:
    """What is kept of one call. `result`: the DeploymentResult as JSON with sorted keys, so that equal ones are equal.

    `deployment` and `status` are its DeploymentName and DeploymentStatus. `metrics` are without the agent's of the
    dimension `liveness`; `only_liveness`: the call has nothing else, so it is no heartbeat that the device sent.
    """

    agent_version: str
    liveness: Announced | None
    only_liveness: bool
    metrics: Mapping[MetricKey, Sample]
    models: Mapping[tuple[str, str], ModelTimes]
    deployment: str | None
    status: str | None
    result: str | None


def latest_values(call: Mapping[str, Any], now: float) -> LatestValues:
    """`call`: a SendHeartbeat input as `validation.parse_input` returns it. `now`: Unix seconds."""
    metrics: dict[MetricKey, Sample] = {}
    for key, sample in _samples(call, now):
        known = metrics.get(key)
        if known is None or sample.at >= known.at:
            metrics[key] = sample
    result = call.get("DeploymentResult")
    state, seconds = (metrics.pop(MetricKey(*AGENT, DIMENSION, name), None) for name in NAMES)
    announced = None
    if state is not None:
        announced = read(state.value, None if seconds is None else seconds.value, min(state.at, now))
    return LatestValues(
        agent_version=call["AgentVersion"],
        liveness=announced,
        only_liveness=state is not None and not metrics and not call.get("Models") and result is None,
        metrics=metrics,
        models=_model_times(call),
        deployment=None if result is None else result.get("DeploymentName") or "",
        status=None if result is None else result.get("DeploymentStatus"),
        result=None if result is None else json.dumps(result, sort_keys=True),
    )


def _samples(call: Mapping[str, Any], now: float) -> Iterator[tuple[MetricKey, Sample]]:
    sources = [(AGENT, call.get("AgentMetrics"))]
    sources += [(_model_id(model), model.get("ModelMetrics")) for model in call.get("Models") or ()]
    for model_id, metrics in sources:
        for metric in metrics or ():
            value, at = metric.get("Value"), metric.get("Timestamp")
            if value is not None:
                key = MetricKey(*model_id, metric.get("Dimension") or "", metric.get("MetricName") or "")
                yield key, Sample(float(value), float(now if at is None else at))


def _model_times(call: Mapping[str, Any]) -> dict[tuple[str, str], ModelTimes]:
    models: dict[tuple[str, str], ModelTimes] = {}
    for model in call.get("Models") or ():
        known = models.get(_model_id(model), ModelTimes(None, None))
        models[_model_id(model)] = ModelTimes(
            _later(known.sample, model.get("LatestSampleTime")), _later(known.inference, model.get("LatestInference"))
        )
    return models


def _model_id(model: Mapping[str, Any]) -> tuple[str, str]:
    return model.get("ModelName") or "", model.get("ModelVersion") or ""


def _later(one: float | None, other: float | None) -> float | None:
    return max((time for time in (one, other) if time is not None), default=None)
