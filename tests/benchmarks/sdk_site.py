"""What a measured board finds at the other end: a Mosquitto of its own, an acting gateway, a broker in ten lines."""

import hashlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import paho.mqtt.client as paho

MODEL = bytes(range(256)) * 20
"""The file of the deployment."""
PLAN = [7, [["d", 0, [["kws", 1, hashlib.sha1(MODEL).digest(), len(MODEL)]]]]]
NOW = 1795458600


@contextmanager
def mosquitto(command: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Its port and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    (folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    process = subprocess.Popen([command, "-c", str(folder / "conf")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not _listens(port):
            if time.monotonic() > deadline:
                raise TimeoutError("mosquitto does not listen")
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def acting_gateway(port: int) -> Iterator[None]:
    """PLAN stands retained for every device that says hello, each seq is acked, each `read` answered from MODEL."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    ready = threading.Event()
    client.on_connect = lambda client, *_: client.subscribe([("edge/+/+/+", 1)])
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = _answer
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        if not ready.wait(10):
            raise TimeoutError("the broker does not answer")
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def _answer(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
    root, channel = message.topic.rsplit("/", 1)

    def say(channel: str, *values: object) -> None:
        client.publish(f"{root}/{channel}", msgpack.packb(values), 1, channel == "plan")

    value = msgpack.unpackb(message.payload)
    if channel == "hello":
        say("plan", *PLAN)
    elif channel == "hb" and len(value) > 6:
        say("ack", value[6], 0, NOW)
    elif channel == "read":
        digest, index, offset, length, count = value
        for at in range(offset, min(len(MODEL), offset + length * count), length):
            say("block", digest, index, at, len(MODEL), MODEL[at : at + length])


def confirming(server: socket.socket, sizes: list[int]) -> None:
    """A broker of one client, which notes how many bytes came at once."""
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(4096):
            sizes.append(len(data))
            body = data[3 if data[1] > 127 else 2 :]
            at = 2 + int.from_bytes(body[:2], "big")
            peer.sendall(b"\x20\x02\x00\x00" if data[0] >> 4 == 1 else b"\x40\x02" + body[at : at + 2])
