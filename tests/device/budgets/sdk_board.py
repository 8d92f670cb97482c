"""The part of sdk_budgets.py that runs on MicroPython: `sdk_board.py FIGURE [PORT]`, one JSON line out.

A heap that is locked raises MemoryError at the first byte that is asked for: reaching the end is the figure 0.
"""

import sys

LAYOUT = [
    "1.0.0",
    [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]],
    [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]],
]
ROOT = "edge/fleet-a/dev-000001/"

METRIC = [["sys", "free-heap", 81344], ["sys", "rssi", -61], ["sys", "temperature", 36.5]]
MODEL = [["sys", "latency-ms", 12], ["sys", "confidence", 0.5]]
TIME = 1795458689


def metrics(rows):
    return [dict(zip(("Dimension", "MetricName", "Value", "Timestamp"), row + [TIME])) for row in rows]


SEND_HEARTBEAT = {
    "AgentMetrics": metrics(METRIC),
    "Models": [
        {
            "ModelName": "keyword-spotting",
            "ModelVersion": "1.0",
            "LatestSampleTime": TIME - 4,
            "LatestInference": TIME - 2,
            "ModelMetrics": metrics(MODEL),
        }
    ],
    "AgentVersion": "1.0.0",
    "DeviceName": "dev-000001",
    "DeviceFleetName": "fleet-a",
}


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
    from device_sdk.heartbeat import Packer

    return Packer(256, 14 + len(ROOT))


def encode():
    import json

    agent = made()
    p = packer()
    for now in (0, 0, 89):
        agent.sent(agent.poll(now, p))
    print([p.pos - p.start, microseconds(lambda: agent.pack(p, 89)), microseconds(lambda: json.dumps(SEND_HEARTBEAT))])


def microseconds(call):
    """Of one call: the best of 20 batches, since other work on the machine only ever adds to it."""
    import time

    best = None
    for _ in range(20):
        start = time.ticks_us()
        for _ in range(500):
            call()
        took = time.ticks_diff(time.ticks_us(), start)
        best = min(best or took, took)
    return best / 500


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
    packet = p.pos - p.at
    times = [0] * count
    micropython.heap_lock()
    try:
        beat(agent, client, topics, p, times)
    finally:
        micropython.heap_unlock()
    times.sort()
    print([count, packet, times[count // 2]])


def late(port, call):
    """Microseconds by which a call outlasts its deadline, from "ready" to the line that says that the broker is
    stopped."""
    import time

    from device_sdk.mqtt import Mqtt, field

    client = Mqtt("127.0.0.1", port, 2, ("late",), 1, None, 256, None)
    client.timeout = 1000
    client.connect()
    p = packer()
    p.any(1)
    print("ready")
    sys.stdin.readline()
    start = time.ticks_us()
    try:
        if call == "publish":
            client.publish(field("a"), p, 1, False)
        elif call == "subscribe":
            client.subscribe("", ("a",), 1)
            client.publish(field("a"), p, 1, False)
        elif call == "connect":
            client.connect()
        else:
            while True:
                start = time.ticks_us()
                client.poll(0)
    except OSError:
        print(time.ticks_diff(time.ticks_us(), start) - 1000000)


if __name__ == "__main__":
    if sys.argv[1] == "encode":
        encode()
    elif sys.argv[1] == "steady":
        steady(int(sys.argv[2]))
    elif sys.argv[1] == "late":
        late(int(sys.argv[2]), sys.argv[3])
