"""The faults of an Edge Manager that the scenarios use, and rules that say when one comes: by share, device, time."""

import random
import time
from collections.abc import Collection

from tests.support.edge_manager import HTML, UNAVAILABLE, End, Reply, Request, Rule

EXPIRED = Reply(403, "ExpiredTokenException")
SKEWED = Reply(403, "RequestTimeTooSkewed")
PAGE = Reply(200, body="<html><body>Welcome to nginx!</body></html>", kind=HTML)

KINDS = {
    "429": Reply(429, "TooManyRequestsException"),
    "500": Reply(500),
    "503": UNAVAILABLE,
    "100 and 103, then 503": Reply(503, interim=(100, 103)),
    "InternalServiceException as 400": Reply(400, "InternalServiceException"),
    "reset": Reply(end=End.RESET),
    "accepted, answer lost": Reply(end=End.LOST),
    "half an answer": Reply(end=End.HALF),
    "hang": Reply(end=End.HANG),
    "wrong JSON": Reply(200, body='{"DeviceRegistration": "REGIS'),
    "wrong JSON with 500": Reply(500, body='{"__type": "Internal'),
    "expired credentials": EXPIRED,
    "a page": PAGE,
    "a page with 502": Reply(502, body=PAGE.body, kind=PAGE.kind),
    "late": Reply(delay=0.3),
}


def share(reply: Reply, part: float, seed: int = 5) -> Rule:
    """That part of all calls, the same ones in every run."""
    drawn = random.Random(seed)
    return lambda request: reply if drawn.random() < part else None


def only(devices: Collection[str], rule: Rule) -> Rule:
    """For these devices; the calls of all others are accepted."""
    return lambda request: rule(request) if request.device in devices else None


def during(seconds: float, rule: Rule) -> Rule:
    """For so long, from now on."""
    end = time.monotonic() + seconds

    def until_then(request: Request) -> Reply | None:
        return rule(request) if time.monotonic() < end else None

    return until_then
