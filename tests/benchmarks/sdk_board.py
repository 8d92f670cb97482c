"""The part of sdk_figures.py that runs on MicroPython: `sdk_board.py FIGURE [ARGUMENT]`, one JSON line out.

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
ROOT = "edge/fleet-a/dev-000001/"
DEADLINE_MS = 500
PINGED_MS = 750  # of silence with a keepalive of a second: the deadline of a ping begins then


def measure(agent):
    """The worked heartbeat of PROTOCOL.md."""
    agent.inference(0, agent.now - 2)
    agent.sample("free-heap", 81344)
    agent.sample("rssi", -61)
    agent.sample("temperature", 365)
    agent.sample("keyword-spotting/latency-ms", 12)
    agent.sample("keyword-spotting/confidence", 50)


def made():
    from device_sdk.agent import Agent
    from device_sdk.pack import Packer

    agent = Agent(LAYOUT, print, print, measure)
    agent.start(0, 1795458600, 4711, False)
    agent.have = agent.digest = 735928559
    return agent, Packer(256, 14 + len(ROOT))


def connection(port):
    """The client, and the topics of its device."""
    from device_sdk.mqtt import Mqtt, field

    client = Mqtt("127.0.0.1", port, 2, ("dev-000001",), 60, None, 256, None)
    client.connect()
    client.poll(1)  # the poller makes its one tuple when it waits for the first time
    return client, {channel: field(ROOT + channel) for channel in ("hello", "hb")}


def say(agent, client, topics, p, now):
    """What is due, published; returns the microseconds until its PUBACK was there."""
    channel = agent.poll(now, p)
    start = time.ticks_us()
    client.publish(topics[channel], p, 1, channel == "hello")
    took = time.ticks_diff(time.ticks_us(), start)
    agent.sent(channel)
    return took


def fastest(call, n=1000):
    """Microseconds of one call, in the fastest of several rounds: others use this machine too."""
    best = None
    for _ in range(20):
        start = time.ticks_us()
        for _ in range(n):
            call()
        took = time.ticks_diff(time.ticks_us(), start) / n
        best = took if best is None else min(best, took)
    return best


def encode(_=None):
    """[bytes of the worked heartbeat, microseconds to write it, microseconds of json.dumps for its SendHeartbeat]."""
    agent, p = made()
    for now in (0, 0, 89):
        agent.sent(agent.poll(now, p))
    values = 81344, -61, 36.5, 12, 0.5
    metrics = [{"Dimension": "sys", "MetricName": "m", "Value": v, "Timestamp": 1795458689} for v in values]
    model = {"ModelName": "keyword-spotting", "ModelVersion": "1.0", "ModelMetrics": metrics[3:]}
    whole = {"AgentVersion": "1.0.0", "AgentMetrics": metrics[:3], "Models": [model]}
    whole["DeviceName"], whole["DeviceFleetName"] = "dev-000001", "fleet-a"
    print([p.pos - p.start, fastest(lambda: agent.pack(p, 89)), fastest(lambda: json.dumps(whole))])


def packet(port):
    """Publishes a hello and the worked heartbeat, once."""
    agent, p = made()
    client, topics = connection(int(port))
    for now in (0, 0, 89):
        say(agent, client, topics, p, now)
    print(1)


def steady(port, count=10000):
    """[heartbeats with their PUBACKs that were published under a locked heap, median microseconds of one]."""
    import micropython

    agent, p = made()
    client, topics = connection(int(port))
    for now in (0, 0, 89):
        say(agent, client, topics, p, now)
    times = [0] * count
    now = 89
    n = 0
    micropython.heap_lock()
    try:
        while n < count:
            now += 60
            times[n] = say(agent, client, topics, p, now)
            n += 1
    finally:
        micropython.heap_unlock()
    times.sort()
    print([count, times[count // 2]])


def agent(port):
    """The whole agent, its state and its model in files: beats until a plan with a download is carried out and told."""
    from device_sdk.agent import Agent
    from device_sdk.port import Port, in_file

    agent = Agent(LAYOUT, str, str, measure, 1, in_file("state"), 512, 8, "")
    way = Port(agent, "127.0.0.1", "fleet-a", "dev-000001", None, int(port))
    way.step(0)
    n = 0
    while n < 20 or not agent.have or agent.result:
        way.step(50)
        n += 1
        if way.error or agent.bad or n > 400:
            raise way.error or MemoryError("a message found no room")
    gc.collect()
    print(gc.mem_alloc())


def stopped(port):
    """{call: milliseconds that it took with the broker stopped}. Says "stop" and "go", and waits for an answer."""
    took = {}
    start = 0
    agent, p = made()
    agent.poll(0, p)
    client, topics = connection(int(port))
    client.timeout = DEADLINE_MS
    client.keepalive = 1

    def quiet():
        while True:
            client.poll(10)

    def flood():
        nonlocal start
        while True:
            start = time.ticks_ms()
            client.publish(topics["hb"], p, 0, False)

    calls = {
        "connect": client.connect,
        "subscribe": lambda: client.subscribe("edge/fleet-a/dev-000001/ack", 1),
        "publish": lambda: client.publish(topics["hb"], p, 1, False),
        "resend": client.resend,
        "poll": quiet,
        "full socket": flood,
    }
    for name in ("connect", "subscribe", "publish", "resend", "poll", "full socket"):
        if name != "connect":
            client.connect()
        ask("stop")
        start = time.ticks_ms()
        try:
            calls[name]()
        except OSError:
            took[name] = time.ticks_diff(time.ticks_ms(), start) - (PINGED_MS if name == "poll" else 0)
        client.close()
        ask("go")
        if name == "resend":
            client.unconfirmed = None
    print(json.dumps(took))


def ask(what):
    print(what)
    sys.stdin.readline()


FIGURES = {"encode": encode, "packet": packet, "steady": steady, "agent": agent, "stopped": stopped}

if __name__ == "__main__":
    FIGURES[sys.argv[1]](*sys.argv[2:])
