"""The part of sdk_budgets.py that runs on MicroPython: `sdk_board.py FIGURE [PORT]`, one JSON line out.

A heap that is locked raises MemoryError at the first byte that is asked for: reaching the end is the figure 0.
"""

import gc
import sys

LAYOUT = [
    "1.0.0",
    [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]],
    [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]],
]
ROOT = "edge/fleet-a/dev-000001/"


def heap(modules):
    gc.collect()
    before = gc.mem_alloc()
    for module in modules.split(","):
        __import__("device_sdk." + module)
    gc.collect()
    print(gc.mem_alloc() - before)


def measure(agent):
    agent.inference(0, agent.now - 4)
    agent.sample("free-heap", 81344)
    agent.sample("rssi", -61)
    agent.sample("temperature", 365)
    agent.sample("keyword-spotting/latency-ms", 12)
    agent.sample("keyword-spotting/confidence", 50)


def made():
    from device_sdk.agent import Agent

    agent = Agent(LAYOUT, print, print, measure)
    agent.start(0, 1795458600, 4711, False)
    agent.have = 735928559
    return agent


def packer():
    from device_sdk.pack import Packer

    return Packer(256, 14 + len(ROOT))


def encode():
    import time

    agent = made()
    p = packer()
    for now in (0, 0, 89):
        agent.sent(agent.poll(now, p))
    size = p.pos - p.start
    start = time.ticks_us()
    for _ in range(10000):
        agent.pack(p, 89)
    print([size, time.ticks_diff(time.ticks_us(), start) / 10000])


def beat(agent, client, topics, p, times):
    """Fills `times` with the microseconds of one publish each, the last first."""
    import time

    now = agent.now
    n = len(times)
    while n:
        now += 60
        channel = agent.poll(now, p)
        start = time.ticks_us()
        client.publish(topics[channel], p, 1, channel == "hello")
        n -= 1
        times[n] = time.ticks_diff(time.ticks_us(), start)
        agent.sent(channel)


def steady(port, count=10000):
    import micropython

    from device_sdk.mqtt import Mqtt, field

    agent = made()
    client = Mqtt("127.0.0.1", port, 2, ("dev-000001",), 60, None, 256, None)
    client.connect()
    p = packer()
    topics = {channel: field(ROOT + channel) for channel in ("hello", "hb")}
    beat(agent, client, topics, p, [0] * 2)  # hello, and a heartbeat in the first minutes, as the worked one is
    packet = p.pos - client.at
    times = [0] * count
    micropython.heap_lock()
    try:
        beat(agent, client, topics, p, times)
    finally:
        micropython.heap_unlock()
    times.sort()
    print([count, packet, times[count // 2]])


def agent(port):
    """The whole agent, its state in a file: beats until a plan has been carried out and 20 heartbeats arrived."""
    from device_sdk.agent import Agent
    from device_sdk.port import Port, in_file

    agent = Agent(LAYOUT, int, str, measure, 1, in_file("state"), 512, 8, "")
    way = Port(agent, "127.0.0.1", "fleet-a", "dev-000001", None, port)
    way.step(0)
    n = 0
    while n < 20 or not agent.have:
        agent.due = 0
        way.step(20)
        n += 1
        if way.error:
            raise way.error
    gc.collect()
    print(gc.mem_alloc())


if __name__ == "__main__":
    if sys.argv[1] == "heap":
        heap(sys.argv[2])
    elif sys.argv[1] == "encode":
        encode()
    elif sys.argv[1] == "steady":
        steady(int(sys.argv[2]))
    else:
        agent(int(sys.argv[2]))
