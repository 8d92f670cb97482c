"""A device as a program of its own: `live.py PORT SCENARIO`, started by the tests in host/ under both runtimes.

Says on standard output what came of it, in one JSON line for each step. Needs a broker on the loopback.
"""

import errno
import json
import sys
import time

from device_sdk.agent import Agent
from device_sdk.mqtt import Mqtt, room
from device_sdk.pack import Packer
from device_sdk.port_mqtt import Port
from device_sdk.state import FileStore

LAYOUT = ["1.0.0", [["sys", "free-heap"], ["sys", "rssi"]], []]


def say(**values):
    print(json.dumps(values))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


def managed(port, path):
    """Beats every second until a plan has been carried out and its results are acked."""
    installed = []
    agent = Agent(
        LAYOUT,
        install=lambda definition: installed.append(definition.handle),
        remove=lambda definition: installed.remove(definition.handle),
        measure=lambda agent: agent.sample("rssi", -61),
        interval=1,
        store=FileStore(path),
    )
    device = Port(agent, "127.0.0.1", "fleet-a", "dev-1", port=port, timeout=2)
    while not agent.plans.have or agent.plans.results:
        device.step(200)
    device.close()
    say(have=agent.plans.have, installed=installed, bad=agent.bad)


def steady(port, count):
    """Heartbeats of the worked example's kind, QoS 1 with PUBACK, with the heap locked where it can be."""
    count = int(count)
    agent = Agent(LAYOUT, install=print, remove=print, measure=measure)
    agent.start(0, 1795458600, 4711)
    client = Mqtt("127.0.0.1", port, "steady")
    client.connect()
    topics = {"hello": b"edge/fleet-a/dev-1/hello", "hb": b"edge/fleet-a/dev-1/hb"}
    p = Packer(512, room(topics["hello"]))
    beat(agent, client, topics, p, 10)
    if sys.implementation.name == "micropython":
        import micropython

        micropython.heap_lock()
        try:
            beat(agent, client, topics, p, count)
        finally:
            micropython.heap_unlock()
    else:
        beat(agent, client, topics, p, count)
    say(sent=count)


def measure(agent):
    agent.sample(0, 81344)
    agent.sample(1, -61)


def beat(agent, client, topics, p, count):
    now = agent.now
    while count:
        now += 60
        while True:
            channel = agent.poll(now, p)
            if channel is None:
                break
            client.publish(topics[channel], p, 1, channel == "hello")
            agent.sent(channel)
            count -= channel == "hb"


def frozen(port, call):
    """One call while the broker is stopped, between "ready" and the line that the test writes."""
    client = Mqtt("127.0.0.1", port, "frozen", keepalive=1, timeout=700)
    p = Packer(100, room(b"edge/x"))
    p.any([1, 2])
    if call != "connect":
        client.connect()
    say(ready=True)
    sys.stdin.readline()
    start = time.time()
    try:
        if call == "connect":
            client.connect()
        elif call == "publish":
            client.publish(b"edge/x", p)
        elif call == "subscribe":
            client.subscribe(b"edge/y")
        else:
            while time.time() - start < 20:
                client.poll(500)
    except OSError as error:
        say(timed_out=error.args[0] == errno.ETIMEDOUT, seconds=time.time() - start)


def secure(port, der):
    """Over TLS: a message larger than a record's first piece goes to the broker and comes back."""
    import ssl

    with open(der, "rb") as file:
        certificate = file.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate)
    seen = []
    client = Mqtt(
        "localhost",
        port,
        "secure",
        tls=context,
        timeout=5000,
        size=4000,
        on_message=lambda *args: seen.append(args[3] - args[2]),
    )
    client.connect()
    client.subscribe("edge/echo")
    p = Packer(3000, room(b"edge/echo"))
    p.any(["x" * 1000] * 2)
    for _ in range(3):
        client.publish(b"edge/echo", p)
    while len(seen) < 3:
        client.poll(5000)
    client.disconnect()
    say(seen=seen)


if __name__ == "__main__":
    {"managed": managed, "steady": steady, "frozen": frozen, "secure": secure}[sys.argv[2]](
        int(sys.argv[1]), sys.argv[3]
    )
