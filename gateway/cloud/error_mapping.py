"""Maps exceptions of botocore and error responses to CloudErrors: by error code first, by status second.

It must never decide what follows from an error.
"""

from typing import Any

from botocore import exceptions as botocore

from gateway.cloud.http_client import PLAIN_PORT
from gateway.errors import CloudError, OperatorError, PermanentError, TransientError, one_line, redact_credentials

TRANSIENT_CODES = frozenset(
    "InternalServiceException InternalFailure InternalServerError InternalError ServiceUnavailable "
    "ServiceUnavailableException RequestTimeout RequestTimeoutException PriorRequestNotComplete "
    "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException "
    "TooManyRequestsException RequestLimitExceeded LimitExceededException BandwidthLimitExceeded SlowDown "
    "ProvisionedThroughputExceededException".split()
)
OPERATOR_CODES = frozenset(
    "AccessDenied AccessDeniedException NotAuthorized UnauthorizedOperation OptInRequired "
    "ExpiredToken ExpiredTokenException RequestExpired RequestTimeTooSkewed InvalidToken "
    "UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId "
    "InvalidSignatureException SignatureDoesNotMatch IncompleteSignature "
    "MissingAuthenticationToken MissingAuthenticationTokenException "
    "UnknownOperationException InvalidAction".split()
)
ACCESS_CODES = OPERATOR_CODES - {"UnknownOperationException", "InvalidAction"}
"""Errors of an API that has the operation, and does not allow it."""
OPERATOR_STATUSES = frozenset({401, 403, 404, 405, 407})
NOT_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF", "EOF occurred")
"""In OpenSSL's text where the other side does not speak TLS."""
UNREACHABLE = (botocore.HTTPClientError, botocore.ConnectionError)


def error_from_exception(error: Exception) -> CloudError:
    """The error for an exception of boto3 or of the serializer."""
    if isinstance(error, CloudError):
        return error
    if isinstance(error, botocore.ClientError):
        return from_response(error.response)
    if isinstance(error, botocore.ParamValidationError):
        return PermanentError("ParamValidation", _text(error))
    if isinstance(error, UNREACHABLE) and not isinstance(error, botocore.SSLError):
        return TransientError(type(error).__name__, _text(error))
    if isinstance(error, botocore.SSLError) and any(sign in str(error) for sign in NOT_TLS):
        return OperatorError("SSLError", f"{_text(error)}; {PLAIN_PORT}")
    # No credentials, no such profile, a certificate that does not fit, a response that is not the API's.
    return OperatorError(type(error).__name__, _text(error))


def _text(error: Exception) -> str:
    return one_line(redact_credentials(error))


def from_response(response: Any) -> CloudError:
    """The error for an error response, as botocore parses it."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = one_line(response.get("Error", {}).get("Code", ""))
    message = one_line(response.get("Error", {}).get("Message", ""))
    if code in TRANSIENT_CODES:
        return TransientError(code, message)
    if code in OPERATOR_CODES:
        return OperatorError(code, message)
    if status == 429 or status == 408 or status >= 500:
        return TransientError(code or str(status), message)
    if status in OPERATOR_STATUSES or not code or code.isdigit():
        return OperatorError(
            code or str(status),
            message or "the answer is not this API's: are host, port and http:// or https:// right?",
        )
    return PermanentError(code, message)


def blames_credentials(error: CloudError) -> bool:
    """Whether the service may accept other credentials. An error without a code has its status as reason."""
    return error.reason in ACCESS_CODES or error.reason in ("401", "403")


def empty_response() -> CloudError:
    """The error for a response without a body, where the API has one."""
    return OperatorError("NotTheApi", "an empty answer where JSON belongs: is the endpoint right?")


def check_content_type(headers: dict[str, str]) -> CloudError | None:
    """The error for a successful response that is not JSON. `headers` have lower-case names.

    boto3 does not read the body of an accepted heartbeat, so an HTML page with status 200 would count as accepted.
    """
    content_type = headers.get("content-type", "")
    if not content_type or "json" in content_type or headers.get("content-length") == "0":
        return None
    return OperatorError("NotTheApi", f"an answer of type {content_type} where JSON belongs: is the endpoint right?")
