"""A request, and what answers it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gateway.manager.http.responses import Response
from gateway.manager.http.signatures import Authorization


class Receiver(Protocol):
    """Takes a body that is not held in memory, piece by piece.

    `error`: it takes no more. `on_change` is called where there is room again, or an error.
    """

    error: Exception | None
    on_change: Callable[[], None]

    @property
    def is_full(self) -> bool:
        """Whether the connection is to read no further for now."""

    def receive(self, data: bytes) -> None: ...

    def abandon(self) -> None:
        """The rest will not come, or nobody needs it any more."""


@dataclass(slots=True)
class Request:
    """A request as it was received. `target`: the raw path with its query, still percent-encoded.

    `known`: the last value of each header, by its name in lower case. `persistent`: another request may follow.
    `checked`: the handler has seen the head. `authorization`: of a head that was signed. `address`: of who sent it; ""
    is unknown. `keys_read`: what the check of the head waited for. `call`: what the handler keeps of the head.
    `receiver`: of the body; `body` then has what it was not given yet.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    known: dict[bytes, bytes]
    persistent: bool
    body: bytes = field(default=b"", repr=False)
    checked: bool = False
    authorization: Authorization | None = None
    address: str = ""
    keys_read: "asyncio.Future[Exception | None] | None" = None
    call: object = None
    receiver: Receiver | None = field(default=None, repr=False)

    @property
    def content_length(self) -> int:
        return int(self.known.get(b"content-length", b"0"))

    @property
    def has_body(self) -> bool:
        return self.content_length > 0 or b"transfer-encoding" in self.known


Respond: TypeAlias = Callable[[Response], None]


class Handler(Protocol):
    """Answers requests. It must never raise."""

    def check_head(self, request: Request) -> "Response | asyncio.Future[Exception | None] | None":
        """The response that needs no body, which is then not read; None: the body decides. Called once a request.

        A future: it is called once more when that is done, and nothing is read until then.
        """

    def too_large(self, request: Request) -> Response:
        """The response to a body that is longer than `Limits.max_body`."""

    def receiver_failed(self, request: Request) -> Response:
        """The response where the receiver has an error before the body is complete."""

    def handle(self, request: Request, respond: Respond) -> None:
        """Calls `respond` once, now or later, on the loop's thread."""
