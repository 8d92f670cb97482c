"""The MQTT 3.1.1 client byte for byte, against a broker that is a script: what it writes, and which input it
survives."""

import queue
import socket
import threading
import time

import pytest

from device_sdk.heartbeat import Packer
from device_sdk.mqtt import Mqtt, field
from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import DEADLINE_S

TOPIC = field("edge/f/d/hb")
CONNACK = b"\x20\x02\x00\x00"


class Peer:
    """One end of a connection, read packet by packet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE_S)
        self.sock = sock

    def packet(self) -> bytes:
        head = self._exactly(2)
        while head[-1] & 128:
            head += self._exactly(1)
        size = sum((byte & 127) << 7 * i for i, byte in enumerate(head[1:]))
        return head + self._exactly(size)

    def _exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            assert more, "the client closed the connection"
            data += more
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


class Scripted:
    """scripted(first, second, ...): each connection runs its script(peer) in a thread; join() ends with its error."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(DEADLINE_S)
        self._errors: queue.Queue = queue.Queue()
        self._thread: threading.Thread | None = None

    def __call__(self, *scripts) -> int:
        self._thread = threading.Thread(target=self._serve, args=(scripts,))
        self._thread.start()
        return self._server.getsockname()[1]

    def _serve(self, scripts) -> None:
        try:
            for script in scripts:
                with self._server.accept()[0] as sock:
                    script(Peer(sock))
        except Exception as error:
            self._errors.put(error)

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the script did not end"
        self._server.close()
        if not self._errors.empty():
            raise self._errors.get()


@pytest.fixture
def scripted():
    scripted = Scripted()
    yield scripted
    scripted.join()


def client(port: int, timeout=30_000, flags=2, fields=("me",), keepalive=60, size=1200, on_message=None) -> Mqtt:
    client = Mqtt("127.0.0.1", port, flags, fields, keepalive, None, size, on_message or (lambda *args: None))
    client.timeout = timeout
    return client


def message(value=5) -> Packer:
    p = Packer(200, 7 + len(TOPIC))
    p.any(value)
    return p


def accept(peer: Peer) -> bytes:
    packet = peer.packet()
    peer.send(CONNACK)
    return packet


def test_connect_has_client_id_will_login_and_keepalive(scripted):
    seen = []
    port = scripted(lambda peer: seen.append(accept(peer)))
    client(port, flags=0xEC, fields=("me", "w", b"gone", "f/d", "pw"), keepalive=300).connect()
    scripted.join()
    body = b"\x00\x04MQTT\x04\xec\x01\x2c\x00\x02me\x00\x01w\x00\x04gone\x00\x03f/d\x00\x02pw"
    assert seen == [bytes((0x10, len(body))) + body]


def test_a_long_connect_has_a_length_of_two_bytes(scripted):
    seen = []
    port = scripted(lambda peer: seen.append(accept(peer)))
    client(port, flags=192, fields=("me", "u" * 100, "p" * 100)).connect()
    scripted.join()
    assert len(seen[0]) == 10 + 4 + 102 * 2 + 3


def test_a_password_may_be_long(scripted):
    seen = []
    port = scripted(lambda peer: seen.append(accept(peer)))
    client(port, flags=192, fields=("me", "u", "p" * 20000)).connect()
    scripted.join()
    assert len(seen[0]) == 10 + 4 + 3 + 20002 + 4


@pytest.mark.parametrize("present", [0, 1])
@pytest.mark.parametrize("before", [False, True])
def test_topics_are_granted_where_the_broker_has_kept_the_session_and_had_granted_them(scripted, present, before):
    def script(peer: Peer) -> None:
        peer.packet()
        peer.send(bytes((0x20, 2, present, 0)))

    device = client(scripted(script))
    device.granted = before
    device.connect()
    assert bool(device.granted) == bool(present and before)


def test_a_refused_connect_has_the_brokers_code(scripted):
    def script(peer: Peer) -> None:
        peer.packet()
        peer.send(b"\x20\x02\x00\x05")

    device = client(scripted(script))
    with pytest.raises(OSError) as error:
        device.connect()
    assert error.value.args == ("refused", 5)


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(OSError):
            client(probe.getsockname()[1]).connect()


def test_a_publish_is_one_packet_and_returns_with_its_puback(scripted):
    seen = []

    def script(peer: Peer) -> None:
        accept(peer)
        for _ in range(2):
            seen.append(peer.packet())
            peer.send(b"\x40\x02" + seen[-1][-3:-1])
        seen.append(peer.packet())

    device = client(scripted(script))
    device.connect()
    device.publish(TOPIC, message(), 1, False)
    device.publish(TOPIC, message(), 1, True)
    device.publish(TOPIC, message(), 0, False)
    scripted.join()
    topic = b"\x00\x0bedge/f/d/hb"
    assert seen == [
        b"\x32\x10" + topic + b"\x00\x01\x05",
        b"\x33\x10" + topic + b"\x00\x01\x05",
        b"\x30\x0e" + topic + b"\x05",
    ]


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (112, b"\x32\x7f"),
        (113, b"\x32\x80\x01"),
        (16368, b"\x32\xff\x7f"),
        (16369, b"\x32\x80\x80\x01"),
        (99999, b"\x32\xae\x8d\x06"),
    ],
)
def test_every_width_of_the_remaining_length(scripted, size, head):
    seen = []

    def script(peer: Peer) -> None:
        accept(peer)
        seen.append(peer.packet())
        peer.send(b"\x40\x02\x00\x01")

    device = client(scripted(script))
    device.connect()
    p = Packer(size, 6 + len(TOPIC))
    p.pos = p.start + size
    device.publish(TOPIC, p, 1, False)
    assert seen[0].startswith(head + b"\x00\x0bedge")
    assert len(seen[0]) == len(head) + 13 + 2 + size


def test_an_unconfirmed_publish_goes_again_with_dup_under_its_id(scripted):
    seen = []

    def lost(peer: Peer) -> None:
        accept(peer)
        seen.append(peer.packet())

    def again(peer: Peer) -> None:
        accept(peer)
        seen.append(peer.packet())
        peer.send(b"\x40\x02\x00\x09" + b"\x40\x02\x00\x01")  # an ack of something else first

    device = client(scripted(lost, again))
    device.connect()
    with pytest.raises(OSError):
        device.publish(TOPIC, message(), 1, False)
    device.connect()
    device.send(device.p, 8)
    assert device.p is None
    scripted.join()
    assert seen[1] == b"\x3a" + seen[0][1:]


def test_a_subscription_is_one_packet_and_a_publish_does_not_wait_for_its_answer(scripted):
    def script(peer: Peer) -> None:
        accept(peer)
        assert peer.packet() == b"\x82\x0e\xff\xff\x00\x03a/b\x01\x00\x03a/c\x01"
        assert peer.packet()[:1] == b"\x32"
        peer.send(b"\x90\x04\xff\xff\x01\x00" + b"\x40\x02\x00\x01")

    device = client(scripted(script))
    device.connect()
    device.subscribe("a/", ("b", "c"), 1)
    assert device.granted is None
    device.publish(TOPIC, message(), 1, False)
    assert device.granted is True


@pytest.mark.parametrize(
    "answers", [b"\x40\x02\x00\x01" + b"\x90\x03\xff\xff\x01", b"\x90\x03\xff\xff\x01" + b"\x40\x02\x00\x01"]
)
def test_a_publish_that_returns_has_the_subscription_granted_too_in_whatever_order_the_answers_come(scripted, answers):
    def script(peer: Peer) -> None:
        accept(peer)
        peer.packet()
        peer.packet()
        for byte in answers:
            peer.send(bytes((byte,)))

    device = client(scripted(script))
    device.connect()
    device.subscribe("a/", ("b",), 1)
    device.publish(TOPIC, message(), 1, False)
    assert (device.granted, device.p) == (True, None)


def test_a_denied_topic_is_an_error_of_the_call_that_reads_it_and_not_granted(scripted):
    def script(peer: Peer) -> None:
        accept(peer)
        peer.packet()
        peer.packet()
        peer.send(b"\x90\x04\xff\xff\x01\x80" + b"\x40\x02\x00\x01")

    device = client(scripted(script))
    device.connect()
    device.subscribe("a/", ("b", "c"), 1)
    with pytest.raises(OSError, match="refused"):
        device.publish(TOPIC, message(), 1, False)
    assert not device.granted


def test_messages_come_in_while_a_publish_waits_and_are_acked(scripted):
    def script(peer: Peer) -> None:
        accept(peer)
        peer.packet()
        peer.send(b"\x30\x06\x00\x03a/bx" + b"\x32\x08\x00\x03a/b\x00\x07y")
        peer.send(b"\x40\x02\x00\x01")
        assert peer.packet() == b"\x40\x02\x00\x07"

    seen = []

    def on_message(topic, payload):
        seen.append((topic, bytes(payload)))

    device = client(scripted(script), on_message=on_message)
    device.connect()
    device.publish(TOPIC, message(), 1, False)
    assert seen == [(b"a/b", b"x"), (b"a/b", b"y")]


def test_a_packet_that_comes_byte_by_byte(scripted):
    def script(peer: Peer) -> None:
        peer.packet()
        for byte in CONNACK + b"\x32\x08\x00\x03a/b\x00\x07y":
            peer.send(bytes((byte,)))
        assert peer.packet() == b"\x40\x02\x00\x07"

    seen = []
    device = client(scripted(script), on_message=lambda topic, payload: seen.append(bytes(payload)))
    device.connect()
    assert device.poll(3000)
    assert seen == [b"y"]


def test_a_packet_larger_than_the_buffer_is_skipped_and_acked(scripted):
    def script(peer: Peer) -> None:
        accept(peer)
        body = b"\x00\x03a/b\x00\x07" + bytes(10000)
        peer.send(b"\x32" + bytes((len(body) & 127 | 128, len(body) >> 7)) + body + b"\x30\x06\x00\x03a/bx")
        assert peer.packet() == b"\x40\x02\x00\x07"

    seen = []
    device = client(scripted(script), size=64, on_message=lambda *args: seen.append(args[0]))
    device.connect()
    assert device.poll(3000)
    assert seen == []
    assert device.poll(3000)
    assert seen == [b"a/b"]


BROKEN = [b"\x32\x04\x00\xff\x00\x00", b"\x32\x02\x00\x00", b"\x30\xff\xff\xff\xff\x7f", b"\x30\x01\x00"]


@pytest.mark.parametrize("data", BROKEN)
def test_a_malformed_packet_ends_the_connection_and_nothing_else(scripted, data):
    def script(peer: Peer) -> None:
        accept(peer)
        peer.send(data)

    seen = []
    device = client(scripted(script), on_message=lambda *args: seen.append(args))
    device.connect()
    with pytest.raises(OSError):
        while True:
            device.poll(3000)
    assert seen == []


def test_a_flood_does_not_count_as_an_answer(scripted):
    def script(peer: Peer) -> None:
        accept(peer)
        peer.packet()
        with pytest.raises(OSError):
            while True:
                peer.send(b"\x30\x06\x00\x03a/bx")

    device = client(scripted(script))
    device.connect()
    device.timeout = 300
    with pytest.raises(OSError, match="deadline"):
        device.publish(TOPIC, message(), 1, False)
    device.close()


def test_what_comes_slowly_is_no_broken_connection(scripted):
    seen = []

    def script(peer: Peer) -> None:
        accept(peer)
        peer.packet()
        for byte in b"\x30\x0d\x00\x03a/b12345678" + b"\x40\x02\x00\x01":
            time.sleep(0.15)
            peer.send(bytes((byte,)))

    device = client(scripted(script), on_message=lambda topic, payload: seen.append(bytes(payload)))
    device.connect()
    device.timeout = 2000  # less than all of it takes
    device.publish(TOPIC, message(), 1, False)
    assert seen == [b"12345678"]
    device.close()


def test_an_idle_connection_is_pinged_and_a_silent_broker_noticed(scripted):
    pings = []

    def script(peer: Peer) -> None:
        accept(peer)
        pings.append(peer.packet())
        peer.send(b"\xd0\x00")
        pings.append(peer.packet())
        with pytest.raises((AssertionError, OSError)):
            peer.packet()

    device = client(scripted(script), keepalive=1, timeout=4000)
    device.connect()
    with pytest.raises(OSError, match="deadline"):
        while True:
            device.poll(100)
    device.close()
    scripted.join()
    assert pings == [b"\xc0\x00", b"\xc0\x00"]


def test_disconnect_sends_its_packet_and_close_does_not(scripted):
    last = []

    def script(peer: Peer) -> None:
        accept(peer)
        last.append(peer.sock.recv(10))

    port = scripted(script, script)
    device = client(port)
    device.connect()
    device.disconnect()
    device.connect()
    device.close()
    with pytest.raises(OSError):
        device.publish(TOPIC, message(), 0, False)
    scripted.join()
    assert last == [b"\xe0\x00", b""]


def addresses(*ports):
    return lambda host, port, *_: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", each)) for each in ports]


def test_every_address_of_a_name_is_tried(scripted, monkeypatch):
    """The first that answers is taken; Debian gives localhost ::1 first, where a broker need not listen."""
    (nobody,) = free_ports(1)
    port = scripted(accept)
    monkeypatch.setattr("device_sdk.mqtt.socket.getaddrinfo", addresses(nobody, port, nobody))
    device = client(nobody)
    device.connect()
    device.close()
    scripted.join()


def test_where_no_address_answers_the_last_error_is_raised(monkeypatch):
    (nobody,) = free_ports(1)
    monkeypatch.setattr("device_sdk.mqtt.socket.getaddrinfo", addresses(nobody, nobody))
    device = client(nobody)
    with pytest.raises(ConnectionRefusedError):
        device.connect()
    device.close()
