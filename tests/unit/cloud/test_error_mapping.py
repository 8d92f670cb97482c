"""What boto3 may raise, and who must act then: the device, nobody, the operator."""

from typing import Any

import pytest
from botocore import exceptions as botocore

from gateway.cloud import error_mapping
from gateway.errors import CloudError, OperatorError, PermanentError, TransientError

URL = "http://127.0.0.1:1"


def error_response(code: str, status: int, message: str = "why") -> botocore.ClientError:
    """What boto3 raises for an answer that is an error."""
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(response, "SendHeartbeat")


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("InternalServiceException", 400, TransientError),
        ("InternalServiceException", 500, TransientError),
        ("ThrottlingException", 400, TransientError),
        ("ThrottlingException", 429, TransientError),
        ("TooManyRequestsException", 429, TransientError),
        ("RequestLimitExceeded", 503, TransientError),
        ("SlowDown", 503, TransientError),
        ("RequestTimeout", 400, TransientError),
        ("Unknown", 429, TransientError),
        ("Unknown", 408, TransientError),
        ("Unknown", 500, TransientError),
        ("Unknown", 502, TransientError),
        ("", 503, TransientError),
        ("500", 500, TransientError),
        ("ValidationException", 400, PermanentError),
        ("ResourceNotFoundException", 400, PermanentError),
        ("ResourceNotFound", 400, PermanentError),
        ("Unknown", 400, PermanentError),
        ("Unknown", 413, PermanentError),
        ("AccessDeniedException", 403, OperatorError),
        ("AccessDeniedException", 400, OperatorError),
        ("AccessDenied", 403, OperatorError),
        ("ExpiredToken", 403, OperatorError),
        ("ExpiredTokenException", 400, OperatorError),
        ("UnrecognizedClientException", 400, OperatorError),
        ("InvalidClientTokenId", 403, OperatorError),
        ("SignatureDoesNotMatch", 403, OperatorError),
        ("InvalidSignatureException", 400, OperatorError),
        ("IncompleteSignature", 400, OperatorError),
        ("MissingAuthenticationToken", 403, OperatorError),
        ("RequestTimeTooSkewed", 403, OperatorError),
        ("UnknownOperationException", 404, OperatorError),
        ("Unknown", 401, OperatorError),
        ("Unknown", 403, OperatorError),
        ("Unknown", 404, OperatorError),
        ("404", 404, OperatorError),
        ("405", 405, OperatorError),
        ("302", 302, OperatorError),
        ("400", 400, OperatorError),
        ("", 400, OperatorError),
    ],
)
def test_an_error_response_is_classified_by_its_code_and_then_by_its_status(
    code: str, status: int, fault: type[CloudError]
) -> None:
    error = error_mapping.error_from_exception(error_response(code, status))
    assert type(error) is fault
    assert error.reason == (code or str(status))
    assert "why" in str(error)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (botocore.EndpointConnectionError(endpoint_url=URL), TransientError),
        (botocore.ConnectTimeoutError(endpoint_url=URL), TransientError),
        (botocore.ReadTimeoutError(endpoint_url=URL), TransientError),
        (botocore.ConnectionClosedError(endpoint_url=URL), TransientError),
        (botocore.ProxyConnectionError(proxy_url=URL), TransientError),
        (botocore.HTTPClientError(error="reset"), TransientError),
        (botocore.SSLError(endpoint_url=URL, error="no such issuer"), OperatorError),
        (botocore.ParamValidationError(report="Missing required parameter"), PermanentError),
        (botocore.NoCredentialsError(), OperatorError),
        (botocore.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), OperatorError),
        (botocore.CredentialRetrievalError(provider="sts", error_msg="no"), OperatorError),
        (botocore.NoRegionError(), OperatorError),
        (botocore.UnauthorizedSSOTokenError(), OperatorError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_a_call_without_a_response(error: Exception, fault: type[CloudError]) -> None:
    assert type(error_mapping.error_from_exception(error)) is fault


@pytest.mark.parametrize("error", [ValueError("strange"), KeyError("x"), RuntimeError()])
def test_an_unexpected_exception_is_never_a_rejection(error: Exception) -> None:
    assert type(error_mapping.error_from_exception(error)) is OperatorError


def test_a_message_of_the_service_becomes_one_line_of_text() -> None:
    error = error_mapping.error_from_exception(
        error_response("ValidationException", 400, "a\nb\tc\x00d\x7fe \ud800 größe \ufffe")
    )
    assert str(error) == "ValidationException: a b c?d?e ? größe ?"


def test_a_report_of_botocore_becomes_one_line_of_text() -> None:
    error = error_mapping.error_from_exception(botocore.ParamValidationError(report="one\ntwo"))
    assert str(error).isprintable()
    assert len(str(error_mapping.error_from_exception(botocore.ParamValidationError(report="x" * 9999)))) < 600


@pytest.mark.parametrize(
    ("headers", "is_error"),
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
def test_a_page_in_place_of_json_is_an_operators_error(headers: dict[str, str], is_error: bool) -> None:
    fault = error_mapping.check_content_type(headers)
    assert (type(fault) if fault else None) == (OperatorError if is_error else None)
