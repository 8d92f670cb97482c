"""What an exception of botocore means: the message's fault, nobody's, or the operator's. By error code, then by status.

Decides, and does nothing: what follows is retry.py's and the core's.
"""

from typing import Any

from botocore import exceptions as botocore

from gateway.errors import CloudError, OperatorError, PermanentError, TransientError

FAILED_CODES = frozenset(
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
OPERATOR_STATUSES = frozenset({401, 403, 404, 405, 407})
UNREACHABLE = (botocore.HTTPClientError, botocore.ConnectionError)


def of(error: Exception) -> CloudError:
    """The fault behind an exception that boto3 raised, or that its answer made api.py raise."""
    if isinstance(error, CloudError):
        return error
    if isinstance(error, botocore.ClientError):
        return of_answer(error.response)
    if isinstance(error, botocore.ParamValidationError):
        return PermanentError("ParamValidation", line(error))
    if isinstance(error, UNREACHABLE) and not isinstance(error, botocore.SSLError):
        return TransientError(type(error).__name__, line(error))
    # No credentials, no such profile, a certificate that does not fit, an answer that is not the API's.
    return OperatorError(type(error).__name__, line(error))


def line(text: object) -> str:
    """One line of 500 characters at most. A reason travels on `dead` as a property, and a broker that finds a control
    character in it cuts the connection (Mosquitto does)."""
    words = " ".join(str(text).split())[:500]
    return "".join(character if character.isprintable() else "?" for character in words)


def of_answer(response: Any) -> CloudError:
    """The fault that a response tells, in botocore's form."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = line(response.get("Error", {}).get("Code", ""))
    message = line(response.get("Error", {}).get("Message", ""))
    if code in FAILED_CODES:
        return TransientError(code, message)
    if code in OPERATOR_CODES:
        return OperatorError(code, message)
    if status == 429 or status == 408 or status >= 500:
        return TransientError(code or str(status), message)
    if status in OPERATOR_STATUSES or not code or code.isdigit():
        return OperatorError(code or str(status), message or "the answer is not this API's")
    return PermanentError(code, message)


def of_nothing() -> CloudError:
    """An answer without a body, where the API has one."""
    return OperatorError("NotTheApi", "an empty answer where JSON belongs: is the endpoint right?")


def of_page(headers: dict[str, str]) -> CloudError | None:
    """boto3 reads no body where the API has none, so a page with status 200 would pass for an accepted heartbeat."""
    kind = headers.get("content-type", "")
    if not kind or "json" in kind or headers.get("content-length") == "0":
        return None
    return OperatorError("NotTheApi", f"an answer of type {kind} where JSON belongs: is the endpoint right?")
