"""A device as a program of its own: `live.py PORT SCENARIO`, started by the tests in host/ under both runtimes.

Says on standard output what came of it, in one JSON line for each step. Needs a broker on the loopback.
"""

import json
import sys
import time

from device_sdk.agent import Agent
from device_sdk.backlog import Backlog
from device_sdk.heartbeat import Packer
from device_sdk.mqtt import Mqtt, field
from device_sdk.mqtt import time as ticks
from device_sdk.port import Port, in_file

LAYOUT = ["1.0.0", [["sys", "free-heap"], ["sys", "rssi"]], []]


def report(**values):
    print(json.dumps(values))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


def umqtt(port, path):
    """As `managed`, over a client of umqtt."""
    from device_sdk.port_umqtt import over
    from tests.device.umqtt_like import MQTTClient

    managed(port, path, mqtt=over(MQTTClient))


def managed(port, path, **more):
    """Beats every second until a plan has been carried out and its results are acked."""
    installed = []
    agent = Agent(
        LAYOUT,
        install=lambda definition: installed.append(definition.handle),
        remove=lambda definition: installed.remove(definition.handle),
        measure=lambda agent: agent.sample("rssi", -61),
        interval=1,
        store=in_file(path),
    )
    device = Port(agent, "127.0.0.1", "fleet-a", "dev-1", port=port, **more)
    device.client.timeout = 2000
    while not agent.have or agent.result:
        device.step(200)
    device.client.close()
    report(have=agent.have, installed=installed, bad=agent.bad)


def restless(port, text):
    """Does what plans say, for ever, whatever becomes of the broker; says which results were acked."""
    options = json.loads(text)
    beats = 0
    last_result = None

    def measure(agent):
        nonlocal beats
        beats += 1
        agent.sample("rssi", beats)

    nothing = lambda definition: None  # noqa: E731
    agent = Agent(LAYOUT, nothing, nothing, measure, 1, in_file(options["state"]))
    device = Port(agent, "127.0.0.1", options["fleet"], "d", options["password"], port)
    device.client.timeout = 1000
    while True:
        device.step(100)
        if last_result and not agent.result:
            report(acked=last_result, beats=beats)
        last_result = agent.result and agent.result[0]


def storing(port, first):
    """As `sampling`, from that number on; keeps on the disk what is not acked."""
    sampling(port, "state", int(first), made=Backlog, path="backlog", limit=65536)


def sampling(port, state, count=0, made=Agent, **more):
    """Beats every second for ever and says each sample, whatever becomes of the broker."""

    def measure(agent):
        nonlocal count
        count += 1
        agent.sample("rssi", count)
        report(sample=count)

    agent = made(LAYOUT, measure=measure, interval=1, store=in_file(state), **more)
    device = Port(agent, "127.0.0.1", "fleet-a", "dev-1", port=port)
    while True:
        device.step(200)


def steady(port, count):
    """Heartbeats of the worked example's kind, QoS 1 with PUBACK, with the heap locked where it can be."""
    count = int(count)
    agent = Agent(LAYOUT, install=print, remove=print, measure=measure)
    agent.start(0, 1795458600, 4711, False)
    client = connection(port, "steady", 60, None, 500, None)
    client.connect()
    topics = {channel: field("edge/fleet-a/dev-1/" + channel) for channel in ("hello", "hb")}
    p = Packer(512, 7 + len(topics["hello"]))
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
    report(sent=count)


def idle(port, count):
    """Steps of a loop in which nothing happens, with the heap locked where it can be."""
    agent = Agent(LAYOUT, install=print, remove=print, measure=measure, interval=1000)
    device = Port(agent, "127.0.0.1", "fleet-a", "dev-1", port=port)
    device.step(1000)  # hello and heartbeat
    device.step(10)
    if sys.implementation.name == "micropython":
        import micropython

        micropython.heap_lock()
        try:
            steps(device, int(count))
        finally:
            micropython.heap_unlock()
    else:
        steps(device, int(count))
    report(error=device.error and repr(device.error), open=device.client.open)


def steps(device, count):
    while count:
        device.step(1)
        count -= 1


def measure(agent):
    agent.sample("free-heap", 81344)
    agent.sample("rssi", -61)


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
    # The broker ends a connection that is silent for 1.5 times the keepalive, and may be stopped late.
    client = connection(port, "frozen", 3 if call == "poll" else 60, None, 100, None)
    p = Packer(100, 20)
    p.any([1, 2])
    if call != "connect":
        client.connect()
    report(ready=True)
    sys.stdin.readline()
    client.timeout = 700
    start = time.time()
    try:
        if call == "connect":
            client.connect()
        elif call == "publish":
            client.publish(field("edge/x"), p, 1, False)
        elif call == "subscribe":
            client.subscribe("edge/", ("y",), 1)
            client.publish(field("edge/x"), p, 1, False)
        else:
            while time.time() - start < 20:
                client.poll(500)
    except OSError as error:
        report(timed_out=error.args[0] != "closed", seconds=time.time() - start)


def secure(port, der):
    """Over TLS: a message larger than a record's first piece goes to the broker and comes back."""
    seen = []
    client = connection(port, "secure", 60, wrapper(der), 4000, lambda topic, payload: seen.append(len(payload)))
    client.connect()
    client.subscribe("edge/", ("echo",), 1)
    p = Packer(3000, 20)
    p.any(["x" * 1000] * 2)
    for _ in range(3):
        client.publish(field("edge/echo"), p, 1, False)
    while len(seen) < 3:
        client.poll(5000)
    client.disconnect()
    report(seen=seen)


def slow(port, text):
    """Receives one message over TLS by way of another port, and waits at most a second for a byte."""
    options = json.loads(text)
    seen = []
    client = connection(
        options["port"], "slow", 60, wrapper(options["der"]), 4000, lambda topic, payload: seen.append(len(payload))
    )
    client.timeout = 1000
    client.connect()
    client.subscribe("edge/", ("slow",), 1)
    while not client.granted:
        client.poll(100)
    report(ready=True)
    while not seen:
        client.poll(100)
    report(seen=seen)


def wrapper(der):
    import ssl

    with open(der, "rb") as file:
        certificate = file.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate)
    if sys.implementation.name == "micropython":
        return lambda sock, host: context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    from device_sdk.host import tls

    return tls(context)


def silent(port, text):
    """Connects to a name that has addresses where nothing answers before the broker's; a watchdog is fed meanwhile."""
    import device_sdk.mqtt

    options = json.loads(text)
    real = device_sdk.mqtt.socket

    class names:  # noqa: N801
        socket = real.socket

        @staticmethod
        def getaddrinfo(host, port, family, type):
            found = []
            for each in options["silent"] + [port]:
                found += real.getaddrinfo("127.0.0.1", each, family, type)
            return found

    device_sdk.mqtt.socket = names
    tls = options["der"] and wrapper(options["der"])
    device = Port(Agent(LAYOUT), "localhost", "fleet-a", "dev-1", port=port, tls=tls)
    device.client.timeout = 2000
    fed = [ticks.ticks_ms()]
    device.feed = lambda: fed.append(ticks.ticks_ms())
    start = fed[0]
    while device.error or device.client.p or not device.client.open:
        device.step(1000)
    device.feed()
    pauses = [ticks.ticks_diff(fed[i + 1], fed[i]) for i in range(len(fed) - 1)]
    report(waits=sorted([each for each in pauses if each > 500]), took=ticks.ticks_diff(fed[-1], start))


def listening(port, other):
    """A device that only receives, from the broker at the other port, until that ends the connection."""
    seen = []
    client = connection(int(other), "listening", 1, None, 100, lambda topic, payload: seen.append(1))
    client.connect()
    try:
        while True:
            client.poll(100)
    except OSError:
        report(seen=len(seen))


def connection(port, name, keepalive, tls, size, on_message):
    return Mqtt("localhost" if tls else "127.0.0.1", port, 2, (name,), keepalive, tls, size, on_message)


if __name__ == "__main__":
    scenarios = managed, umqtt, restless, sampling, storing, steady, idle, frozen, secure, slow, silent, listening
    {each.__name__: each for each in scenarios}[sys.argv[2]](int(sys.argv[1]), sys.argv[3])
