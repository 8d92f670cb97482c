"""What the client sends is what boto3 sends for the request written by hand; what is answered is read."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from gateway.protocol.messages import Device, Metric, ModelResult
from gateway.protocol.service_calls import (
    Accepted,
    Call,
    DatedResult,
    Definition,
    Deployment,
    DeviceVersion,
    GetDeployments,
    GetDeviceRegistration,
    ModelReport,
    Registration,
    SendHeartbeat,
)
from tests.contract.harness import ClientHarness
from tests.contract.service import ScriptedEdgeManager
from tests.support.edge_manager import Reply

DEVICE = Device("fleet-a", "dev-1")
WHO = {"DeviceName": "dev-1", "DeviceFleetName": "fleet-a"}
BEAT = SendHeartbeat(DEVICE, "1.0.0", (), (), None)
AT = 1_795_458_689


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# What is sent

HEAP, TEMPERATURE, LATENCY = Metric("sys", "free-heap"), Metric("sys", "temperature", -1), Metric("sys", "latency-ms")
FULL = SendHeartbeat(
    DEVICE,
    "1.0.0",
    ((HEAP, 81344, AT), (TEMPERATURE, 36.5, AT - 7), (HEAP, 2**64 - 1, 0), (TEMPERATURE, 1e-30, 4_102_444_800)),
    (
        ModelReport("keyword-spotting", "1.0", AT - 4, AT - 2, ((LATENCY, 12, AT), (LATENCY, -0.25, AT))),
        ModelReport("voice-activity", "2 b", None, None, ()),
    ),
    DatedResult(
        "deploy-7",
        "PARTIAL",
        'größe "x"\n',
        AT - 9,
        AT - 2,
        (ModelResult("kws", "keyword-spotting", "1.0", "DEPLOY", "PAUSED", "FAIL", "full", "worse"),),
    ),
)
FULL_BY_HAND: dict[str, Any] = {
    "AgentVersion": "1.0.0",
    **WHO,
    "AgentMetrics": [
        {"Dimension": "sys", "MetricName": "free-heap", "Value": 81344, "Timestamp": at(AT)},
        {"Dimension": "sys", "MetricName": "temperature", "Value": 36.5, "Timestamp": at(AT - 7)},
        {"Dimension": "sys", "MetricName": "free-heap", "Value": 2**64 - 1, "Timestamp": at(0)},
        {"Dimension": "sys", "MetricName": "temperature", "Value": 1e-30, "Timestamp": at(4_102_444_800)},
    ],
    "Models": [
        {
            "ModelName": "keyword-spotting",
            "ModelVersion": "1.0",
            "LatestSampleTime": at(AT - 4),
            "LatestInference": at(AT - 2),
            "ModelMetrics": [
                {"Dimension": "sys", "MetricName": "latency-ms", "Value": 12, "Timestamp": at(AT)},
                {"Dimension": "sys", "MetricName": "latency-ms", "Value": -0.25, "Timestamp": at(AT)},
            ],
        },
        {"ModelName": "voice-activity", "ModelVersion": "2 b"},
    ],
    "DeploymentResult": {
        "DeploymentName": "deploy-7",
        "DeploymentStatus": "PARTIAL",
        "DeploymentStatusMessage": 'größe "x"\n',
        "DeploymentStartTime": at(AT - 9),
        "DeploymentEndTime": at(AT - 2),
        "DeploymentModels": [
            {
                "ModelHandle": "kws",
                "ModelName": "keyword-spotting",
                "ModelVersion": "1.0",
                "DesiredState": "DEPLOY",
                "State": "PAUSED",
                "Status": "FAIL",
                "StatusReason": "full",
                "RollbackFailureReason": "worse",
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("call", "operation", "request_by_hand"),
    [
        (BEAT, "send_heartbeat", {"AgentVersion": "1.0.0", **WHO}),
        (FULL, "send_heartbeat", FULL_BY_HAND),
        (GetDeviceRegistration(DEVICE), "get_device_registration", WHO),
        (GetDeployments(DEVICE, retryable=True), "get_deployments", WHO),
    ],
    ids=["least", "full", "registration", "deployments"],
)
async def test_what_arrives_is_what_boto3_sends(
    service: ScriptedEdgeManager, harness: ClientHarness, call: Call, operation: str, request_by_hand: dict[str, Any]
) -> None:
    service.answers = [Reply(body='{"DeviceRegistration": "true"}')] * 2
    assert isinstance(await harness.perform(call), Accepted)
    client = boto3.client("sagemaker-edge", region_name="eu-central-1", endpoint_url=service.url)
    await asyncio.to_thread(getattr(client, operation), **request_by_hand)
    sent, expected = service.requests
    assert sent == expected
    assert (sent.method, sent.body["DeviceName"]) == ("POST", "dev-1")


async def test_the_bodys_fields_are_the_apis(service: ScriptedEdgeManager, harness: ClientHarness) -> None:
    await harness.perform(FULL)
    [request] = service.requests
    assert request.path == "/SendHeartbeat"
    assert set(request.body) == set(FULL_BY_HAND)
    assert request.body["AgentMetrics"][1] == FULL_BY_HAND["AgentMetrics"][1] | {"Timestamp": AT - 7}
    assert request.body["Models"][0]["LatestSampleTime"] == AT - 4
    assert request.body["DeploymentResult"]["DeploymentStatusMessage"] == 'größe "x"\n'


# What is answered


@pytest.mark.parametrize(
    "answer",
    [Reply(body=""), Reply(body="", kind=None), Reply(body="{}"), Reply(body='{"New": 1}')],
    ids=["empty", "bare", "{}", "grown"],
)
async def test_a_heartbeat_is_accepted(service: ScriptedEdgeManager, harness: ClientHarness, answer: Reply) -> None:
    service.answers = [answer]
    assert await harness.perform(BEAT) == Accepted(None)
    assert harness.attempts == [None]


@pytest.mark.parametrize("name", ["x-edge-manager-version", "X-Edge-Manager-Version"])
async def test_the_version_of_a_device_is_read(service: ScriptedEdgeManager, harness: ClientHarness, name: str) -> None:
    service.answers = [Reply(body="", headers={name: "1.5/7"}), Reply(body="")]
    found = await harness.perform(BEAT)
    assert isinstance(found, Accepted)
    assert isinstance(found.answer, DeviceVersion)
    assert (found.answer, found.answer.since) == ("1.5/7", 1.5)
    assert await harness.perform(BEAT) == Accepted(None)


async def test_a_registration_is_read(service: ScriptedEdgeManager, harness: ClientHarness) -> None:
    service.answers = [Reply(body='{"DeviceRegistration": "REGISTERED", "CacheTTL": "60"}')]
    assert await harness.perform(GetDeviceRegistration(DEVICE)) == Accepted(Registration("REGISTERED", 60.0))


async def test_deployments_are_read(service: ScriptedEdgeManager, harness: ClientHarness) -> None:
    service.answers = [
        Reply(
            body='{"Deployments": [{"DeploymentName": "d", "Type": "Model", "FailureHandlingPolicy": "DO_NOTHING",'
            ' "Definitions": [{"ModelHandle": "kws", "S3Url": "s3://b/k", "State": "DEPLOY",'
            ' "Checksum": {"Type": "SHA1", "Sum": "ab"}}]}, {}]}'
        )
    ]
    definition = Definition("kws", "DEPLOY", "ab", "SHA1", "s3://b/k")
    expected = (Deployment("d", "DO_NOTHING", (definition,), "Model"), Deployment(None, None, None))
    assert await harness.perform(GetDeployments(DEVICE, retryable=False)) == Accepted(expected)
