"""Every error response of the manager, as an exception, so that any depth may raise it. Performs nothing.

The Edge API answers in rest-json, the S3 API in XML. `http.responses` turns both into HTTP.
"""

from xml.sax.saxutils import escape

from gateway.errors import GatewayError


class ManagerError(GatewayError):
    """The operator's fault: a command that cannot be carried out. Its text is one line: what, and what is right."""


class OptionError(ManagerError):
    """A value that an operator typed. `option`: where, as a command names it; `fault`: what goes on after that."""

    def __init__(self, option: str, fault: str) -> None:
        super().__init__(f"{option} {fault}")
        self.option = option
        self.fault = fault


class StoreUnavailable(ManagerError):
    """The database is away, locked, full or read-only: nothing of the call is stored, and it may succeed later."""


class ApiError(GatewayError):
    """An error of the Edge API: `code` as AWS names it, `status` as AWS gives it with that code.

    `headers`: of the response.
    """

    def __init__(self, code: str, message: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}

    def body(self) -> dict[str, str]:
        """The JSON of the response. The service model spells the member of InternalServiceException with a capital."""
        key = "Message" if self.code == "InternalServiceException" else "message"
        return {"__type": self.code, key: self.message}


class S3Error(GatewayError):
    """An error of the S3 API. `details` become elements of the XML, `headers` those of the response."""

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
        elements = {"Code": self.code, "Message": self.message, **self.details, "RequestId": request_id}
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'


def validation_error(message: str) -> ApiError:
    """The types of the input are right, but a value breaks a limit."""
    return ApiError("ValidationException", message)


def serialization_error(message: str) -> ApiError:
    """The body is not JSON, or a member has another type than in the service model."""
    return ApiError("SerializationException", message)


def no_such_key(key: str) -> S3Error:
    """The bucket exists and the key does not."""
    return S3Error("NoSuchKey", "The specified key does not exist.", 404, {"Key": key})


def no_such_bucket(bucket: str) -> S3Error:
    return S3Error("NoSuchBucket", "The specified bucket does not exist", 404, {"BucketName": bucket})
