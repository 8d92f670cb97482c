"""Checks of the endpoint, the credentials and S3."""

import pytest

from gateway.cloud.credentials import CredentialInfo
from gateway.cloud.error_mapping import OPERATOR_CODES
from gateway.doctor.checks.cloud import (
    TODO,
    ModelStoreAnswer,
    ServiceAnswers,
    check_clock,
    check_credentials,
    check_model_store,
    check_service,
)
from gateway.doctor.result import CheckResult, Level, ProbeFailure
from gateway.errors import CloudError, Code, FileError, OperatorError, PermanentError, TransientError

URL = "http://edge.example"
REGISTERED = frozenset({"registered"})
MIB = 1024 * 1024


def check(error: CloudError | None, url: str = URL, registration: str | None = None, ahead: float | None = 0.0) -> dict:
    found = ServiceAnswers(url, {"GetDeviceRegistration": None, "GetDeployments": error}, registration, ahead)
    return {each.check: each for each in check_service(found, REGISTERED)}


def levels(results: dict[str, CheckResult]) -> dict[str, Level]:
    return {check: each.level for check, each in results.items()}


ANSWERED = {"endpoint": Level.PASS, "clock": Level.PASS}


@pytest.mark.parametrize(
    ("error", "expected"),
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
def test_what_an_answer_of_the_endpoint_means(error: CloudError | None, expected: dict[str, Level]) -> None:
    found = check(error)
    assert levels(found) == expected
    assert all(each.todo for each in found.values() if each.level is not Level.PASS)


@pytest.mark.parametrize(
    ("code", "todo"),
    [
        ("AccessDeniedException", "allow the gateway's credentials GetDeviceRegistration"),
        ("UnauthorizedOperation", "allow the gateway's credentials GetDeviceRegistration"),
        ("UnrecognizedClientException", "set AWS_ACCESS_KEY_ID (or the profile) to a key that this service knows"),
        ("InvalidSignatureException", "set AWS_SECRET_ACCESS_KEY to the secret of this access key"),
        ("SignatureDoesNotMatch", "set AWS_SECRET_ACCESS_KEY to the secret of this access key"),
        ("ExpiredTokenException", "renew the credentials"),
        ("InvalidToken", "set AWS_SESSION_TOKEN"),
        ("RequestTimeTooSkewed", "set this machine's clock"),
        ("MissingAuthenticationToken", "no signature arrives"),
    ],
)
def test_what_to_do_fits_the_code_of_the_error(code: str, todo: str) -> None:
    assert check(OperatorError(code, "no"))["calls"].todo.startswith(todo)


def test_what_to_do_is_known_for_codes_of_the_service_alone() -> None:
    assert set(TODO) <= OPERATOR_CODES


def test_a_certificate_that_is_not_trusted() -> None:
    result = check(OperatorError("SSLError", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))["endpoint"]
    assert result.todo.startswith("set AWS_CA_BUNDLE")


def test_no_answer_in_time_fails() -> None:
    (result,) = check_service(ProbeFailure("does not answer in time"), REGISTERED)
    assert (result.check, result.level) == ("endpoint", Level.FAIL)


def test_awss_own_endpoint_is_closed() -> None:
    result = check(TransientError("EndpointConnectionError", ""), "https://edge.sagemaker.eu-west-1.amazonaws.com")
    assert "2024" in result["endpoint"].todo


def test_a_rejected_registration_call_is_a_warning() -> None:
    found = ServiceAnswers(
        URL, {"GetDeviceRegistration": PermanentError("ValidationException", "no such device")}, None, 0.0
    )
    result = check_service(found, REGISTERED)[-1]
    assert (result.check, result.level) == ("calls", Level.WARN)
    assert "ask_registration" in result.todo


@pytest.mark.parametrize(("registration", "level"), [("NOT_REGISTERED", Level.PASS), ("Registered", Level.WARN)])
def test_a_value_that_means_registered_for_every_device_is_a_warning(registration: str, level: Level) -> None:
    assert check(None, registration=registration)["calls"].level is level


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
    assert check_clock(ahead).level is level


def test_the_clock_is_ahead_or_behind() -> None:
    assert "ahead of" in check_clock(400.0).found
    assert "behind" in check_clock(-400.0).found


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (None, Level.FAIL),
        (ProbeFailure("in time"), Level.FAIL),
        (OperatorError("CredentialRetrievalError", "no"), Level.FAIL),
        (CredentialInfo("env", temporary=False, renewed=False), Level.PASS),
        (CredentialInfo("iam-role", temporary=True, renewed=True), Level.PASS),
        (CredentialInfo("env", temporary=True, renewed=False), Level.WARN),
    ],
    ids=range(6),
)
def test_credentials(found: CredentialInfo | CloudError | ProbeFailure | None, level: Level) -> None:
    assert check_credentials(found).level is level


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (ModelStoreAnswer(URL, None, OperatorError("NoSuchBucket", "")), Level.PASS),
        (ModelStoreAnswer(URL, None, TransientError("EndpointConnectionError", "")), Level.WARN),
        (ModelStoreAnswer(URL, None, OperatorError("InvalidAccessKeyId", "")), Level.WARN),
        (ModelStoreAnswer(URL, "s3://b/k", OperatorError("NoSuchBucket", "")), Level.FAIL),
        (ModelStoreAnswer(URL, "s3://b/k", OperatorError("AccessDenied", "")), Level.FAIL),
        (ModelStoreAnswer(URL, "b/k", FileError(Code.UNKNOWN_PLAN, "b/k is not s3://")), Level.FAIL),
        (ModelStoreAnswer(URL, "s3://b/k", None, MIB), Level.PASS),
        (ModelStoreAnswer(URL, "s3://b/k", None, MIB + 1), Level.FAIL),
        (ProbeFailure("did not end"), Level.WARN),
    ],
    ids=range(9),
)
def test_the_model_store(found: ModelStoreAnswer | ProbeFailure, level: Level) -> None:
    assert check_model_store(found, MIB).level is level
