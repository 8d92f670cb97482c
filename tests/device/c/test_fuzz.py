"""Any bytes and any order of events: no sanitizer finds anything in the C client. `C_FUZZ_ROUNDS` makes it longer."""

import os
import subprocess
from collections.abc import Iterator

from tests.support.vectors import load, payload

from .conftest import HERE, build

ROUNDS = os.environ.get("C_FUZZ_ROUNDS", "1000")
EVENTS = {"ack": 0, "plan": 1, "block": 2, "poll": 3, "sent": 5, "sample": 7, "report": 9, "file": 10, "time": 13}
"""As fuzz.c numbers them."""


def event(name: str, data: bytes = b"") -> bytes:
    return bytes([EVENTS[name], len(data)]) + data


def inputs() -> Iterator[bytes]:
    """Each vector for the decoders, and amid the events of a device that downloads a file and reports."""
    before = (
        *(event("poll"), event("sent"), event("sample", bytes(range(14))), event("poll"), event("sent")),
        *(event("plan", payload(load("messages.json", "plan")[1])), event("file", b"\0"), event("poll"), event("sent")),
    )
    after = event("report", b"deploy-7"), event("time"), event("poll"), event("sent"), event("poll")
    for file in ("messages.json", "malformed.json"):
        for vector in load(file, "plan", "ack", "block"):
            data = payload(vector)
            if len(data) < 200:
                yield b"\0" + data
                yield b"\1" + b"".join([*before, event(vector["channel"], data), *after])


def test_mutated_messages_and_events(tmp_path):
    corpus = []
    for number, data in enumerate(inputs()):
        corpus.append(tmp_path / str(number))
        corpus[-1].write_bytes(data)
    assert len(corpus) > 60
    fuzz = build(HERE / "fuzz.c", tmp_path / "fuzz")
    done = subprocess.run([fuzz, ROUNDS, *corpus], capture_output=True, text=True, timeout=max(100, int(ROUNDS) // 20))
    assert (done.returncode, done.stderr) == (0, "")
