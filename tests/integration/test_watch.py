"""`edge-gateway watch` as a process on a live broker: beside a gateway, on a terminal of 80 columns."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import BinaryIO

import pytest

from gateway.demo.brokers.address import BrokerLogin, free_ports
from gateway.demo.brokers.mosquitto import Mosquitto
from tests.integration.testbed import Testbed
from tests.support.arrivals import DEADLINE_S, Arrivals
from tests.support.gateway_process import settings
from tests.support.paths import ROOT
from tests.support.payloads import TAG
from tests.support.processes import end, environment

COLUMNS = 80
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Watching:
    """The command, and its lines. `output`: what it writes to, where that is not its stdout."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: BinaryIO | None) -> None:
        self._process = process
        self.lines, self.notices = Arrivals[str]("line"), Arrivals[str]("notice")
        streams = ((output or process.stdout, self.lines), (process.stderr, self.notices))
        self._threads = [threading.Thread(target=_read, args=each) for each in streams if each[0] is not None]
        for thread in self._threads:
            thread.start()

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Its end; the exit status."""
        status = self._process.wait(DEADLINE_S)
        self.join()
        return status

    def join(self) -> None:
        for each in self._threads:
            each.join(DEADLINE_S)


def _read(stream: BinaryIO, arrivals: Arrivals[str]) -> None:
    with stream, suppress(OSError):  # of a terminal whose process ended
        for line in stream:
            arrivals.put(line.decode().rstrip("\r\n"))


@contextmanager
def watching(
    testbed: Testbed,
    *arguments: str,
    login: BrokerLogin | None = None,
    stdout: int = subprocess.PIPE,
    output: int = -1,
) -> Iterator[Watching]:
    """It is connected and subscribed, as the gateway's user where there is no `login`. `stdout`: a file descriptor,
    which it gets; `output`: the other end of that."""
    address = testbed.broker.address
    address = address if login is None else replace(address, gateway=login)
    variables = settings(address, testbed.service.url, testbed.fleet, testbed.state)
    ours = environment(GATEWAY_MQTT_URL=variables["GATEWAY_MQTT_URL"], GATEWAY_FLEETS=testbed.fleet, TERM="xterm")
    for name in ("COLUMNS", "NO_COLOR"):
        ours.pop(name, None)
    command = [sys.executable, "-m", "gateway", "watch", *arguments]
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT, env=ours)
    if stdout >= 0:
        os.close(stdout)
    made = Watching(process, os.fdopen(output, "rb") if output >= 0 else None)
    try:
        made.notices.next(lambda line: line.startswith("watching edge/"))
        yield made
    finally:
        process.kill()
        made.join()
        end(process)


def test_both_directions_are_shown_in_words_and_nothing_is_taken_from_the_gateway(
    own_testbed: Testbed, own_mosquitto: Mosquitto
) -> None:
    testbed = own_testbed
    testbed.open()
    device = testbed.known_device("d")
    with watching(testbed, "--json", login=own_mosquitto.add_reader("watcher")) as shown:
        device.heartbeat(TAG, 89, [81344, -61, 365], None, None, None, 5)
        assert device.ack(5) == (0, "")
        heartbeat = json.loads(shown.lines.next(lambda line: '"hb"' in line))
        ack = json.loads(shown.lines.next(lambda line: '"ack"' in line))
        assert shown.lines.so_far() == [], "the hello, which was retained before, is read alone"
        assert shown.interrupt() == 0
    assert [len(each) for each in testbed.service.accepted_values("d")] == [3]
    assert heartbeat["device"] == ack["device"] == f"{testbed.fleet}/d"
    assert [each["metric"] for each in heartbeat["samples"]] == ["sys/free-heap", "sys/rssi", "sys/temperature"]
    assert heartbeat["samples"][2]["value"] == 36.5
    assert (heartbeat["from"], ack["from"]) == ("device", "gateway")
    assert (ack["content"]["seq"], ack["content"]["code"]) == (5, 0)


@pytest.mark.skipif(sys.platform == "darwin", reason="its terminals drop what is written before their reader reads")
def test_on_a_terminal_of_80_columns_a_message_is_one_line_and_cannot_act_on_it(testbed: Testbed) -> None:
    device = testbed.known_device("d")
    output, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with watching(testbed, f"{testbed.fleet}/d", stdout=terminal, output=output) as shown:
        retained = shown.lines.next(lambda line: "retained: tag 4711" in line)
        device.send("hb", b"\x1b[2J\x07")
        device.heartbeat(["\x1b[2J", []])
        device.live(2, 3600)
        shown.lines.next(lambda line: "state 2, seconds 3600" in line)
        first, second = shown.lines.so_far()
        assert shown.interrupt() == 0
    for line in (retained, first, second):
        plain = COLOUR.sub("", line)
        assert len(plain) <= COLUMNS
        assert plain.isprintable()
        assert f"──▶ {testbed.fleet}/d h" in plain
    assert retained.endswith("…")
    assert "cannot be decoded: more than one msgpack object" in first
    assert "cannot be decoded: agent version: '" in second


def test_a_broker_that_goes_and_comes_is_said(own_testbed: Testbed, own_mosquitto: Mosquitto) -> None:
    with watching(own_testbed) as shown:
        own_mosquitto.stop()
        shown.notices.next(lambda line: line.startswith("connection lost, messages are missed until it is back: "))
        shown.notices.next(lambda line: line.startswith("cannot connect, trying again: "))
        own_mosquitto.start()
        shown.notices.next(lambda line: line.startswith("connected again; watching edge/"))
        own_testbed.device("d").live(1, 60)
        shown.lines.next(lambda line: line.endswith("/d live  state 1, seconds 60"))
        assert shown.interrupt() == 0


def test_no_broker_is_one_line() -> None:
    (port,) = free_ports(1)
    done = run_watch(GATEWAY_MQTT_URL=f"mqtt://127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"edge-gateway watch: 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


def test_a_name_that_cannot_be_one_is_a_mistake() -> None:
    done = run_watch("f/+")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("'f/+' is not FLEET or FLEET/DEVICE: device: '+' does not match")


def test_it_ends_where_nobody_reads_it(testbed: Testbed) -> None:
    device = testbed.device("d")
    output, pipe = os.pipe()
    os.close(output)
    with watching(testbed, stdout=pipe) as shown:
        device.live(1, 60)
        assert shown.wait() == 1
    assert shown.notices.so_far() == []


def run_watch(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", "watch", *arguments]
    return subprocess.run(
        command, env=environment(**variables), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
