"""Random heartbeats: the same bytes from both runtimes, and the gateway reads each as the device meant it."""

import os
import subprocess

from gateway.protocol import decoder
from gateway.protocol.messages import ModelSamples, Result
from tests.device.random_heartbeats import digest, heartbeats
from tests.support.paths import DEVICE_TESTS, ROOT

COUNT = int(os.environ.get("SDK_BEATS", "3000"))
STATES = {1: "DEPLOY", 0: "UNDEPLOY"}
STATUSES = {1: "SUCCESS", 0: "FAIL"}


def series(samples) -> list:
    """A cell as [(number, age), ...]."""
    if samples is None:
        return []
    return list(zip(samples[::2], samples[1::2])) if isinstance(samples, tuple) else [(samples, 0)]


def row(cells, width: int) -> list:
    return [series(cell) for cell in cells] + [[]] * (width - len(cells))


def model(decoded: ModelSamples | None, meant: list) -> list:
    if decoded is None:
        return [None, None, [[]] * len(meant[2])]
    return [decoded.sample_age, decoded.inference_age, row(decoded.metrics, len(meant[2]))]


def result(decoded: Result | None):
    if decoded is None:
        return None
    rows = [(m.handle, m.name, m.version, m.desired, m.state, m.status, m.reason) for m in decoded.models or ()]
    return decoded.deployment, decoded.status, decoded.message, decoded.start_age, decoded.end_age, rows


def expected(meant):
    if meant is None:
        return None
    rows = [(*row[:3], STATES[row[3]], STATES[row[4]], STATUSES[row[5]], row[6]) for row in meant[5]]
    return (*meant[:5], rows)


def test_the_gateway_reads_what_the_device_meant():
    for (tag, time, have, deployment, seq, values, models), payload in heartbeats(COUNT):
        decoded = decoder.decode_heartbeat(payload)
        assert (decoded.source, decoded.time, decoded.have, decoded.seq) == (tag, time, have, seq)
        assert result(decoded.result) == expected(deployment)
        assert row(decoded.values, len(values)) == values
        padded = [*decoded.models, *[None] * (len(models) - len(decoded.models))]
        assert [model(*pair) for pair in zip(padded, models)] == models


def test_both_runtimes_write_the_same_bytes(micropython):
    command = [micropython, "-X", "heapsize=4m", str(DEVICE_TESTS / "random_heartbeats.py"), str(COUNT)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert said.stdout.strip() == digest(COUNT), said.stderr
