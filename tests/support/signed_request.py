"""A request with its body at hand, and the whole check of its signature."""

from dataclasses import dataclass, field
from datetime import datetime

from gateway.manager.http import AccessKey
from gateway.manager.http.signatures import RequestHead, check_body, check_head


@dataclass(frozen=True, slots=True)
class SignedRequest(RequestHead):
    body: bytes = field(repr=False)


def verify(request: SignedRequest, service: str, access_key: AccessKey, now: datetime) -> None:
    """As the manager does it, first the head. Raises SignatureError."""
    check_body(check_head(request, service, {access_key.id: access_key}.get, now), request.body)
