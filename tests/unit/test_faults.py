"""A table of what boto3 may raise, and whose fault it is: the message's, nobody's, the operator's."""

from typing import Any

import pytest
from botocore import exceptions as botocore

from gateway.cloud import error_mapping
from gateway.errors import CallFailed, CallRefused, CloudError, OperatorNeeded

URL = "http://127.0.0.1:1"


def answered(code: str, status: int, message: str = "why") -> botocore.ClientError:
    """What boto3 raises for an answer that is an error."""
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(response, "SendHeartbeat")


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("InternalServiceException", 400, CallFailed),
        ("InternalServiceException", 500, CallFailed),
        ("ThrottlingException", 400, CallFailed),
        ("ThrottlingException", 429, CallFailed),
        ("TooManyRequestsException", 429, CallFailed),
        ("RequestLimitExceeded", 503, CallFailed),
        ("SlowDown", 503, CallFailed),
        ("RequestTimeout", 400, CallFailed),
        ("Unheard", 429, CallFailed),
        ("Unheard", 408, CallFailed),
        ("Unheard", 500, CallFailed),
        ("Unheard", 502, CallFailed),
        ("", 503, CallFailed),
        ("500", 500, CallFailed),
        ("ValidationException", 400, CallRefused),
        ("ResourceNotFoundException", 400, CallRefused),
        ("ResourceNotFound", 400, CallRefused),
        ("Unheard", 400, CallRefused),
        ("Unheard", 413, CallRefused),
        ("AccessDeniedException", 403, OperatorNeeded),
        ("AccessDeniedException", 400, OperatorNeeded),
        ("AccessDenied", 403, OperatorNeeded),
        ("ExpiredToken", 403, OperatorNeeded),
        ("ExpiredTokenException", 400, OperatorNeeded),
        ("UnrecognizedClientException", 400, OperatorNeeded),
        ("InvalidClientTokenId", 403, OperatorNeeded),
        ("SignatureDoesNotMatch", 403, OperatorNeeded),
        ("InvalidSignatureException", 400, OperatorNeeded),
        ("IncompleteSignature", 400, OperatorNeeded),
        ("MissingAuthenticationToken", 403, OperatorNeeded),
        ("RequestTimeTooSkewed", 403, OperatorNeeded),
        ("UnknownOperationException", 404, OperatorNeeded),
        ("Unheard", 401, OperatorNeeded),
        ("Unheard", 403, OperatorNeeded),
        ("Unheard", 404, OperatorNeeded),
        ("404", 404, OperatorNeeded),
        ("405", 405, OperatorNeeded),
        ("302", 302, OperatorNeeded),
        ("400", 400, OperatorNeeded),
        ("", 400, OperatorNeeded),
    ],
)
def test_an_answer_is_judged_by_its_code_and_then_by_its_status(
    code: str, status: int, fault: type[CloudError]
) -> None:
    error = error_mapping.of(answered(code, status))
    assert type(error) is fault
    assert error.reason == (code or str(status))
    assert "why" in str(error)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (botocore.EndpointConnectionError(endpoint_url=URL), CallFailed),
        (botocore.ConnectTimeoutError(endpoint_url=URL), CallFailed),
        (botocore.ReadTimeoutError(endpoint_url=URL), CallFailed),
        (botocore.ConnectionClosedError(endpoint_url=URL), CallFailed),
        (botocore.ProxyConnectionError(proxy_url=URL), CallFailed),
        (botocore.HTTPClientError(error="reset"), CallFailed),
        (botocore.SSLError(endpoint_url=URL, error="no such issuer"), OperatorNeeded),
        (botocore.ParamValidationError(report="Missing required parameter"), CallRefused),
        (botocore.NoCredentialsError(), OperatorNeeded),
        (botocore.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), OperatorNeeded),
        (botocore.CredentialRetrievalError(provider="sts", error_msg="no"), OperatorNeeded),
        (botocore.NoRegionError(), OperatorNeeded),
        (botocore.UnauthorizedSSOTokenError(), OperatorNeeded),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_a_call_that_had_no_answer(error: Exception, fault: type[CloudError]) -> None:
    assert type(error_mapping.of(error)) is fault


@pytest.mark.parametrize("error", [ValueError("strange"), KeyError("x"), RuntimeError()])
def test_what_nobody_foresaw_settles_nothing(error: Exception) -> None:
    assert type(error_mapping.of(error)) is OperatorNeeded


def test_a_message_of_the_service_becomes_one_line_of_text() -> None:
    error = error_mapping.of(answered("ValidationException", 400, "a\nb\tc\x00d\x7fe \ud800 größe \ufffe"))
    assert str(error) == "ValidationException: a b c?d?e ? größe ?"


def test_a_report_of_botocore_becomes_one_line_of_text() -> None:
    error = error_mapping.of(botocore.ParamValidationError(report="one\ntwo"))
    assert str(error).isprintable()
    assert len(str(error_mapping.of(botocore.ParamValidationError(report="x" * 9999)))) < 600


@pytest.mark.parametrize(
    ("headers", "is_page"),
    [
        ({"content-type": "application/json"}, False),
        ({"content-type": "application/x-amz-json-1.1"}, False),
        ({"content-type": "application/json; charset=utf-8", "content-length": "2"}, False),
        ({}, False),
        ({"content-length": "0"}, False),
        ({"content-type": "text/html", "content-length": "0"}, False),
        ({"content-type": "text/html"}, True),
        ({"content-type": "text/html; charset=utf-8", "content-length": "512"}, True),
        ({"content-type": "text/plain", "content-length": "2"}, True),
    ],
)
def test_a_page_in_place_of_json_is_the_operators(headers: dict[str, str], is_page: bool) -> None:
    fault = error_mapping.of_page(headers)
    assert (type(fault) if fault else None) == (OperatorNeeded if is_page else None)
