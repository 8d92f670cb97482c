"""Every answer of the manager that is not a success, in the dialect of the API that was asked.

The Edge API answers in rest-json: the code stands in the header `x-amzn-ErrorType` and in `__type`. The S3 API answers
in XML. Both kinds are exceptions, so that any depth may refuse; only http.py turns them into answers. This file
performs nothing.
"""

from xml.sax.saxutils import escape

from gateway.errors import GatewayError
from gateway.manager.http.signatures import Fault, SignatureError


class ManagerError(GatewayError):
    """The operator's fault: a command that cannot be carried out. Its text is one line: what, and what is right."""


class ApiError(GatewayError):
    """A refusal by the Edge API: `code` as AWS names it, `status` as AWS gives it with that code."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> dict[str, str]:
        """The JSON of the answer. The service model spells the member of InternalServiceException with a capital."""
        key = "Message" if self.code == "InternalServiceException" else "message"
        return {"__type": self.code, key: self.message}


class S3Error(GatewayError):
    """A refusal by the S3 API. `details` become elements of the XML, `headers` of the answer."""

    def __init__(
        self,
        code: str,
        message: str,
        status: int,
        details: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details or {}
        self.headers = headers or {}

    def body(self, request_id: str) -> str:
        """The XML of the answer."""
        elements = {"Code": self.code, "Message": self.message, **self.details, "RequestId": request_id}
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'


def validation(message: str) -> ApiError:
    """The refusal of an input whose form is right but whose content breaks a limit."""
    return ApiError("ValidationException", message)


def serialization(message: str) -> ApiError:
    """The refusal of a body that is not JSON, or whose members have other types than the service model's."""
    return ApiError("SerializationException", message)


def no_such_key(key: str) -> S3Error:
    """S3's answer where the bucket is there and the key is not."""
    return S3Error("NoSuchKey", "The specified key does not exist.", 404, {"Key": key})


def no_such_bucket(bucket: str) -> S3Error:
    """S3's answer where the bucket is not there."""
    return S3Error("NoSuchBucket", "The specified bucket does not exist", 404, {"BucketName": bucket})


API_FAULTS = {
    Fault.MISSING: ("MissingAuthenticationTokenException", 403),
    Fault.MALFORMED: ("IncompleteSignatureException", 400),
    Fault.UNKNOWN_KEY: ("UnrecognizedClientException", 403),
    Fault.SKEWED: ("InvalidSignatureException", 403),
    Fault.MISMATCH: ("InvalidSignatureException", 403),
    Fault.WRONG_BODY: ("InvalidSignatureException", 403),
}
S3_FAULTS = {
    Fault.MISSING: ("AccessDenied", 403),
    Fault.MALFORMED: ("AuthorizationHeaderMalformed", 400),
    Fault.UNKNOWN_KEY: ("InvalidAccessKeyId", 403),
    Fault.SKEWED: ("RequestTimeTooSkewed", 403),
    Fault.MISMATCH: ("SignatureDoesNotMatch", 403),
    Fault.WRONG_BODY: ("XAmzContentSHA256Mismatch", 400),
}


def unsigned_call(error: SignatureError) -> ApiError:
    """A bad signature, as the Edge API names it."""
    code, status = API_FAULTS[error.fault]
    return ApiError(code, error.detail, status)


def unsigned_read(error: SignatureError) -> S3Error:
    """A bad signature, as the S3 API names it."""
    code, status = S3_FAULTS[error.fault]
    return S3Error(code, error.detail, status)
