"""What the fuzz begins with: each vector as a step of its own, and stories in which one thing leads to another."""

from collections.abc import Iterator

import msgpack

from tests.fuzz.target import AFTERWARDS, OTHER, step
from tests.support import vectors

LAYOUT = ["1.0.0", [["sys", "free-heap"]], []]


def corpus() -> list[bytes]:
    """Inputs of the target, each of at most 64 KiB a step."""
    return [*_vectors(), *_stories()]


def _vectors() -> Iterator[bytes]:
    for file in ("messages.json", "malformed.json"):
        for vector in vectors.load(file, "hello", "hb", "get", "read"):
            payload = vectors.payload(vector)
            if len(payload) < 1 << 16:
                yield step(vector["channel"], payload)


def _stories() -> Iterator[bytes]:
    """Heartbeats before their hello and behind it, a get, a read; after each of them anything that can happen."""
    hello, clockless = ([7, LAYOUT, epoch, 150] for epoch in (1_795_458_600, None))
    heartbeat = [7, 60, [1], None, 0, ["deploy-7", "SUCCESS"], 9]
    for what in AFTERWARDS:
        yield _told(("hb", heartbeat, what), ("hello", clockless, what), ("hb", heartbeat), ("hello", hello, what))
        yield _told(("hello", hello), ("hb", heartbeat), ("hb", heartbeat), ("get", [0, 8]), ("hb", heartbeat, what))
        yield _told(("hb", [LAYOUT, 60], what), ("read", [1, 0, 0, 64, 2], what), ("read", [1, 0, 0, 64], "accept"))
        yield _told(("hb", heartbeat, what)) + step("hb", msgpack.packb(heartbeat), "confirm", OTHER)


def _told(*messages: tuple[str, list[object]] | tuple[str, list[object], str]) -> bytes:
    return b"".join(step(channel, msgpack.packb(value), *what) for channel, value, *what in messages)
