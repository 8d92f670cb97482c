"""The limits that stand in limits.py by hand equal those of botocore's service model, and none is missing."""

import gzip
import json
from pathlib import Path
from typing import Any

import botocore
import pytest

from gateway.protocol import limits, messages

MODEL = Path(botocore.__file__).parent / "data" / "sagemaker-edge" / "2020-09-23" / "service-2.json.gz"
SHAPES: dict[str, Any] = json.loads(gzip.decompress(MODEL.read_bytes()))["shapes"]

# Shapes with a limit that no payload reaches: they come from the service, or their words are the gateway's own.
NOT_SAID_BY_DEVICES = {"CacheTTLSeconds", "DeviceRegistration", "S3Uri", "ChecksumString"}


@pytest.mark.parametrize("limit", limits.ALL, ids=lambda limit: limit.shape)
def test_a_limit_is_the_models(limit: limits.Limit) -> None:
    shape = SHAPES[limit.shape]
    assert shape["type"] == "string"
    assert (limit.shortest, limit.longest) == (shape.get("min", 0), shape["max"])
    assert limit.pattern.pattern == shape["pattern"]


def test_every_limited_string_that_a_device_says_has_its_limit() -> None:
    limited = {name for name, shape in SHAPES.items() if shape["type"] == "string" and {"pattern", "max"} & set(shape)}
    assert limited - NOT_SAID_BY_DEVICES == {limit.shape for limit in limits.ALL}


@pytest.mark.parametrize(
    ("member", "shape"),
    [
        (("SendHeartbeatRequest", "AgentVersion"), "Version"),
        (("SendHeartbeatRequest", "DeviceName"), "DeviceName"),
        (("SendHeartbeatRequest", "DeviceFleetName"), "DeviceFleetName"),
        (("EdgeMetric", "Dimension"), "Dimension"),
        (("EdgeMetric", "MetricName"), "Metric"),
        (("Model", "ModelName"), "ModelName"),
        (("Model", "ModelVersion"), "Version"),
        (("DeploymentResult", "DeploymentName"), "EntityName"),
        (("DeploymentResult", "DeploymentStatus"), "EntityName"),
        (("DeploymentModel", "ModelHandle"), "EntityName"),
        (("DeploymentModel", "ModelName"), "ModelName"),
        (("DeploymentModel", "ModelVersion"), "Version"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else value,
)
def test_messages_use_the_limit_of_their_member(member: tuple[str, str], shape: str) -> None:
    structure, name = member
    assert SHAPES[structure]["members"][name]["shape"] == shape


def test_the_free_texts_of_a_result_have_no_limit() -> None:
    assert {"min", "max", "pattern"}.isdisjoint(SHAPES["String"])
    free = [
        ("DeploymentResult", "DeploymentStatusMessage"),
        ("DeploymentModel", "StatusReason"),
        ("DeploymentModel", "RollbackFailureReason"),
    ]
    assert {SHAPES[structure]["members"][name]["shape"] for structure, name in free} == {"String"}


def test_the_enums_that_travel_as_numbers_are_the_models() -> None:
    assert set(messages.STATES.values()) == set(SHAPES["ModelState"]["enum"])
    assert set(messages.STATUSES.values()) == set(SHAPES["DeploymentStatus"]["enum"])
    assert set(messages.POLICIES.values()) == set(SHAPES["FailureHandlingPolicy"]["enum"])
