"""Each fault of the service becomes the right attempt and outcome, through a real boto3 and a real socket."""

import asyncio
import socket

import pytest

from gateway.cloud.availability import ATTEMPTS_TO_GIVE_UP, OPENS_AT
from gateway.errors import CloudError, OperatorError, PermanentError, TransientError
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import (
    Abandoned,
    Accepted,
    Call,
    Cancelled,
    GetDeployments,
    GetDeviceRegistration,
    Registration,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from tests.contract.harness import NO_TIME, ClientHarness
from tests.contract.service import ScriptedEdgeManager
from tests.support.edge_manager import HTML, End, Reply

DEVICE = Device("fleet-a", "dev-1")
OTHER = Device("fleet-a", "dev-2")
BEAT = SendHeartbeat(DEVICE, "1.0.0", (), (), None)
CALLS = [BEAT, GetDeployments(DEVICE, True), GetDeviceRegistration(DEVICE)]
REGISTERED = Reply(body='{"DeviceRegistration": "true"}')


def error(status: int, code: str) -> Reply:
    """An error as rest-json has it."""
    return Reply(status, code, '{"message": "why"}')


FAULTS = {
    "429": (error(429, "TooManyRequestsException"), TransientError),
    "429-bare": (Reply(429, body=""), TransientError),
    "500": (Reply(500, body=""), TransientError),
    "503": (Reply(503, body="<html>", kind=HTML), TransientError),
    "503-json": (error(503, "ServiceUnavailable"), TransientError),
    "internal-as-400": (error(400, "InternalServiceException"), TransientError),
    "throttled-as-400": (error(400, "ThrottlingException"), TransientError),
    "cut": (Reply(end=End.RESET), TransientError),
    "access-denied": (error(403, "AccessDeniedException"), OperatorError),
    "expired": (error(403, "ExpiredTokenException"), OperatorError),
    "signature": (error(403, "SignatureDoesNotMatch"), OperatorError),
    "404": (Reply(404, body="not found", kind="text/plain"), OperatorError),
    "404-json": (error(404, "UnknownOperationException"), OperatorError),
    "100-503": (Reply(503, interim=(100,)), TransientError),
    "103-503": (Reply(503, interim=(103,)), TransientError),
    "102-103-429": (Reply(429, interim=(102, 103)), TransientError),
    "103-403": (Reply(403, "AccessDeniedException", interim=(103,)), OperatorError),
    "page": (Reply(body="<html>welcome</html>", kind=HTML), OperatorError),
    "300": (Reply(300, body="{}"), OperatorError),
    "moved": (Reply(302, body="", headers={"Location": "/login"}), OperatorError),
}


@pytest.mark.parametrize("call", CALLS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize(("answer", "fault"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_that_may_pass_is_retried(
    service: ScriptedEdgeManager, harness: ClientHarness, call: Call, answer: Reply, fault: type[CloudError]
) -> None:
    service.answers = [answer, Reply(body='{"DeviceRegistration": "true"}')]
    assert isinstance(await harness.perform(call), Accepted)
    first, *rest = harness.attempts
    assert (type(first), rest) == (fault, [None])
    assert len(service.requests) == 2


@pytest.mark.parametrize("call", CALLS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize(
    "answer", [Reply(end=End.HANG), Reply(body="{", headers={"Content-Length": "100"})], ids=["hang", "half"]
)
@pytest.mark.parametrize("transport", ["boto", "direct"])
async def test_an_answer_that_does_not_end_is_retried(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch, call: Call, answer: Reply, transport: str
) -> None:
    """Until one comes in time."""
    harness = ClientHarness(service.url, monkeypatch, transport=transport, read_timeout=0.5)
    service.answers = [answer, *[REGISTERED] * 1000]
    assert isinstance(await harness.perform(call), Accepted)
    *failed, last = harness.attempts
    assert ({type(each) for each in failed}, last) == ({TransientError}, None)
    harness.cloud.close()


NO_ANSWERS = [
    (GetDeployments(DEVICE, True), Reply(body="")),
    (GetDeployments(DEVICE, True), Reply(body='{"Deployments": [{"DeploymentName": 7}]}')),
    (GetDeployments(DEVICE, True), Reply(body='{"Deployments": [{"Definitions": [{"Checksum": {"Sum": 123}}]}]}')),
    (GetDeviceRegistration(DEVICE), Reply(body="")),
    (GetDeviceRegistration(DEVICE), Reply(body="{}")),
]


@pytest.mark.parametrize(("call", "answer"), NO_ANSWERS, ids=lambda case: getattr(case, "body", None))
async def test_what_is_no_answer_of_the_api_is_an_outage(
    service: ScriptedEdgeManager, harness: ClientHarness, call: Call, answer: Reply
) -> None:
    """Neither an empty plan nor a device that is not registered."""
    service.answers = [answer, Reply(body='{"DeviceRegistration": "true", "Deployments": []}')]
    assert isinstance(await harness.perform(call), Accepted)
    assert [type(each) for each in harness.attempts] == [OperatorError, type(None)]


@pytest.mark.parametrize("answer", [error(400, "ValidationException"), error(400, "SomethingNew")])
async def test_a_rejection_is_reported_at_once(
    service: ScriptedEdgeManager, harness: ClientHarness, answer: Reply
) -> None:
    service.answers = [answer]
    outcome = await harness.perform(BEAT)
    assert outcome == Rejected(f"{answer.code}: why")
    assert ([type(attempt) for attempt in harness.attempts], len(service.requests)) == ([PermanentError], 1)


async def test_a_rejected_registration_call_is_an_outage(service: ScriptedEdgeManager, harness: ClientHarness) -> None:
    service.answers = [error(400, "ValidationException"), Reply(body='{"DeviceRegistration": "true"}')]
    assert await harness.perform(GetDeviceRegistration(DEVICE)) == Accepted(Registration("true", 300.0))


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "{", "", '{"Deployments": 5}', '{"Deployments": [5]}'])
async def test_json_that_is_not_the_apis_breaks_nothing(
    service: ScriptedEdgeManager, harness: ClientHarness, body: str
) -> None:
    service.answers = [Reply(body=body), Reply(body="{}")]
    assert await harness.perform(GetDeployments(DEVICE, retryable=True)) == Accepted(())


@pytest.mark.parametrize("answer", [Reply(500, body=""), error(403, "AccessDenied"), Reply(end=End.RESET)])
async def test_a_get_deployments_that_is_not_retryable_is_sent_once(
    service: ScriptedEdgeManager, harness: ClientHarness, answer: Reply
) -> None:
    service.answers = [answer]
    assert isinstance(await harness.perform(GetDeployments(DEVICE, retryable=False)), Cancelled)
    assert len(service.requests) == 1


async def test_a_refused_connection_is_nobodys_fault(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and nobody listens
        harness = ClientHarness(f"http://127.0.0.1:{reserved.getsockname()[1]}", monkeypatch)
        harness.stop_at_failure = True
        assert await harness.perform(BEAT) == Cancelled("the gateway stops")
    assert [type(attempt) for attempt in harness.attempts] == [TransientError]
    harness.cloud.close()


async def test_missing_credentials_are_the_operators(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    harness = ClientHarness(service.url, monkeypatch)
    harness.stop_at_failure = True
    assert await harness.perform(BEAT) == Cancelled("the gateway stops")
    assert [type(attempt) for attempt in harness.attempts] == [OperatorError]
    assert service.requests == []
    harness.cloud.close()


async def test_a_call_that_fails_while_others_succeed_is_given_up(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = ClientHarness(service.url, monkeypatch, give_up_after=NO_TIME)
    service.always = {"/SendHeartbeat": Reply(500, body=""), "/GetDeviceRegistration": REGISTERED}
    failing = asyncio.create_task(harness.perform(BEAT))
    while not failing.done():
        assert isinstance(await harness.perform(GetDeviceRegistration(OTHER)), Accepted)
    assert isinstance(failing.result(), Abandoned)
    harness.cloud.close()


async def test_what_else_the_device_itself_is_answered_does_not_count(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no other device there is nobody whose calls succeed."""
    harness = ClientHarness(service.url, monkeypatch, give_up_after=NO_TIME)
    service.always = {"/GetDeviceRegistration": REGISTERED}
    service.answers = [Reply(500, body="")] * 20
    failing = asyncio.create_task(harness.perform(BEAT))
    while not failing.done():
        assert isinstance(await harness.perform(GetDeviceRegistration(DEVICE)), Accepted)
    assert failing.result() == Accepted(None)
    harness.cloud.close()


async def test_a_call_that_fails_without_other_devices_is_not_given_up(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = ClientHarness(service.url, monkeypatch, give_up_after=NO_TIME)
    service.answers = [Reply(500, body="")] * 20
    assert await harness.perform(BEAT) == Accepted(None)
    assert harness.repeated == list(range(1, 21))
    harness.cloud.close()


FLEET = [SendHeartbeat(Device("fleet-a", f"dev-{number}"), "1.0.0", (), (), None) for number in range(OPENS_AT)]


async def test_where_all_fail_no_call_starts_until_a_probe_succeeds(
    service: ScriptedEdgeManager, harness: ClientHarness
) -> None:
    service.answers = [Reply(503, body="")] * (OPENS_AT + 3)
    outcomes = [await harness.once(call) for call in FLEET]
    assert outcomes == [RetryLater(only_this_device=True)] * (OPENS_AT - 1) + [RetryLater(only_this_device=False)]
    assert await harness.perform(FLEET[0]) == Accepted(None)
    assert len(service.requests) == OPENS_AT + 4
    assert harness.concurrency > 0


async def test_after_an_outage_that_returns_there_is_one_probe_at_a_time(
    service: ScriptedEdgeManager, harness: ClientHarness
) -> None:
    """A call that was under way gets through before the probe is due; then all fail again."""
    for _ in range(3):
        service.answers = [Reply(503, body="")] * OPENS_AT
        for call in FLEET:
            await harness.once(call)
        assert await harness.once(FLEET[0]) == Accepted(None)
    service.answers = [Reply(503, body="")] * OPENS_AT
    for call in FLEET:
        await harness.once(call)
    assert await harness.perform(FLEET[0]) == Accepted(None)


async def test_the_time_of_the_next_call_starts_again_after_one_was_given_up(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = ClientHarness(service.url, monkeypatch, give_up_after=NO_TIME)
    others = GetDeviceRegistration(OTHER)
    service.always = {"/SendHeartbeat": Reply(500, body=""), "/GetDeviceRegistration": REGISTERED}
    failing = asyncio.create_task(harness.perform(BEAT))
    while not failing.done():
        await harness.perform(others)
    assert isinstance(failing.result(), Abandoned)
    assert await harness.once(BEAT) == RetryLater(only_this_device=True)
    harness.cloud.close()


async def test_a_call_that_blocks_others_is_retried_at_once_and_given_up_soon(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = ClientHarness(service.url, monkeypatch)
    service.always = {"/SendHeartbeat": Reply(500, body=""), "/GetDeviceRegistration": REGISTERED}
    assert await harness.once(BEAT) == RetryLater(only_this_device=True)
    for number in range(100):
        await harness.once(GetDeviceRegistration(Device("fleet-a", f"dev-{number}")))
    tried = 1
    while isinstance(outcome := await retried_now(harness), RetryLater):
        tried += 1
    assert isinstance(outcome, Abandoned)
    assert tried == ATTEMPTS_TO_GIVE_UP - 1
    harness.cloud.close()


async def retried_now(harness: ClientHarness) -> object:
    """The outcome of the next attempt, which is made at once, however long the device had to wait."""
    harness.cloud.retry_now(DEVICE)
    await harness.due(DEVICE)
    return await harness.once(BEAT)
