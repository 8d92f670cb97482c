"""What a connection may take of the server, by what it waits for. No I/O, no clock."""

from dataclasses import dataclass
from enum import Enum, auto

MAX_HEAD = 16 * 1024
"""Bytes of a request's head at most, and of one read."""
MAX_BODIES = 128 * 1024 * 1024
"""Bytes of unfinished bodies that all connections together hold."""

LEAST_RECEIVED = 64 * 1024
"""Bytes that a client which puts an object sends within `Limits.body` at least; all of it may take longer."""


class Waiting(Enum):
    """What a connection waits for."""

    FIRST = auto()
    """The first byte of the first request."""
    IDLE = auto()
    """The first byte of another request."""
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    """The handler."""
    READER = auto()
    """The client, which has not read what was sent."""
    END = auto()
    """The end of what the client still sends, after the last answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds in which the server works; each may be exceeded by twice `interval`. `max_body` in bytes."""

    connections: int = 4096
    max_body: int = 4 * 1024 * 1024
    head: float = 10.0
    body: float = 30.0
    idle: float = 75.0
    unread: float = 30.0
    end: float = 2.0
    interval: float = 1.0

    def seconds(self, waiting: Waiting) -> float:
        match waiting:
            case Waiting.FIRST | Waiting.HEAD:
                return self.head
            case Waiting.IDLE:
                return self.idle
            case Waiting.BODY:
                return self.body
            case Waiting.READER:
                return self.unread
            case Waiting.END:
                return self.end
            case Waiting.ANSWER:
                return float("inf")
