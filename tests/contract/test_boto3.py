"""What the garden door sends is what boto3 sends for the request written by hand; each fault becomes its outcome."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from gateway.calls import (
    Accepted,
    Call,
    DatedResult,
    Definition,
    Deployment,
    GaveUp,
    GetDeployments,
    GetDeviceRegistration,
    ModelReport,
    Refused,
    Registration,
    SendHeartbeat,
    Unanswered,
)
from gateway.cloud import Cloud, make_client
from gateway.errors import CallFailed, CallRefused, CloudError, OperatorNeeded
from gateway.messages import Device, Metric, ModelResult
from gateway.retry import RetryPolicy
from tests.contract.recorder import Answer, Recorder, recording

DEVICE = Device("fleet-a", "dev-1")
WHO = {"DeviceName": "dev-1", "DeviceFleetName": "fleet-a"}
BEAT = SendHeartbeat(DEVICE, "1.0.0", (), (), None)
AT = 1_795_458_689
READ_TIMEOUT = 0.5
NO_TIME = 1e-9


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS settings of the test's own, none of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "secret", "REGION": "eu-central-1"}
    settings |= {"CONFIG_FILE": os.devnull, "SHARED_CREDENTIALS_FILE": os.devnull, "EC2_METADATA_DISABLED": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
async def service() -> AsyncIterator[Recorder]:
    """The misbehaving other side."""
    async with recording() as recorder:
        yield recorder


class Door:
    """A Cloud whose attempts are written down, and whose waits between them are over at once."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch, give_up_after: float = 300.0) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", url)
        self.attempts: list[CloudError | None] = []
        self.repeated: list[int] = []
        self.stopping = asyncio.Event()
        policy = RetryPolicy(self.stopping, NO_TIME, NO_TIME, give_up_after)
        self.cloud = Cloud(make_client(None, 2, 1.0, READ_TIMEOUT), 2, policy, self._attempted, self._repeated)
        self.stop_at_failure = False

    def _attempted(self, call: Call, seconds: float, error: CloudError | None) -> None:
        self.attempts.append(error)
        if error is not None and self.stop_at_failure:
            self.stopping.set()

    def _repeated(self, call: Call, error: BaseException, attempts: int) -> None:
        self.repeated.append(attempts)


@pytest.fixture
async def door(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """The garden door, by nothing but the standard settings."""
    opened = Door(service.url, monkeypatch)
    yield opened
    opened.cloud.close()


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
        (GetDeployments(DEVICE, patient=True), "get_deployments", WHO),
    ],
    ids=["least", "full", "registration", "deployments"],
)
async def test_what_arrives_is_what_boto3_sends(
    service: Recorder, door: Door, call: Call, operation: str, request_by_hand: dict[str, Any]
) -> None:
    service.answers = [Answer(body="{}"), Answer(body="{}")]
    assert isinstance(await door.cloud.perform(call), Accepted)
    client = boto3.client("sagemaker-edge", region_name="eu-central-1", endpoint_url=service.url)
    await asyncio.to_thread(getattr(client, operation), **request_by_hand)
    sent, expected = service.requests
    assert sent == expected
    assert (sent.method, sent.body["DeviceName"]) == ("POST", "dev-1")


async def test_the_bodys_fields_are_the_apis(service: Recorder, door: Door) -> None:
    await door.cloud.perform(FULL)
    [request] = service.requests
    assert request.path == "/SendHeartbeat"
    assert set(request.body) == set(FULL_BY_HAND)
    assert request.body["AgentMetrics"][1] == FULL_BY_HAND["AgentMetrics"][1] | {"Timestamp": AT - 7}
    assert request.body["Models"][0]["LatestSampleTime"] == AT - 4
    assert request.body["DeploymentResult"]["DeploymentStatusMessage"] == 'größe "x"\n'


# What is answered


@pytest.mark.parametrize(
    "answer",
    [Answer(), Answer(kind=None), Answer(body="{}"), Answer(body='{"New": 1}')],
    ids=["empty", "bare", "{}", "grown"],
)
async def test_a_heartbeat_is_accepted(service: Recorder, door: Door, answer: Answer) -> None:
    service.answers = [answer]
    assert await door.cloud.perform(BEAT) == Accepted(None)
    assert door.attempts == [None]


async def test_a_registration_is_read(service: Recorder, door: Door) -> None:
    service.answers = [Answer(body='{"DeviceRegistration": "REGISTERED", "CacheTTL": "60"}')]
    assert await door.cloud.perform(GetDeviceRegistration(DEVICE)) == Accepted(Registration("REGISTERED", 60.0))


async def test_deployments_are_read(service: Recorder, door: Door) -> None:
    service.answers = [
        Answer(
            body='{"Deployments": [{"DeploymentName": "d", "Type": "Model", "FailureHandlingPolicy": "DO_NOTHING",'
            ' "Definitions": [{"ModelHandle": "kws", "S3Url": "s3://b/k", "State": "DEPLOY",'
            ' "Checksum": {"Type": "SHA1", "Sum": "ab"}}]}, {}]}'
        )
    ]
    definition = Definition("kws", "DEPLOY", "ab", "SHA1", "s3://b/k")
    expected = (Deployment("d", "DO_NOTHING", (definition,), "Model"), Deployment(None, None, None))
    assert await door.cloud.perform(GetDeployments(DEVICE, patient=False)) == Accepted(expected)


# Faults


def error(status: int, code: str) -> Answer:
    """An error as rest-json has it."""
    return Answer(status, '{"message": "why"}', headers={"x-amzn-ErrorType": code})


FAULTS = {
    "429": (error(429, "TooManyRequestsException"), CallFailed),
    "429-bare": (Answer(429), CallFailed),
    "500": (Answer(500), CallFailed),
    "503": (Answer(503, "<html>", "text/html"), CallFailed),
    "503-json": (error(503, "ServiceUnavailable"), CallFailed),
    "internal-as-400": (error(400, "InternalServiceException"), CallFailed),
    "throttled-as-400": (error(400, "ThrottlingException"), CallFailed),
    "cut": (Answer(0), CallFailed),
    "hang": (Answer(hang=True), CallFailed),
    "half": (Answer(200, "{", headers={"Content-Length": "100"}), CallFailed),
    "access-denied": (error(403, "AccessDeniedException"), OperatorNeeded),
    "expired": (error(403, "ExpiredTokenException"), OperatorNeeded),
    "signature": (error(403, "SignatureDoesNotMatch"), OperatorNeeded),
    "404": (Answer(404, "not found", "text/plain"), OperatorNeeded),
    "404-json": (error(404, "UnknownOperationException"), OperatorNeeded),
    "page": (Answer(200, "<html>welcome</html>", "text/html"), OperatorNeeded),
    "moved": (Answer(302, "", headers={"Location": "/login"}), OperatorNeeded),
}


@pytest.mark.parametrize(
    "call", [BEAT, GetDeployments(DEVICE, True), GetDeviceRegistration(DEVICE)], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize(("answer", "fault"), FAULTS.values(), ids=FAULTS.keys())
async def test_what_may_pass_is_tried_again(
    service: Recorder, door: Door, call: Call, answer: Answer, fault: type[CloudError]
) -> None:
    service.answers = [answer, Answer(body="{}")]
    assert isinstance(await door.cloud.perform(call), Accepted)
    first, *rest = door.attempts
    assert (type(first), rest) == (fault, [None])
    assert len(service.requests) == 2


@pytest.mark.parametrize("answer", [error(400, "ValidationException"), error(400, "SomethingNew")])
async def test_what_is_refused_is_refused_at_once(service: Recorder, door: Door, answer: Answer) -> None:
    service.answers = [answer]
    outcome = await door.cloud.perform(BEAT)
    assert outcome == Refused(f"{answer.headers['x-amzn-ErrorType']}: why")
    assert ([type(attempt) for attempt in door.attempts], len(service.requests)) == ([CallRefused], 1)


async def test_a_refused_registration_is_an_outage(service: Recorder, door: Door) -> None:
    service.answers = [error(400, "ValidationException"), Answer(body='{"DeviceRegistration": "true"}')]
    assert await door.cloud.perform(GetDeviceRegistration(DEVICE)) == Accepted(Registration("true", 300.0))


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "{", "", '{"Deployments": 5}', '{"Deployments": [5]}'])
async def test_json_that_is_not_the_apis_breaks_nothing(service: Recorder, door: Door, body: str) -> None:
    service.answers = [Answer(body=body), Answer(body="{}")]
    assert await door.cloud.perform(GetDeployments(DEVICE, patient=True)) == Accepted(())


@pytest.mark.parametrize("answer", [Answer(500), error(403, "AccessDenied"), Answer(0)])
async def test_an_impatient_question_is_asked_once(service: Recorder, door: Door, answer: Answer) -> None:
    service.answers = [answer]
    assert isinstance(await door.cloud.perform(GetDeployments(DEVICE, patient=False)), Unanswered)
    assert len(service.requests) == 1


async def test_a_refused_connection_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and nobody listens
        door = Door(f"http://127.0.0.1:{reserved.getsockname()[1]}", monkeypatch)
        door.stop_at_failure = True
        assert await door.cloud.perform(BEAT) == Unanswered("the gateway stops")
    assert [type(attempt) for attempt in door.attempts] == [CallFailed]
    door.cloud.close()


async def test_missing_credentials_are_the_operators(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    door = Door(service.url, monkeypatch)
    door.stop_at_failure = True
    assert await door.cloud.perform(BEAT) == Unanswered("the gateway stops")
    assert [type(attempt) for attempt in door.attempts] == [OperatorNeeded]
    assert service.requests == []
    door.cloud.close()


async def test_a_call_that_fails_while_others_succeed_is_given_up(
    service: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(service.url, monkeypatch, give_up_after=NO_TIME)
    service.always = {"/SendHeartbeat": Answer(500), "/GetDeviceRegistration": Answer(body="{}")}
    failing = asyncio.create_task(door.cloud.perform(BEAT))
    while not failing.done():
        assert isinstance(await door.cloud.perform(GetDeviceRegistration(DEVICE)), Accepted)
    assert isinstance(failing.result(), GaveUp)
    door.cloud.close()


async def test_a_call_that_fails_alone_is_not(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(service.url, monkeypatch, give_up_after=NO_TIME)
    service.answers = [Answer(500)] * 20
    assert await door.cloud.perform(BEAT) == Accepted(None)
    assert door.repeated == list(range(1, 21))
    door.cloud.close()
