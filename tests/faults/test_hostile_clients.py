"""Clients that were written to stop a site, on a broker of their own with the shipped configuration.

What they send is bytes: no library would send it. What counts is that the broker's memory is bounded, and that a device
that behaves is served beside them and afterwards.
"""

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgpack

from gateway.demo.brokers.mosquitto import Mosquitto
from gateway.files.flow_control import FREE_BYTES
from tests.faults.scenario import WAIT_S, Scenario, scaled
from tests.support import mqtt_packets
from tests.support.edge_manager import Reply, Request
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import until
from tests.support.process_memory import peak

MIB = 1 << 20
PAYLOAD = 65_000
QOS_0, RETAINED = 0x30, 0x31
SUBSCRIBE = 0x82
PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"
MODEL = bytes(range(250)) * 4_000
LENGTH = 65_000
"""Of a block."""
PLAN = {
    "DeploymentName": "deploy-7",
    "Type": "Model",
    "FailureHandlingPolicy": "DO_NOTHING",
    "Definitions": [
        {
            "ModelHandle": "kws",
            "S3Url": "s3://models/kws",
            "Checksum": {"Type": "SHA1", "Sum": hashlib.sha1(MODEL, usedforsecurity=False).hexdigest()},
            "State": "DEPLOY",
        }
    ],
}


@contextmanager
def hostile(broker: Mosquitto, user: str) -> Iterator[socket.socket]:
    """A connection of that device."""
    at, login = broker.address, broker.add_user(user)
    with socket.create_connection((at.host, at.device_port), WAIT_S) as connection:
        connection.sendall(mqtt_packets.connect("any", login.user, login.password))
        assert connection.recv(4) == b"\x20\2\0\0"
        yield connection


def until_read(connection: socket.socket) -> None:
    """The broker has read all that was sent before."""
    connection.sendall(PINGREQ)
    answered = b""
    while not answered.endswith(PINGRESP):
        answered = answered[-1:] + connection.recv(65536)


def test_large_payloads_at_qos_0(own_scenario: Scenario, own_mosquitto: Mosquitto) -> None:
    """The gateway reads nothing meanwhile: more than all limits of a client's queue together is sent. What is over the
    device's rate is read afterwards as fast as the broker delivers, and no other device waits long for it."""
    gateway = own_scenario.gateway(device_rate=20)
    gateway.suspend()
    flood = mqtt_packets.packet(QOS_0, mqtt_packets.text("edge/faults/loud/hb") + bytes(PAYLOAD))
    with hostile(own_mosquitto, "faults/loud") as loud:
        for _ in range(scaled(1_600, 6_000) * MIB // len(flood)):
            loud.sendall(flood)
        until_read(loud)
    most = peak(own_mosquitto.pid) / MIB
    gateway.resume()
    own_scenario.join(1)
    own_scenario.beat()
    own_scenario.until_through()
    own_scenario.check_ledger(f"the broker's memory {most:,.0f} MiB")
    assert most < 1_300


def test_devices_that_read_files_and_not_their_sockets(own_scenario: Scenario, own_mosquitto: Mosquitto) -> None:
    """Five of them ask for as much as they can, at the QoS for which the broker has no limit in bytes. Each gets 4 MiB
    of its file and almost nothing more, and another device gets its file beside them."""
    service, users = own_scenario.service, [f"faults/stuck-{number}" for number in range(5)]
    service.deployments.update({user.rpartition("/")[2]: [PLAN] for user in (*users, "faults/good")})
    service.rule = model_store
    variables = own_scenario.variables(device_rate=20) | {"AWS_ENDPOINT_URL_S3": service.url}
    gateway = own_scenario.enter(GatewayProcess(variables))
    free = len(users) * (FREE_BYTES // LENGTH)
    with ExitStack() as cleanup:
        stuck = [Reader(cleanup.enter_context(hostile(own_mosquitto, user)), user) for user in users]
        good = Reader(cleanup.enter_context(hostile(own_mosquitto, "faults/good")), "faults/good")

        def ask_again() -> float:
            for each in stuck:
                each.ask()
            return gateway.metrics()["blocks_published_total"]

        until(lambda: ask_again() >= free, lambda: f"{ask_again()} blocks, of {free}")
        for _ in range(scaled(20, 2_000)):
            ask_again()
        began = time.monotonic()
        assert good.file() == MODEL
        seconds = time.monotonic() - began
        blocks = ask_again()
        most = peak(own_mosquitto.pid) / MIB
    own_scenario.check_ledger(f"a file in {seconds:.2f} s beside them, the broker's memory {most:,.0f} MiB")
    assert blocks < 1.2 * free + len(MODEL) / LENGTH  # the last block of a file is shorter
    assert most < 200


def model_store(request: Request) -> Reply | None:
    """GetObject of every file; the Edge Manager's operations are POST."""
    return Reply(body=MODEL, kind="application/octet-stream") if request.method == "GET" else None


class Reader:
    """A device that has subscribed to its blocks at QoS 0, and has its plan. It reads its socket in `file` alone."""

    def __init__(self, connection: socket.socket, user: str) -> None:
        self._connection, self._user = connection, user
        self._reader, self._asked = mqtt_packets.PacketReader(), 0
        for channel in ("block", "plan"):
            wanted = mqtt_packets.text(f"edge/{user}/{channel}") + b"\0"
            connection.sendall(mqtt_packets.packet(SUBSCRIBE, b"\0\1" + wanted))
        connection.sendall(mqtt_packets.publish(mqtt_packets.text(f"edge/{user}/get"), b"", 1))
        self._digest = int(next(self._payloads("plan"))[0])

    def _payloads(self, channel: str) -> Iterator[list[Any]]:
        while True:
            for kind, flags, body in self._reader.feed(self._connection.recv(65536)):
                if kind == mqtt_packets.PUBLISH:
                    topic, payload, _ = mqtt_packets.parse_publish(flags, body)
                    if topic == f"edge/{self._user}/{channel}":
                        yield msgpack.unpackb(payload)

    def ask(self) -> None:
        """For 64 blocks, from another offset each time."""
        self._asked += 1
        read = [self._digest, 0, self._asked * 7_919 % (len(MODEL) - LENGTH), LENGTH, 64]
        self._read(read)

    def _read(self, read: list[int]) -> None:
        topic = mqtt_packets.text(f"edge/{self._user}/read")
        self._connection.sendall(mqtt_packets.publish(topic, msgpack.packb(read), self._asked % 60_000 + 1))

    def file(self) -> bytes:
        """The file, read at once."""
        self._read([self._digest, 0, 0, LENGTH, 64])
        parts, payloads = b"", self._payloads("block")
        while len(parts) < len(MODEL):
            parts += next(payloads)[4]
        return parts


def test_one_subscribe_with_100_000_filters(own_scenario: Scenario, own_mosquitto: Mosquitto) -> None:
    """It ends its connection, and the broker goes on at once, though it has retained messages to look through."""
    own_scenario.gateway()
    at = own_mosquitto.address
    with socket.create_connection((at.host, at.gateway_port), WAIT_S) as loader:
        loader.sendall(mqtt_packets.connect("loader", at.gateway.user, at.gateway.password))
        for number in range(1000):
            loader.sendall(mqtt_packets.packet(RETAINED, mqtt_packets.text(f"edge/faults/r-{number}/plan") + bytes(9)))
        until_read(loader)
    with hostile(own_mosquitto, "faults/loud") as loud:
        began = time.monotonic()
        assert is_disconnected_by(loud, mqtt_packets.subscribe(1, *["#"] * 100_000))
        own_scenario.join(1)
        stopped = time.monotonic() - began
    own_scenario.beat()
    own_scenario.until_through()
    own_scenario.check_ledger(f"the broker stopped for {stopped:.1f} s")


def is_disconnected_by(connection: socket.socket, packet: bytes) -> bool:
    """Whether the broker ends the connection; it answers the packet otherwise."""
    try:
        connection.sendall(packet)
        return connection.recv(4) == b""
    except ConnectionError:
        return True
