"""A checked SendHeartbeat input -> what the manager keeps of it. No I/O, no clock.

Kept is the newest state: of each metric the sample with the latest time, of each model its latest times, and the
DeploymentResult. A member that a caller left out counts as the empty string where it names something, and as the moment
of arrival where it is the time of a sample; a sample without a value says nothing and is left out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

AGENT = ("", "")
"""The model name and version under which the metrics of the agent itself stand."""


@dataclass(frozen=True, slots=True)
class MetricKey:
    """What tells one metric of a device from another."""

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
class Times:
    """A model's latest times in Unix seconds; None: never told."""

    sample: float | None
    inference: float | None

    def newest(self, other: "Times") -> "Times":
        return Times(_latest(self.sample, other.sample), _latest(self.inference, other.inference))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What is kept of one call. `result` is the DeploymentResult as JSON with sorted keys, so equal ones are equal.

    `deployment` and `status` are its DeploymentName and DeploymentStatus.
    """

    agent_version: str
    metrics: Mapping[MetricKey, Sample]
    models: Mapping[tuple[str, str], Times]
    deployment: str | None
    status: str | None
    result: str | None


def condense(call: Mapping[str, Any], now: float) -> Heartbeat:
    """`call`: a SendHeartbeat input as `model.parse` returns it. `now`: Unix seconds."""
    metrics: dict[MetricKey, Sample] = {}
    for key, sample in _samples(call, now):
        known = metrics.get(key)
        if known is None or sample.at >= known.at:
            metrics[key] = sample
    result = call.get("DeploymentResult")
    return Heartbeat(
        agent_version=call["AgentVersion"],
        metrics=metrics,
        models=_models(call),
        deployment=None if result is None else result.get("DeploymentName") or "",
        status=None if result is None else result.get("DeploymentStatus"),
        result=None if result is None else json.dumps(result, sort_keys=True),
    )


def _samples(call: Mapping[str, Any], now: float) -> Iterator[tuple[MetricKey, Sample]]:
    yield from _of_model(AGENT, call.get("AgentMetrics"), now)
    for model in call.get("Models") or ():
        yield from _of_model(_name(model), model.get("ModelMetrics"), now)


def _of_model(
    model: tuple[str, str], metrics: list[dict[str, Any]] | None, now: float
) -> Iterator[tuple[MetricKey, Sample]]:
    for metric in metrics or ():
        value, at = metric.get("Value"), metric.get("Timestamp")
        if value is not None:
            key = MetricKey(*model, metric.get("Dimension") or "", metric.get("MetricName") or "")
            yield key, Sample(float(value), float(now if at is None else at))


def _models(call: Mapping[str, Any]) -> dict[tuple[str, str], Times]:
    models: dict[tuple[str, str], Times] = {}
    for model in call.get("Models") or ():
        times = Times(model.get("LatestSampleTime"), model.get("LatestInference"))
        known = models.get(_name(model))
        models[_name(model)] = times if known is None else known.newest(times)
    return models


def _name(model: Mapping[str, Any]) -> tuple[str, str]:
    return model.get("ModelName") or "", model.get("ModelVersion") or ""


def _latest(one: float | None, other: float | None) -> float | None:
    known = [time for time in (one, other) if time is not None]
    return max(known, default=None)
