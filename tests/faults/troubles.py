"""What an Edge Manager can do to its clients, as values; and when it does it: by share, by device, by time.

Nothing here acts: cloud.py carries it out.
"""

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum


class End(Enum):
    """How a call ends."""

    ANSWER = "an answer"
    RESET = "a reset before anything was done"
    LOST = "accepted, and a reset instead of the answer"
    HALF = "half an answer, then the end of the connection"
    HANG = "no answer at all"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One call's fate: after `delay` seconds, an answer of that status, error code and body, or no whole one.

    Only a call whose end is LOST, or ANSWER with status 200 and JSON's type, was accepted.
    """

    status: int = 200
    code: str = ""
    body: bytes | None = None
    kind: str = "application/json"
    delay: float = 0.0
    end: End = End.ANSWER

    @property
    def accepts(self) -> bool:
        return self.end is End.LOST or (self.end is End.ANSWER and self.status == 200 and "json" in self.kind)


Judge = Callable[[str, str], Trouble | None]
"""Operation and device -> what goes wrong with this call; None: nothing."""

FINE = Trouble()
DOWN = Trouble(503, "ServiceUnavailable")
EXPIRED = Trouble(403, "ExpiredTokenException")
SKEWED = Trouble(403, "RequestTimeTooSkewed")
PAGE = Trouble(200, body=b"<html><body>Welcome to nginx!</body></html>", kind="text/html")

KINDS = {
    "429": Trouble(429, "TooManyRequestsException"),
    "500": Trouble(500),
    "503": DOWN,
    "InternalServiceException as 400": Trouble(400, "InternalServiceException"),
    "reset": Trouble(end=End.RESET),
    "accepted, answer lost": Trouble(end=End.LOST),
    "half an answer": Trouble(end=End.HALF),
    "hang": Trouble(end=End.HANG),
    "wrong JSON": Trouble(200, body=b'{"DeviceRegistration": "REGIS'),
    "wrong JSON with 500": Trouble(500, body=b'{"__type": "Internal'),
    "expired credentials": EXPIRED,
    "a page": PAGE,
    "a page with 502": Trouble(502, body=PAGE.body, kind=PAGE.kind),
    "late": Trouble(delay=0.3),
}


def always(trouble: Trouble) -> Judge:
    return lambda operation, device: trouble


def share(trouble: Trouble, part: float, seed: int = 5) -> Judge:
    """That part of all calls, the same ones in every run."""
    drawn = random.Random(seed)
    return lambda operation, device: trouble if drawn.random() < part else None


def only(devices: Collection[str], judge: Judge) -> Judge:
    """For these devices; all others are fine."""
    return lambda operation, device: judge(operation, device) if device in devices else None


def during(seconds: float, judge: Judge) -> Judge:
    """For so long, from now on."""
    end = time.monotonic() + seconds
    return lambda operation, device: judge(operation, device) if time.monotonic() < end else None


def fine(operation: str, device: str) -> Trouble | None:
    """Nothing goes wrong."""
    return None
