"""What a board says on the desk with `log=print`: the mistakes of a first day, in words, on both runtimes."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import DEADLINE_S
from tests.support.needs import program
from tests.support.paths import DEVICE_TESTS, ROOT
from tests.support.processes import running

from .conftest import Broker


class Said:
    """The lines of a process, as they come."""

    def __init__(self, process):
        self._lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, begin):
        """Wait for a line that begins so. The next ones follow it."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError((begin, self.seen)) from None
            assert line is not None, (begin, self.seen)
            self.seen.append(line)
            if line.startswith(begin):
                return line


@pytest.fixture
def broker(tmp_path):
    """Knows fleet-a/dev-1 with the password "secret"."""
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    command = [program("mosquitto_passwd"), "-b", passwords, "fleet-a/dev-1", "secret"]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    broker = Broker(program("mosquitto"), tmp_path, f"user root\npassword_file {passwords}\n")
    yield broker
    broker.signal(signal.SIGCONT)
    broker.kill()


@pytest.fixture(params=["cpython", "micropython"])
def desk(request, broker, tmp_path):
    """Starts desk.py with a mistake in it, and gives what it says."""
    command = [sys.executable, "-u"] if request.param == "cpython" else [request.getfixturevalue("micropython")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}

    def start(mistake, port=broker.port):
        arguments = [*command, str(DEVICE_TESTS / "desk.py"), str(port), mistake]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return Said(started.enter_context(running(arguments, cwd=tmp_path, env=environment, **pipes)))

    with ExitStack() as started:
        yield start


CONNECTING = "connecting to 127.0.0.1:%d as fleet-a/dev-1"


def test_nothing_is_wrong(desk, gateway, broker):
    said = desk("none")
    seq = gateway.wait(lambda channel, value: channel == "hb")[6]
    gateway.publish("ack", [seq, 0, int(time.time())])
    said.line("the Edge Manager accepts the heartbeats: the device is registered")
    assert said.seen[:4] == [
        CONNECTING % broker.port,
        "connected",
        "the broker has confirmed the hello",
        "the broker confirms heartbeats: one each 1 s",
    ]
    beat = gateway.wait(lambda channel, value: channel == "hb" and len(value) < 7)  # no more acks are asked for
    assert beat[2] == [213]
    assert len(said.seen) == 5


def test_a_host_that_does_not_exist(desk):
    said = desk("host")
    said.line("connecting to no.such.invalid:")
    assert "name cannot be resolved" in said.line("not connected: ")


def test_a_port_at_which_nothing_listens(desk):
    said = desk("port", free_ports(1)[0])
    assert said.line("not connected: ") == (
        "not connected: nothing listens there: does the broker run, is the port right? It is tried again"
    )


def test_a_wrong_password(desk):
    said = desk("password")
    assert said.line("not connected: ") == "not connected: the broker refuses user name or password. It is tried again"


def test_a_broker_that_does_not_answer(desk, broker):
    broker.signal(signal.SIGSTOP)
    said = desk("silent")
    assert "nothing answers there" in said.line("not connected: ")


def test_a_broker_that_ends_and_comes_back(desk, broker, gateway):
    said = desk("none")
    said.line("the broker confirms heartbeats")
    broker.kill()
    said.line("the connection ended: ")
    assert "nothing listens there" in said.line("not connected: ")
    broker.start()
    said.line("connected")


def test_each_thing_is_said_once(desk, broker, gateway):
    said = desk("raises")
    for _ in range(4):
        gateway.wait(lambda channel, value: channel == "hb")
    broker.kill()
    said.line("the connection ended: ")
    assert len(said.seen) == len(set(said.seen)) == 6


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("metric", "sample('humidity'): the layout has no such metric, it has: temperature"),
        ("value", "sample('temperature'): needs one metric, and an int of 64 bits or a finite float: "),
        ("raises", "measure raised OSError: no sensor"),
        ("clock", "the clock, the store or a plan raised OSError: no clock"),
        ("keep", "samples are dropped, the oldest first, 3 so far: no more than 2 can wait (keep)"),
        ("size", "the layout does not fit `size`, the bytes of the largest payload"),
    ],
)
def test_a_mistake_in_the_program(desk, mistake, words):
    desk(mistake).line(words)


def test_acks_in_words(desk, gateway):
    said = desk("none")

    def ack(code, detail, words):
        seq = gateway.wait(lambda channel, value: channel == "hb" and len(value) > 6)[6]
        gateway.publish("ack", [seq, code, int(time.time()), detail])
        return said.line(words)

    ack(1, "hello: a name", "what was sent is malformed and is dropped: correct the program: hello: a name")
    ack(7, "too many messages", "the gateway gives up what was sent: it is sent again later: too many messages")
    line = ack(3, "", "fleet-a/dev-1 is not registered at the Edge Manager: register it there; asked again in ")
    assert 50 < int(line.split()[-2]) <= 60


def test_without_a_log_nothing_of_it_is_imported(desk):
    desk("off").line("not imported")
