"""The example of a board that sleeps deeply, one program for each wake: it carries out plans first, and what a wake
costs in round trips.
"""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT
from tests.support.processes import running

from .test_pages import NETWORK

MODEL = bytes(range(256)) * 8
PLAN = [7, [["deploy-7", 0, [["kws", 1, hashlib.sha1(MODEL, usedforsecurity=False).digest(), len(MODEL)]]]]]
MACHINE = """
import sys
DEEPSLEEP_RESET = 4
class ADC:
    def __init__(self, pin): pass
    def read_uv(self): return 3300000
class RTC:
    def memory(self, data=None):
        if data is None:
            with open("rtc") as file:
                return file.read()
        with open("rtc", "w") as file:
            file.write(data)
def reset_cause():
    try:
        open("slept").close()
        return 4
    except OSError:
        return 1
def deepsleep(ms):
    open("slept", "w").close()
    sys.exit(0)
"""


@pytest.fixture(params=["cpython", "micropython"])
def wake(request, broker, tmp_path):
    """Starts the board's program; it ends when the board sleeps."""
    text = (ROOT / "device_sdk/examples/sleeper.py").read_text()
    names = '"broker.local", "fleet-a", "dev-000001", password="secret"'
    assert names in text
    text = text.replace(names, '"127.0.0.1", "fleet-a", "dev-1", port=PORT')
    (tmp_path / "network.py").write_text(NETWORK)
    (tmp_path / "machine.py").write_text(MACHINE)
    path = f"{tmp_path}:{ROOT}"
    command = [sys.executable] if request.param == "cpython" else [request.getfixturevalue("micropython")]
    environment = {**os.environ, "PYTHONPATH": path, "MICROPYPATH": f"{path}:.frozen"}

    def wake(awake=30, port=broker.port):
        program = text.replace("AWAKE = 60", f"AWAKE = {awake}").replace("port=PORT", f"port={port}")
        (tmp_path / "main.py").write_text(program)
        return running([*command, "main.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    return wake


def is_hb(channel, value):
    return channel == "hb"


def answer(gateway, read):
    digest, index, offset, length, count = [*read, 1][:5]
    for at in range(offset, min(offset + length * count, len(MODEL)), length):
        gateway.publish("block", [digest, index, at, len(MODEL), MODEL[at : at + length]])


def test_it_carries_out_a_plan_before_it_sleeps(wake, gateway, tmp_path):
    gateway.publish("plan", PLAN, retain=True)
    with wake() as board:
        while True:
            value = gateway.wait(lambda channel, value: channel == "read" or (channel == "hb" and len(value) > 5))
            if value[0] == 7:
                answer(gateway, value)
            else:
                break
        assert value[5][:2] == ["deploy-7", "SUCCESS"]
        assert board.poll() is None, "it slept before its result was acked"
        gateway.publish("ack", [value[6], 0, int(time.time())])
        assert board.wait(DEADLINE_S) == 0
    assert (tmp_path / "kws").read_bytes() == MODEL
    with wake() as board:  # nothing is under way: it sleeps after its heartbeat
        assert gateway.wait(is_hb)[4:] == [7]
        assert board.wait(DEADLINE_S) == 0


def test_a_wake_that_is_too_short_for_a_model_goes_on_at_the_next_one(wake, gateway):
    gateway.publish("plan", PLAN, retain=True)
    with wake(4) as board:
        offset, length = gateway.wait(lambda channel, value: channel == "read")[2:4]
        gateway.publish("block", [7, 0, offset, len(MODEL), MODEL[:length]])
        assert board.wait(DEADLINE_S) == 0
    with wake() as board:
        read = gateway.wait(lambda channel, value: channel == "read")
        assert read[2] == length


CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, DISCONNECT = 1, 2, 3, 4, 8, 14


class Packets:
    """The MQTT packets that one end sends, as (type, bytes)."""

    def __init__(self, sock):
        sock.settimeout(DEADLINE_S)
        self.sock = sock
        self.file = sock.makefile("rb")

    def next(self):
        head = self.file.read(2)
        while head[-1] & 128:
            head += self.file.read(1)
        size = sum((byte & 127) << 7 * i for i, byte in enumerate(head[1:]))
        return head[0] >> 4, head + self.file.read(size)

    def until(self, last):
        """Those up to the first for which `last(type, bytes)` is true."""
        packets = [self.next()]
        while not last(*packets[-1]):
            packets.append(self.next())
        return packets


def is_a(kind):
    return lambda type, packet: type == kind


def is_publish(type, packet):
    """What the device announces on `live` waits for nothing and nothing waits for it."""
    return type == PUBLISH and b"/live" not in packet


def packet_id(publish):
    at = 2
    while publish[at - 1] & 128:
        at += 1
    at += 2 + int.from_bytes(publish[at : at + 2], "big")
    return publish[at : at + 2]


def kinds(packets):
    return [type for type, packet in packets if type not in (PUBACK, PUBLISH) or is_publish(type, packet)]


def round_trips(wake, broker, *last):
    """What the device sends in one wake, by round trip: the types of the packets.

    The broker gets what the device sent up to a PUBLISH (first: CONNECT), and the device gets nothing before that. Then
    it gets what the broker sent up to the answer; after the PUBLISH, that is what `last` says, None: its PUBACK. So a
    device that needs a further answer before it publishes waits for ever.
    """
    sent = []
    with socket.create_server(("127.0.0.1", 0)) as server, wake(port=server.getsockname()[1]) as board:
        server.settimeout(DEADLINE_S)
        with server.accept()[0] as near, socket.create_connection(("127.0.0.1", broker.port)) as far:
            device, other = Packets(near), Packets(far)
            for asked, answer in ((is_a(CONNECT), is_a(CONNACK)), *((is_publish, each) for each in last)):
                packets = device.until(asked)
                sent.append(kinds(packets))
                puback = b"@\2" + packet_id(packets[-1][1])
                answer = answer or (lambda type, packet, puback=puback: packet == puback)
                far.sendall(b"".join(packet for _, packet in packets))
                near.sendall(b"".join(packet for _, packet in other.until(answer)))
            rest = device.until(is_a(DISCONNECT))
            far.sendall(b"".join(packet for _, packet in rest))
            assert board.wait(DEADLINE_S) == 0
    assert kinds(rest) == [DISCONNECT]
    assert b"/live" in b"".join(packet for _, packet in rest)
    return sent


def accept_result(gateway):
    seq = gateway.wait(lambda channel, value: channel == "hb" and len(value) > 5)[6]
    gateway.publish("ack", [seq, 0, int(time.time())])


def test_a_wake_costs_two_round_trips_and_three_with_a_plan(wake, gateway, broker):
    first = round_trips(wake, broker, None, None)
    assert first == [[CONNECT], [SUBSCRIBE, PUBLISH], [PUBLISH]]  # hello, heartbeat
    assert round_trips(wake, broker, None) == [[CONNECT], [PUBLISH]]
    gateway.publish("plan", [7, [["deploy-7", 0, [["old", 0]]]]], retain=True)
    cloud = threading.Thread(target=accept_result, args=(gateway,))
    cloud.start()
    ack = lambda type, packet: type == PUBLISH and b"/ack" in packet  # noqa: E731
    assert round_trips(wake, broker, None, ack) == [[CONNECT], [PUBLISH], [PUBLISH]]
    cloud.join()
    broker.kill()
    broker.start()  # it has lost its sessions
    gateway.subscribed()
    assert round_trips(wake, broker, None) == [[CONNECT], [SUBSCRIBE, PUBLISH]]
    assert round_trips(wake, broker, None) == [[CONNECT], [PUBLISH]]
