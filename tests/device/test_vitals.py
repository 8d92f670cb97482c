"""Vitals: those that the layout names are in each heartbeat, and a steady one allocates nothing for them."""

import gc

from device_sdk import vitals
from device_sdk.agent import Agent
from device_sdk.heartbeat import Packer
from tests.device.support import NOW, read, written

NAMES = "uptime", "reconnects", "dropped-samples", "reset-cause", "free-heap", "lowest-free-heap"
LAYOUT = ["1.0.0", [["board", name] for name in NAMES] + [["room", "uptime"], ["room", "rssi"]], []]
HEAP = hasattr(gc, "mem_free")


def beats(agent, p, times):
    """The values of each heartbeat."""
    found = []
    for now in times:
        channel = agent.poll(now, p)
        while channel:
            if channel == "hb":
                found.append((read(written(p)) + [None])[2])
            agent.sent(channel)
            channel = agent.poll(now, p)
    return found


def made(layout=LAYOUT, **more):
    agent = Agent(layout, vitals=True, **more)
    agent.start(0, NOW, 4711, False)
    return agent


def test_each_vital_of_the_layout_is_sampled_before_measure():
    real = vitals.reset_cause
    vitals.reset_cause = lambda: 4
    try:
        agent = made(measure=lambda agent: agent.sample("rssi", -60), keep=8)
        agent.open = 3
        first, second = beats(agent, Packer(512, 0), (0, 60))
    finally:
        vitals.reset_cause = real
    assert first[:4] == [0, 2, 0, 4]
    assert second[:4] == [60, 2, 0, 4]
    assert first[6:] == [0, -60]
    if HEAP:
        assert first[4] > 1000
        assert second[5] <= first[5] <= first[4]
        assert second[5] <= second[4]
    else:
        assert first[4:6] == [None, None]


def test_what_was_dropped_and_a_device_that_never_connected():
    agent = made(["1.0.0", [["board", "dropped-samples"], ["board", "reconnects"]], []], keep=2)
    for now in range(0, 300, 60):
        agent.update(now)
    assert agent.lost[0] == 8
    assert beats(agent, Packer(99, 0), (299,)) == [[[6, 59], [0, 59]]], "what was lost when it was measured"


def test_a_layout_without_vitals_has_none():
    agent = made(["1.0.0", [["room", "rssi"]], []])
    assert beats(agent, Packer(99, 0), (0,)) == [None]
    assert agent.error is None


def beat(agent, p, now):
    while agent.poll(now, p):
        agent.sent("hb")


def test_a_steady_heartbeat_allocates_nothing():
    if not HEAP:
        return
    import micropython

    real = vitals.reset_cause
    vitals.reset_cause = int
    try:
        agent = made()
        p = Packer(512, 0)
        beats(agent, p, (0, 60, 120))
        micropython.heap_lock()
        try:
            for now in range(180, 3000, 60):
                beat(agent, p, now)
        finally:
            micropython.heap_unlock()
    finally:
        vitals.reset_cause = real
    assert agent.error is None
