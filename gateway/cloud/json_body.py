"""Encodes a call as the JSON that boto3 would send, byte for byte. A heartbeat is built from cached parts.

Pure but for the caches. A contract test compares it with botocore's serializer.
"""

import json
from functools import lru_cache

from gateway.cloud.serializer import result_to_request, to_request
from gateway.protocol import Call, DatedSample, ModelReport, SendHeartbeat

CACHED_PARTS = 16_384


def encode(call: Call) -> bytes:
    """The body of the request, ASCII."""
    if not isinstance(call, SendHeartbeat):
        return json.dumps(to_request(call)).encode("ascii")
    # Names match the service's pattern, which leaves nothing to escape.
    (fleet, name), agent_version, metrics, models, result, _ = call  # one by one they take longer
    text = f'{_version(agent_version)}"DeviceName": "{name}", "DeviceFleetName": "{fleet}"'
    if metrics:
        text += f', "AgentMetrics": [{_metrics(metrics)}]'
    if models:
        text += f', "Models": [{", ".join([_model(model) for model in models])}]'
    if result is not None:
        text += f', "DeploymentResult": {json.dumps(result_to_request(result))}'
    return (text + "}").encode("ascii")


@lru_cache(CACHED_PARTS)
def _version(agent_version: str) -> str:
    return f'{{"AgentVersion": {json.dumps(agent_version)}, '


def _metrics(samples: tuple[DatedSample, ...]) -> str:
    return ", ".join(
        [
            f'{_name(metric.dimension, metric.name)}{value!r}, "Timestamp": {timestamp}}}'
            for metric, value, timestamp in samples
        ]
    )


@lru_cache(CACHED_PARTS)
def _name(dimension: str, metric: str) -> str:  # of two strings, since a Metric is hashed by Python code
    return f'{{"Dimension": {json.dumps(dimension)}, "MetricName": {json.dumps(metric)}, "Value": '


def _model(model: ModelReport) -> str:
    name, version, latest_sample, latest_inference, metrics = model
    text = _model_name(name, version)
    if latest_sample is not None:
        text += f', "LatestSampleTime": {latest_sample}'
    if latest_inference is not None:
        text += f', "LatestInference": {latest_inference}'
    if metrics:
        text += f', "ModelMetrics": [{_metrics(metrics)}]'
    return text + "}"


@lru_cache(CACHED_PARTS)
def _model_name(name: str, version: str) -> str:
    return f'{{"ModelName": {json.dumps(name)}, "ModelVersion": {json.dumps(version)}'
