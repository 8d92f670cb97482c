"""What the fuzz begins with: each vector as a step of its own, and sequences in which one step leads to another."""

from collections.abc import Iterator, Sequence

import msgpack

from tests.fuzz.target import AFTERWARDS, CHANNELS, step
from tests.support import vectors
from tests.support.engine import OTHER

LAYOUT = ["1.0.0", [["sys", "free-heap"]], []]


def corpus() -> list[bytes]:
    """Inputs of the target, each of at most 64 KiB a step."""
    return [*_vectors(), *_stories()]


def _vectors() -> Iterator[bytes]:
    for file in ("messages.json", "malformed.json"):
        for vector in vectors.load(file, *CHANNELS):
            payload = vectors.payload(vector)
            if len(payload) < 1 << 16:
                yield step(vector["channel"], payload)


def _stories() -> Iterator[bytes]:
    """Heartbeats before their hello and behind it, a get, a read; after each of them anything that can happen."""
    hello, clockless = ([7, LAYOUT, epoch, 150] for epoch in (1_795_458_600, None))
    heartbeat = [7, 60, [1], None, 0, ["deploy-7", "SUCCESS"], 9]
    for what in AFTERWARDS:
        yield _steps(("live", [1, 60], what), ("hello", hello), ("hb", heartbeat), ("live", [0], what))
        yield _steps(("hb", heartbeat, what), ("hello", clockless, what), ("hb", heartbeat), ("hello", hello, what))
        yield _steps(("hello", hello), ("hb", heartbeat), ("hb", heartbeat), ("get", [0, 8]), ("hb", heartbeat, what))
        yield _steps(("hb", [LAYOUT, 60], what), ("read", [1, 0, 0, 64, 2], what), ("read", [1, 0, 0, 64], "accept"))
        yield _steps(("hb", heartbeat, what)) + step("hb", msgpack.packb(heartbeat), "confirm", OTHER)


def _steps(*messages: tuple[str, Sequence[object]] | tuple[str, Sequence[object], str]) -> bytes:
    """`messages`: channel, value, and what happens afterwards."""
    return b"".join(
        step(each[0], msgpack.packb(each[1]), each[2] if len(each) == 3 else "nothing") for each in messages
    )
