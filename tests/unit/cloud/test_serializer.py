"""Calls become the parameters that boto3 takes, without absent members; responses become values."""

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

IDENTITY = {"DeviceName": "dev-1", "DeviceFleetName": "fleet-a"}
HEAP = Metric("sys", "free-heap")


@pytest.mark.parametrize(
    "call", [GetDeployments(DEVICE, True), GetDeployments(DEVICE, False), GetDeviceRegistration(DEVICE)]
)
def test_a_request_names_its_device(call: GetDeployments | GetDeviceRegistration) -> None:
    assert serializer.to_request(call) == IDENTITY


def test_the_least_heartbeat_has_no_empty_member() -> None:
    assert serializer.to_request(SendHeartbeat(DEVICE, "1.0", (), (), None)) == IDENTITY | {"AgentVersion": "1.0"}


def test_a_full_heartbeat() -> None:
    report = ModelReport("keyword", "1.0", 5, 6, ((HEAP, 3, 7),))
    models = (ModelResult("kws", "keyword", "1.0", "DEPLOY", "UNDEPLOY", "FAIL", "full", "worse"),)
    result = DatedResult("deploy-7", "FAIL", "text", 1, 2, models)
    assert serializer.to_request(SendHeartbeat(DEVICE, "1.0", ((HEAP, 81344, 9),), (report,), result)) == IDENTITY | {
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


def test_what_the_device_did_not_report_is_absent() -> None:
    result = DatedResult("d", None, None, None, 0, (ModelResult("kws", None, None, None, None, None),))
    call = SendHeartbeat(DEVICE, "1.0", (), (ModelReport("keyword", "1.0", None, None, ()),), result)
    assert serializer.to_request(call) == IDENTITY | {
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
    [metric] = serializer.to_request(SendHeartbeat(DEVICE, "1.0", ((HEAP, value, 0),), (), None))["AgentMetrics"]
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
    response = {"DeviceRegistration": "REGISTERED"} | ({} if ttl is None else {"CacheTTL": ttl})
    assert serializer.parse_registration(response) == Registration("REGISTERED", seconds)


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ({"DeviceRegistration": ""}, ""),
        ({"DeviceRegistration": "true"}, "true"),
        ({"DeviceRegistration": True}, "True"),
        ({"DeviceRegistration": 1}, "1"),
    ],
)
def test_a_registration_is_a_string_whatever_the_type(response: dict[str, Any], status: str) -> None:
    assert serializer.parse_registration(response).status == status


@pytest.mark.parametrize(
    ("members", "since", "ask_again"),
    [({}, None, False), ({"RegistrationTime": None}, None, True), ({"RegistrationTime": 1.5}, 1.5, False)],
)
def test_a_registration_time(members: dict[str, Any], since: float | None, ask_again: bool) -> None:
    found = serializer.parse_registration({"DeviceRegistration": "any"} | members)
    assert (found.since, found.ask_again) == (since, ask_again)


def test_a_response_without_a_registration_is_an_error() -> None:
    with pytest.raises(OperatorError, match="an answer without DeviceRegistration"):
        serializer.parse_registration({"CacheTTL": "60"})


@pytest.mark.parametrize("response", [{}, {"Deployments": []}, {"Deployments": None}])
def test_no_deployments(response: dict[str, Any]) -> None:
    assert serializer.parse_deployments(response) == ()


def test_deployments_in_the_services_order() -> None:
    response = {
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
    assert serializer.parse_deployments(response) == (
        Deployment("b", "DO_NOTHING", definitions, "Model"),
        Deployment("a", None, ()),
        Deployment(None, None, None),
    )
