"""The manager answers the same requests alike, however their bytes are cut: one answer each, in order.

The connection of `manager/http/connection.py` is fed by hand; only the socket is replaced.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.manager.http.connection import HttpConnection
from gateway.manager.http.limits import Limits
from gateway.manager.http.listener import ManagerServer
from gateway.manager.http.requests import Request, Respond
from gateway.manager.http.responses import PageContent, Response, page_response

MAX_BODY = 60
CHANGING = re.compile(rb"Date: [^\r]*|x-amzn-RequestId: [^\r]*|HTTP/1.1 100 Continue\r\n\r\n")


class Socket(asyncio.Transport):
    """Takes what is written; knows whether it is read, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Collector:
    """Takes a body; it is full until the next turn of the loop each time, and has an error after `most` bytes."""

    def __init__(self, most: float) -> None:
        self.error: Exception | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.is_full = False
        self.taken = b""
        self._most = most

    def receive(self, data: bytes) -> None:
        assert self.error is None
        self.taken += data
        if data:
            self.is_full = True
            asyncio.get_running_loop().call_soon(self._change)

    def abandon(self) -> None:
        self.on_change = lambda: None

    def _change(self) -> None:
        self.is_full = False
        if len(self.taken) > self._most:
            self.error = ValueError()
        self.on_change()


class Echo:
    """Answers with the request; later where a header says so. The head alone decides for the path /refused; the body
    of /received is not held."""

    def check_head(self, request: Request) -> Response | None:
        if request.target == "/received":
            request.receiver = Collector(float("inf"))
        return self._answer(request, 403) if request.target == "/refused" else None

    def too_large(self, request: Request) -> Response:
        return self._answer(request, 413)

    def receiver_failed(self, request: Request) -> Response:
        return self._answer(request, 400)

    def handle(self, request: Request, respond: Respond) -> None:
        if isinstance(request.receiver, Collector):
            request.body = request.receiver.taken + request.body
        answer = self._answer(request, 200)
        if b"x-later" in request.known:
            asyncio.get_running_loop().call_soon(respond, answer)
        else:
            respond(answer)

    def _answer(self, request: Request, status: int) -> Response:
        body = request.body if status == 200 else b""
        # In hexadecimal: what a request says must not look like a part of an answer.
        text = repr((request.method, request.target, request.headers, body)).encode().hex().encode()
        return page_response(PageContent("text/plain", text, status), "id")


@dataclass(frozen=True)
class Sent:
    """A request as its client sends it. `chunks`: the length of each part; empty: Content-Length."""

    method: str
    target: str
    headers: tuple[str, ...]
    body: bytes
    chunk: int

    def wire(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: x", *self.headers]
        if self.chunk:
            parts = [self.body[start : start + self.chunk] for start in range(0, len(self.body), self.chunk)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nX-Trailer: 1\r\n\r\n"
            lines.append("Transfer-Encoding: chunked")
        else:
            body = self.body
            lines += [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "", ""]).encode() + body


HEADERS = st.sampled_from(["X-Later: 1", "X-A: 1", "X-A: two  words", "Expect: 100-continue", "Connection: close"])
REQUESTS = st.builds(
    Sent,
    st.sampled_from(["POST", "GET", "HEAD", "PUT"]),
    st.sampled_from(["/", "/a%20b?c=%ff", "/refused", "/received", "/" + "x" * 100]),
    st.lists(HEADERS, max_size=3).map(tuple),
    st.binary(max_size=MAX_BODY + 20),
    st.integers(0, 30),
)
LAST = [
    b"",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
CUTS = st.lists(st.integers(0, 1500), max_size=12)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` cut at these offsets; no piece is empty."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


async def later_answers() -> None:
    """Each takes a turn of the loop."""
    for _ in range(12):
        await asyncio.sleep(0)


async def answers(sent: Sequence[bytes]) -> tuple[bytes, bool]:
    """What is written to a client that sends these pieces, without what changes; and whether it is closed then."""
    socket, server = Socket(), ManagerServer(Echo(), Limits(max_body=MAX_BODY))
    connection = HttpConnection(server)
    connection.connection_made(socket)
    for piece in sent:
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
        while socket.paused and not socket.closed:
            await later_answers()
    await later_answers()
    connection.connection_lost(None)
    assert server.held == 0
    return CHANGING.sub(b"", socket.written), socket.closed


@settings(max_examples=300)
@given(st.lists(REQUESTS, max_size=4), st.sampled_from(LAST), CUTS)
@example([Sent("POST", "/", ("X-Later: 1",), b"x", 1)] * 3, LAST[1], list(range(1500)))
def test_answers_do_not_depend_on_how_requests_are_cut(requests: list[Sent], last: bytes, cuts: list[int]) -> None:
    wire = b"".join(request.wire() for request in requests) + last
    whole = asyncio.run(answers([wire] if wire else []))
    assert asyncio.run(answers(pieces(wire, cuts))) == whole


@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_each_request_is_answered_in_order_until_the_last_one(requests: list[Sent]) -> None:
    written, closed = asyncio.run(answers([b"".join(request.wire() for request in requests)]))
    expected, ended = [], False
    for request in requests:
        is_held = request.target != "/received"
        status = 403 if request.target == "/refused" else 413 if is_held and len(request.body) > MAX_BODY else 200
        expected.append(status)
        refused = status != 200 and (bool(request.body) or bool(request.chunk))
        if ended := (refused or "Connection: close" in request.headers):
            break
    assert [int(each) for each in re.findall(rb"HTTP/1\.1 (\d+) ", written)] == expected
    assert closed == ended


@settings(max_examples=200)
@given(st.binary(max_size=300), CUTS)
def test_any_bytes_are_answered_or_waited_for(noise: bytes, cuts: list[int]) -> None:
    written, closed = asyncio.run(answers(pieces(noise, cuts)))
    assert closed == bool(written)
