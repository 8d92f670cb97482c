"""Each fault of the other side becomes the right attempt and outcome, through a real boto3 and a real socket."""

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
from tests.contract.door import NO_TIME, Door
from tests.contract.recorder import Answer, Recorder

DEVICE = Device("fleet-a", "dev-1")
OTHER = Device("fleet-a", "dev-2")
BEAT = SendHeartbeat(DEVICE, "1.0.0", (), (), None)
REGISTERED = Answer(body='{"DeviceRegistration": "true"}')


def error(status: int, code: str) -> Answer:
    """An error as rest-json has it."""
    return Answer(status, '{"message": "why"}', headers={"x-amzn-ErrorType": code})


FAULTS = {
    "429": (error(429, "TooManyRequestsException"), TransientError),
    "429-bare": (Answer(429), TransientError),
    "500": (Answer(500), TransientError),
    "503": (Answer(503, "<html>", "text/html"), TransientError),
    "503-json": (error(503, "ServiceUnavailable"), TransientError),
    "internal-as-400": (error(400, "InternalServiceException"), TransientError),
    "throttled-as-400": (error(400, "ThrottlingException"), TransientError),
    "cut": (Answer(0), TransientError),
    "hang": (Answer(hang=True), TransientError),
    "half": (Answer(200, "{", headers={"Content-Length": "100"}), TransientError),
    "access-denied": (error(403, "AccessDeniedException"), OperatorError),
    "expired": (error(403, "ExpiredTokenException"), OperatorError),
    "signature": (error(403, "SignatureDoesNotMatch"), OperatorError),
    "404": (Answer(404, "not found", "text/plain"), OperatorError),
    "404-json": (error(404, "UnknownOperationException"), OperatorError),
    "page": (Answer(200, "<html>welcome</html>", "text/html"), OperatorError),
    "moved": (Answer(302, "", headers={"Location": "/login"}), OperatorError),
}


@pytest.mark.parametrize(
    "call", [BEAT, GetDeployments(DEVICE, True), GetDeviceRegistration(DEVICE)], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize(("answer", "fault"), FAULTS.values(), ids=FAULTS.keys())
async def test_what_may_pass_is_tried_again(
    service: Recorder, door: Door, call: Call, answer: Answer, fault: type[CloudError]
) -> None:
    service.answers = [answer, Answer(body='{"DeviceRegistration": "true"}')]
    assert isinstance(await door.perform(call), Accepted)
    first, *rest = door.attempts
    assert (type(first), rest) == (fault, [None])
    assert len(service.requests) == 2


NO_ANSWERS = [
    (GetDeployments(DEVICE, True), Answer()),
    (GetDeployments(DEVICE, True), Answer(body='{"Deployments": [{"DeploymentName": 7}]}')),
    (GetDeployments(DEVICE, True), Answer(body='{"Deployments": [{"Definitions": [{"Checksum": {"Sum": 123}}]}]}')),
    (GetDeviceRegistration(DEVICE), Answer()),
    (GetDeviceRegistration(DEVICE), Answer(body="{}")),
]


@pytest.mark.parametrize(("call", "answer"), NO_ANSWERS, ids=lambda case: getattr(case, "body", None))
async def test_what_is_no_answer_of_the_api_is_an_outage(
    service: Recorder, door: Door, call: Call, answer: Answer
) -> None:
    """Neither an empty plan nor a device that is not registered."""
    service.answers = [answer, Answer(body='{"DeviceRegistration": "true", "Deployments": []}')]
    assert isinstance(await door.perform(call), Accepted)
    assert [type(each) for each in door.attempts] == [OperatorError, type(None)]


@pytest.mark.parametrize("answer", [error(400, "ValidationException"), error(400, "SomethingNew")])
async def test_what_is_refused_is_refused_at_once(service: Recorder, door: Door, answer: Answer) -> None:
    service.answers = [answer]
    outcome = await door.perform(BEAT)
    assert outcome == Rejected(f"{answer.headers['x-amzn-ErrorType']}: why")
    assert ([type(attempt) for attempt in door.attempts], len(service.requests)) == ([PermanentError], 1)


async def test_a_refused_registration_is_an_outage(service: Recorder, door: Door) -> None:
    service.answers = [error(400, "ValidationException"), Answer(body='{"DeviceRegistration": "true"}')]
    assert await door.perform(GetDeviceRegistration(DEVICE)) == Accepted(Registration("true", 300.0))


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "{", "", '{"Deployments": 5}', '{"Deployments": [5]}'])
async def test_json_that_is_not_the_apis_breaks_nothing(service: Recorder, door: Door, body: str) -> None:
    service.answers = [Answer(body=body), Answer(body="{}")]
    assert await door.perform(GetDeployments(DEVICE, retryable=True)) == Accepted(())


@pytest.mark.parametrize("answer", [Answer(500), error(403, "AccessDenied"), Answer(0)])
async def test_an_impatient_question_is_asked_once(service: Recorder, door: Door, answer: Answer) -> None:
    service.answers = [answer]
    assert isinstance(await door.perform(GetDeployments(DEVICE, retryable=False)), Cancelled)
    assert len(service.requests) == 1


async def test_a_refused_connection_is_nobodys_fault(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and nobody listens
        door = Door(f"http://127.0.0.1:{reserved.getsockname()[1]}", monkeypatch)
        door.stop_at_failure = True
        assert await door.perform(BEAT) == Cancelled("the gateway stops")
    assert [type(attempt) for attempt in door.attempts] == [TransientError]
    door.cloud.close()


async def test_missing_credentials_are_the_operators(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    door = Door(service.url, monkeypatch)
    door.stop_at_failure = True
    assert await door.perform(BEAT) == Cancelled("the gateway stops")
    assert [type(attempt) for attempt in door.attempts] == [OperatorError]
    assert service.requests == []
    door.cloud.close()


async def test_a_call_that_fails_while_others_succeed_is_given_up(
    service: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(service.url, monkeypatch, give_up_after=NO_TIME)
    service.always = {"/SendHeartbeat": Answer(500), "/GetDeviceRegistration": REGISTERED}
    failing = asyncio.create_task(door.perform(BEAT))
    while not failing.done():
        assert isinstance(await door.perform(GetDeviceRegistration(OTHER)), Accepted)
    assert isinstance(failing.result(), Abandoned)
    door.cloud.close()


async def test_what_else_the_device_itself_is_answered_does_not_count(
    service: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no other device there is nobody whose calls succeed."""
    door = Door(service.url, monkeypatch, give_up_after=NO_TIME)
    service.always = {"/GetDeviceRegistration": REGISTERED}
    service.answers = [Answer(500)] * 20
    failing = asyncio.create_task(door.perform(BEAT))
    while not failing.done():
        assert isinstance(await door.perform(GetDeviceRegistration(DEVICE)), Accepted)
    assert failing.result() == Accepted(None)
    door.cloud.close()


async def test_a_call_that_fails_alone_is_not(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(service.url, monkeypatch, give_up_after=NO_TIME)
    service.answers = [Answer(500)] * 20
    assert await door.perform(BEAT) == Accepted(None)
    assert door.repeated == list(range(1, 21))
    door.cloud.close()


FLEET = [SendHeartbeat(Device("fleet-a", f"dev-{number}"), "1.0.0", (), (), None) for number in range(OPENS_AT)]


async def test_where_all_fail_the_window_closes_and_a_probe_that_gets_through_opens_it(
    service: Recorder, door: Door
) -> None:
    service.answers = [Answer(503)] * (OPENS_AT + 3)
    outcomes = [await door.once(call) for call in FLEET]
    assert outcomes == [RetryLater(only_this_device=True)] * (OPENS_AT - 1) + [RetryLater(only_this_device=False)]
    assert await door.perform(FLEET[0]) == Accepted(None)
    assert len(service.requests) == OPENS_AT + 4
    assert door.window > 0


async def test_after_an_outage_that_returns_there_is_one_probe_at_a_time(service: Recorder, door: Door) -> None:
    """A call that was under way gets through before the probe is due; then all fail again."""
    for _ in range(3):
        service.answers = [Answer(503)] * OPENS_AT
        for call in FLEET:
            await door.once(call)
        assert await door.once(FLEET[0]) == Accepted(None)
    service.answers = [Answer(503)] * OPENS_AT
    for call in FLEET:
        await door.once(call)
    assert await door.perform(FLEET[0]) == Accepted(None)


async def test_one_that_was_given_up_gets_its_time_anew(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(service.url, monkeypatch, give_up_after=NO_TIME)
    others = GetDeviceRegistration(OTHER)
    service.always = {"/SendHeartbeat": Answer(500), "/GetDeviceRegistration": REGISTERED}
    failing = asyncio.create_task(door.perform(BEAT))
    while not failing.done():
        await door.perform(others)
    assert isinstance(failing.result(), Abandoned)
    assert await door.once(BEAT) == RetryLater(only_this_device=True)
    door.cloud.close()


async def test_one_that_others_wait_behind_is_tried_at_once_and_given_up_soon(
    service: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(service.url, monkeypatch)
    service.always = {"/SendHeartbeat": Answer(500), "/GetDeviceRegistration": REGISTERED}
    assert await door.once(BEAT) == RetryLater(only_this_device=True)
    for number in range(100):
        await door.once(GetDeviceRegistration(Device("fleet-a", f"dev-{number}")))
    tried = 1
    while isinstance(outcome := await pressed(door), RetryLater):
        tried += 1
    assert isinstance(outcome, Abandoned)
    assert tried == ATTEMPTS_TO_GIVE_UP - 1
    door.cloud.close()


async def pressed(door: Door) -> object:
    """The outcome of the next attempt, which a press brings about, whatever wait was ahead of it."""
    door.cloud.retry_now(DEVICE)
    await door.due(DEVICE)
    return await door.once(BEAT)
