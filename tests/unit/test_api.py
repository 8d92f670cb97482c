"""Nouns <-> the API's members: exactly what boto3 takes, nothing of what was not said, and answers as they may come."""

from typing import Any

import pytest

from gateway.cloud import serializer
from gateway.errors import OperatorError
from gateway.protocol.messages import Metric, ModelResult
from gateway.protocol.service_calls import (
    DatedResult,
    Definition,
    Deployment,
    GetDeployments,
    GetDeviceRegistration,
    ModelReport,
    Registration,
    SendHeartbeat,
)
from tests.support.engine import DEVICE

WHO = {"DeviceName": "dev-1", "DeviceFleetName": "fleet-a"}
HEAP = Metric("sys", "free-heap")


@pytest.mark.parametrize(
    "call", [GetDeployments(DEVICE, True), GetDeployments(DEVICE, False), GetDeviceRegistration(DEVICE)]
)
def test_a_question_says_who_asks(call: GetDeployments | GetDeviceRegistration) -> None:
    assert serializer.members(call) == WHO


def test_the_least_heartbeat_has_no_empty_member() -> None:
    assert serializer.members(SendHeartbeat(DEVICE, "1.0", (), (), None)) == WHO | {"AgentVersion": "1.0"}


def test_a_full_heartbeat() -> None:
    report = ModelReport("keyword", "1.0", 5, 6, ((HEAP, 3, 7),))
    models = (ModelResult("kws", "keyword", "1.0", "DEPLOY", "UNDEPLOY", "FAIL", "full", "worse"),)
    result = DatedResult("deploy-7", "FAIL", "text", 1, 2, models)
    assert serializer.members(SendHeartbeat(DEVICE, "1.0", ((HEAP, 81344, 9),), (report,), result)) == WHO | {
        "AgentVersion": "1.0",
        "AgentMetrics": [{"Dimension": "sys", "MetricName": "free-heap", "Value": 81344, "Timestamp": 9}],
        "Models": [
            {
                "ModelName": "keyword",
                "ModelVersion": "1.0",
                "LatestSampleTime": 5,
                "LatestInference": 6,
                "ModelMetrics": [{"Dimension": "sys", "MetricName": "free-heap", "Value": 3, "Timestamp": 7}],
            }
        ],
        "DeploymentResult": {
            "DeploymentName": "deploy-7",
            "DeploymentStatus": "FAIL",
            "DeploymentStatusMessage": "text",
            "DeploymentStartTime": 1,
            "DeploymentEndTime": 2,
            "DeploymentModels": [
                {
                    "ModelHandle": "kws",
                    "ModelName": "keyword",
                    "ModelVersion": "1.0",
                    "DesiredState": "DEPLOY",
                    "State": "UNDEPLOY",
                    "Status": "FAIL",
                    "StatusReason": "full",
                    "RollbackFailureReason": "worse",
                }
            ],
        },
    }


def test_what_was_not_said_is_absent() -> None:
    result = DatedResult("d", None, None, None, 0, (ModelResult("kws", None, None, None, None, None),))
    call = SendHeartbeat(DEVICE, "1.0", (), (ModelReport("keyword", "1.0", None, None, ()),), result)
    assert serializer.members(call) == WHO | {
        "AgentVersion": "1.0",
        "Models": [{"ModelName": "keyword", "ModelVersion": "1.0"}],
        "DeploymentResult": {
            "DeploymentName": "d",
            "DeploymentEndTime": 0,
            "DeploymentModels": [{"ModelHandle": "kws"}],
        },
    }


@pytest.mark.parametrize("value", [0, 0.0, -1, 2**64 - 1])
def test_a_zero_is_a_value(value: float) -> None:
    [metric] = serializer.members(SendHeartbeat(DEVICE, "1.0", ((HEAP, value, 0),), (), None))["AgentMetrics"]
    assert (metric["Value"], metric["Timestamp"]) == (value, 0)


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("300", 300.0),
        ("60.5", 60.5),
        ("0", 0.0),
        ("-5", 0.0),
        (None, 300.0),
        ("", 300.0),
        ("soon", 300.0),
        ("nan", 300.0),
        ("inf", 300.0),
        ("1e999", 300.0),
        ([60], 300.0),
        ({"s": 60}, 300.0),
        (90, 90.0),
    ],
)
def test_a_cache_ttl_is_seconds_in_a_string(ttl: Any, seconds: float) -> None:
    answer = {"DeviceRegistration": "REGISTERED"} | ({} if ttl is None else {"CacheTTL": ttl})
    assert serializer.registration(answer) == Registration("REGISTERED", seconds)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({"DeviceRegistration": ""}, ""),
        ({"DeviceRegistration": "true"}, "true"),
        ({"DeviceRegistration": True}, "True"),
        ({"DeviceRegistration": 1}, "1"),
    ],
)
def test_a_registration_is_a_word_whatever_came(answer: dict[str, Any], word: str) -> None:
    assert serializer.registration(answer).status == word


def test_an_answer_without_a_registration_is_none() -> None:
    with pytest.raises(OperatorError, match="an answer without DeviceRegistration"):
        serializer.registration({"CacheTTL": "60"})


@pytest.mark.parametrize("answer", [{}, {"Deployments": []}, {"Deployments": None}])
def test_no_deployments(answer: dict[str, Any]) -> None:
    assert serializer.deployments(answer) == ()


def test_deployments_in_the_services_order() -> None:
    answer = {
        "Deployments": [
            {
                "DeploymentName": "b",
                "Type": "Model",
                "FailureHandlingPolicy": "DO_NOTHING",
                "Definitions": [
                    {
                        "ModelHandle": "two",
                        "S3Url": "s3://b/k",
                        "Checksum": {"Type": "SHA1", "Sum": "ab"},
                        "State": "DEPLOY",
                    },
                    {"ModelHandle": "one", "State": "UNDEPLOY"},
                ],
            },
            {"DeploymentName": "a", "Definitions": []},
            {},
        ]
    }
    definitions = (Definition("two", "DEPLOY", "ab", "SHA1", "s3://b/k"), Definition("one", "UNDEPLOY"))
    assert serializer.deployments(answer) == (
        Deployment("b", "DO_NOTHING", definitions, "Model"),
        Deployment("a", None, ()),
        Deployment(None, None, None),
    )
