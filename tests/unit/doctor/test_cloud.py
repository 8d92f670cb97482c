"""Judgements on the cloud, and on the disk."""

import pytest

from gateway.cloud.boto_transport import CredentialInfo
from gateway.doctor import judge_cloud, judge_disk
from gateway.doctor.facts import Disk, Fault, ModelStore, Service
from gateway.doctor.verdict import Level, Verdict
from gateway.errors import CloudError, Code, FileError, OperatorError, PermanentError, TransientError

URL = "http://edge.example"
WORDS = frozenset({"registered"})
MIB = 1024 * 1024


def judged(fault: CloudError | None, url: str = URL, word: str | None = None, ahead: float | None = 0.0) -> dict:
    found = Service(url, {"GetDeviceRegistration": None, "GetDeployments": fault}, word, ahead)
    return {each.check: each for each in judge_cloud.service(found, WORDS)}


def levels(verdicts: dict[str, Verdict]) -> dict[str, Level]:
    return {check: each.level for check, each in verdicts.items()}


ANSWERED = {"endpoint": Level.PASS, "clock": Level.PASS}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, ANSWERED | {"calls": Level.PASS}),
        (PermanentError("ValidationException", "not registered"), ANSWERED | {"calls": Level.PASS}),
        (OperatorError("AccessDeniedException", "no"), ANSWERED | {"calls": Level.FAIL}),
        (OperatorError("UnrecognizedClientException", "no"), ANSWERED | {"calls": Level.FAIL}),
        (OperatorError("ExpiredTokenException", "no"), ANSWERED | {"calls": Level.FAIL}),
        (OperatorError("InvalidSignatureException", "no"), ANSWERED | {"calls": Level.FAIL}),
        (OperatorError("NotTheApi", "text/html"), {"endpoint": Level.FAIL}),
        (OperatorError("UnknownOperationException", ""), {"endpoint": Level.FAIL}),
        (OperatorError("404", ""), {"endpoint": Level.FAIL}),
        (OperatorError("SSLError", ""), {"endpoint": Level.FAIL}),
        (TransientError("EndpointConnectionError", ""), {"endpoint": Level.FAIL}),
        (TransientError("ServiceUnavailable", ""), {"endpoint": Level.FAIL}),
        (OperatorError("NoCredentialsError", ""), {"endpoint": Level.WARN}),
    ],
    ids=range(13),
)
def test_whose_fault_an_answer_tells(fault: CloudError | None, expected: dict[str, Level]) -> None:
    found = judged(fault)
    assert levels(found) == expected
    assert all(each.todo for each in found.values() if each.level is not Level.PASS)


def test_what_is_no_answer_in_time_fails() -> None:
    (verdict,) = judge_cloud.service(Fault("does not answer in time"), WORDS)
    assert (verdict.check, verdict.level) == ("endpoint", Level.FAIL)


def test_awss_own_endpoint_is_told_to_be_closed() -> None:
    verdict = judged(TransientError("EndpointConnectionError", ""), "https://edge.sagemaker.eu-west-1.amazonaws.com")
    assert "2024" in verdict["endpoint"].todo


def test_a_registration_that_is_refused_is_told_since_the_gateway_waits_for_an_answer() -> None:
    found = Service(URL, {"GetDeviceRegistration": PermanentError("ValidationException", "no such device")}, None, 0.0)
    verdict = judge_cloud.service(found, WORDS)[-1]
    assert (verdict.check, verdict.level) == ("calls", Level.WARN)
    assert "ask_registration" in verdict.todo


@pytest.mark.parametrize(("word", "level"), [("NOT_REGISTERED", Level.PASS), ("Registered", Level.WARN)])
def test_a_word_that_means_registered_for_everyone_is_told(word: str, level: Level) -> None:
    assert judged(None, word=word)["calls"].level is level


@pytest.mark.parametrize(
    ("ahead", "level"),
    [
        (None, Level.WARN),
        (0.6, Level.PASS),
        (-60.0, Level.PASS),
        (61.0, Level.WARN),
        (-300.0, Level.WARN),
        (301.0, Level.FAIL),
        (-301.0, Level.FAIL),
    ],
)
def test_the_clock(ahead: float | None, level: Level) -> None:
    assert judge_cloud.clock(ahead).level is level


def test_the_clock_says_which_way() -> None:
    assert "ahead of" in judge_cloud.clock(400.0).found
    assert "behind" in judge_cloud.clock(-400.0).found


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (None, Level.FAIL),
        (Fault("in time"), Level.FAIL),
        (OperatorError("CredentialRetrievalError", "no"), Level.FAIL),
        (CredentialInfo("env", temporary=False, renewed=False), Level.PASS),
        (CredentialInfo("iam-role", temporary=True, renewed=True), Level.PASS),
        (CredentialInfo("env", temporary=True, renewed=False), Level.WARN),
    ],
    ids=range(6),
)
def test_credentials(found: CredentialInfo | CloudError | Fault | None, level: Level) -> None:
    assert judge_cloud.credentials(found).level is level


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (ModelStore(URL, None, OperatorError("NoSuchBucket", "")), Level.PASS),
        (ModelStore(URL, None, TransientError("EndpointConnectionError", "")), Level.WARN),
        (ModelStore(URL, None, OperatorError("InvalidAccessKeyId", "")), Level.WARN),
        (ModelStore(URL, "s3://b/k", OperatorError("NoSuchBucket", "")), Level.FAIL),
        (ModelStore(URL, "s3://b/k", OperatorError("AccessDenied", "")), Level.FAIL),
        (ModelStore(URL, "b/k", FileError(Code.UNKNOWN_PLAN, "b/k is not s3://")), Level.FAIL),
        (ModelStore(URL, "s3://b/k", None, MIB), Level.PASS),
        (ModelStore(URL, "s3://b/k", None, MIB + 1), Level.FAIL),
        (Fault("did not end"), Level.WARN),
    ],
    ids=range(9),
)
def test_the_model_store(found: ModelStore | Fault, level: Level) -> None:
    assert judge_cloud.model_store(found, MIB).level is level


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (Disk("d", fault="cannot be written"), Level.FAIL),
        (Disk("d", free=100 * MIB - 1), Level.FAIL),
        (Disk("d", free=100 * MIB), Level.WARN),
        (Disk("d", free=100 * MIB + judge_disk.RESERVE), Level.PASS),
        (Disk("d", free=judge_disk.RESERVE, taken=100 * MIB), Level.PASS),
        (Disk("d", free=judge_disk.RESERVE, taken=200 * MIB), Level.PASS),
        (Disk("d", free=judge_disk.RESERVE - 1, taken=100 * MIB), Level.WARN),
    ],
    ids=range(7),
)
def test_the_disk(found: Disk, level: Level) -> None:
    assert judge_disk.disk(found, 100 * MIB).level is level
