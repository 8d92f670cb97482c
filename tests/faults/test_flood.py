"""One device floods the gateway beside others that behave."""

import statistics
import time

from tests.faults.device import Device
from tests.faults.scene import Scene, scaled

FLOOD = 10_000
"""Heartbeats a second of one device."""
RATE, BURST = 50, 200


def delays(devices: list[Device]) -> str:
    """The acks since it was asked last."""
    found = [delay for device in devices for delay in device.delays]
    for device in devices:
        device.delays.clear()
    return f"median {statistics.median(found) * 1000:.0f} ms, worst {max(found) * 1000:.0f} ms"


def test_a_flood_from_one_device(scene: Scene) -> None:
    """It is told code 7 for what is over its rate; the others are told nothing and lose nothing."""
    scene.gateway(device_rate=RATE, device_burst=BURST)
    scene.watch_dead()
    (loud,) = scene.join(1, prefix="loud")
    others = scene.join(scaled(20, 200))
    scene.load(scaled(100, 500), others)
    scene.go_on(scaled(1, 10))
    scene.rest()
    scene.until_through()
    alone = scene.ask(delays, others)
    began = time.monotonic()
    scene.load(FLOOD, [loud])
    scene.load(scaled(100, 500), others)
    scene.go_on(scaled(2, 10))
    scene.rest()
    scene.until_through()
    most = BURST + RATE * (time.monotonic() - began)
    flooded, behaved = scene.figures("loud"), scene.figures("d-")
    words = f"accepted of the flood {flooded.accepted:,} of {flooded.sent:,}"
    scene.close_books(f"{words}; acks of the others: {alone}, beside it {scene.ask(delays, others)}")
    assert flooded.told > 0
    assert flooded.accepted <= most + 1
    assert (behaved.told, behaved.accepted) == (0, behaved.sent)
