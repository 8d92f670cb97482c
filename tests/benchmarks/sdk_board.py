"""The part of sdk_budgets.py that runs on MicroPython: `sdk_board.py FIGURE PORT`, one JSON line out.

A heap that is locked raises MemoryError at the first byte that is asked for: reaching the end is the figure 0.
"""

import gc
import json
import sys
import time

LAYOUT = [
    "1.0.0",
    [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]],
    [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]],
]


def measure(agent):
    for slot, value in ((0, 81344), (1, -61), (2, 365), (3, 12), (4, 50)):
        agent.sample(slot, value)


def heap(modules):
    gc.collect()
    before = gc.mem_alloc()
    for module in modules:
        __import__("device_sdk." + module)
    gc.collect()
    return gc.mem_alloc() - before


def agent():
    from device_sdk.agent import Agent

    agent = Agent(LAYOUT, print, print, measure)
    agent.start(0, 1795458600, 4711)
    agent.plans.have = 735928559
    return agent


def encode():
    from device_sdk.pack import Packer

    device = agent()
    p = Packer(256)
    device.poll(0, p)
    device.sent("hello")
    device.poll(0, p)
    size = p.pos
    beat = device.heartbeat
    start = time.ticks_us()
    for _ in range(10000):
        beat.pack(p, 4711, 89, 0, 735928559)
    return {"bytes": size, "us": time.ticks_diff(time.ticks_us(), start) / 10000}


TOPICS = {"hello": b"edge/fleet-a/dev-000001/hello", "hb": b"edge/fleet-a/dev-000001/hb"}


def beat(device, client, p, times):
    """Fills `times` with the microseconds of one publish each, the last first."""
    now = device.now
    n = len(times)
    while n:
        now += 60
        channel = device.poll(now, p)
        start = time.ticks_us()
        client.publish(TOPICS[channel], p, 1, channel == "hello")
        n -= 1
        times[n] = time.ticks_diff(time.ticks_us(), start)
        device.sent(channel)


def steady(port, count=10000):
    import micropython

    from device_sdk.mqtt import Mqtt, room
    from device_sdk.pack import Packer

    device = agent()
    client = Mqtt("127.0.0.1", port, "fleet-a/dev-000001")
    client.connect()
    p = Packer(256, room(TOPICS["hello"]))
    beat(device, client, p, [0] * 2)  # hello, and a heartbeat in the first minutes, as the worked one is
    packet = p.pos - client._at
    times = [0] * count
    micropython.heap_lock()
    try:
        beat(device, client, p, times)
    finally:
        micropython.heap_unlock()
    times.sort()
    return {"heartbeats": count, "allocated": 0, "packet": packet, "p50_us": times[count // 2]}


if __name__ == "__main__":
    figure = sys.argv[1]
    if figure == "heap":
        print(json.dumps(heap(sys.argv[2].split(","))))
    else:
        print(json.dumps(encode() if figure == "encode" else steady(int(sys.argv[2]))))
