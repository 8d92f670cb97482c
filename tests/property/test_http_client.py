"""The response to a request is its own and the final one, whatever the service sends before it and however it is cut.

The connection of `cloud/http_client.py` is fed by hand; only the socket is replaced.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cloud.http_client import ClientConnection, ConnectionPool, HttpOrigin, HttpResponse
from gateway.errors import CloudError

ORIGIN = HttpOrigin("127.0.0.1", 1, None, 1, 60.0, 60.0)


class Socket(asyncio.Transport):
    """Takes what is written; knows whether it was closed."""

    closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed

    def abort(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Answer:
    """What the service sends for one request: interim heads, and the final response in one of two forms."""

    interim: tuple[int, ...]
    status: int
    body: bytes
    chunked: bool

    def wire(self) -> bytes:
        heads = b"".join(b"HTTP/1.1 %d I\r\nX-Interim: 1\r\n\r\n" % each for each in self.interim)
        if self.chunked:
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in self.body) + b"0\r\n\r\n"
            return heads + b"HTTP/1.1 %d F\r\nTransfer-Encoding: chunked\r\n\r\n" % self.status + chunks
        return heads + b"HTTP/1.1 %d F\r\nContent-Length: %d\r\n\r\n" % (self.status, len(self.body)) + self.body


ANSWERS = st.builds(
    Answer,
    st.lists(st.sampled_from([100, 102, 103, 199]), max_size=3).map(tuple),
    st.sampled_from([200, 201, 299, 300, 400, 404, 500, 503, 599]),
    st.binary(max_size=12),
    st.booleans(),
)
SURPLUS = st.sampled_from([b"", b"H", b"HTTP/1.1 103 I\r\n\r\n"]) | ANSWERS.map(Answer.wire)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` cut at these offsets; no piece is empty."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


async def exchange(answers: Sequence[Answer], cuts: Sequence[int], surplus: bytes) -> None:
    """One request after the other; `surplus` follows the last response, cut with it."""
    pool, socket = ConnectionPool(ORIGIN), Socket()
    connection = ClientConnection(pool)
    connection.connection_made(socket)
    for number, answer in enumerate(answers):
        received: list[HttpResponse | CloudError] = []
        connection.send(b"POST / HTTP/1.1\r\n\r\n", received.append)
        for piece in pieces(answer.wire() + (surplus if number == len(answers) - 1 else b""), cuts):
            if not socket.closed:
                connection.data_received(piece)
        (response,) = received
        assert isinstance(response, HttpResponse)
        assert (response.status, response.body) == (answer.status, answer.body)
        assert "x-interim" not in response.headers
    assert socket.closed == bool(surplus)
    pool.close()


@settings(max_examples=300)
@given(st.lists(ANSWERS, min_size=1, max_size=4), CUTS, SURPLUS)
def test_each_request_gets_its_own_final_response(answers: list[Answer], cuts: list[int], surplus: bytes) -> None:
    asyncio.run(exchange(answers, cuts, surplus))
