"""The gateway's log cannot be written: its reader is gone, or does not read, or the disk is full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from gateway.demo.brokers.address import free_ports
from tests.faults.scenario import Scenario, scaled
from tests.support.arrivals import DEADLINE_S
from tests.support.gateway_process import COMMAND, GatewayProcess
from tests.support.paths import ROOT
from tests.support.plain_device import Login, PlainDevice
from tests.support.polling import until

INTAKE = 200
NOT_MSGPACK = b"\xc1"


@contextmanager
def unwritable(kind: str) -> Iterator[int]:
    """A file descriptor for stderr."""
    if kind == "no space":
        reader, writer = os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
    try:
        if kind == "reader gone":
            os.close(reader)
        elif kind != "no space":
            os.set_blocking(writer, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(writer, b"x")
            os.set_blocking(writer, kind == "nobody reads")
        yield writer
    finally:
        os.close(writer)
        if kind != "reader gone":
            os.close(reader)


class UnheardGateway(GatewayProcess):
    """Its log is not read: `stderr` is a file descriptor of the caller."""

    def __init__(self, scenario: Scenario, stderr: int, intake: int) -> None:
        (port,) = free_ports(1, "127.0.0.1")
        super().__init__(scenario.variables(http_port=port, intake=intake))
        self._stderr = stderr
        self._pages = f"http://127.0.0.1:{port}/"

    def start(self) -> None:
        self._process = subprocess.Popen(
            COMMAND, stderr=self._stderr, text=True, cwd=ROOT, env=self._variables, stdin=subprocess.DEVNULL
        )
        until(self._is_ready, lambda: "it is not ready")

    def _is_ready(self) -> bool:
        try:
            return self.readiness()[0] == 200
        except OSError:
            return False

    def wait(self) -> int:
        process, self._process = self._running, None
        return process.wait(DEADLINE_S)


@pytest.mark.parametrize("kind", ["reader gone", "no space", "nobody reads", "nobody reads, and it does not block"])
def test_the_log_cannot_be_written(scenario: Scenario, kind: str) -> None:
    """What follows a line of the log happens: twice the intake is rejected, and the other devices wait for nothing."""
    rejected = scaled(2, 20) * INTAKE
    name = f"{scenario.name}/bad"
    user = scenario.broker.add_users([name])[name]
    at = scenario.broker.address
    login = Login(at.host, at.device_port, user.user, user.password)
    with unwritable(kind) as stderr, PlainDevice(login, name) as bad:
        gateway = UnheardGateway(scenario, stderr, intake=INTAKE)
        scenario.enter(gateway)
        scenario.join(scaled(20, 200))
        for _ in range(rejected):
            bad.send("hb", NOT_MSGPACK)
        scenario.beat(scaled(5, 50))
        scenario.until_through()
        gateway.until_metric("unacknowledged_messages", 0)
        metrics = gateway.metrics()
        assert gateway.terminate() == 0
    figures = scenario.check_ledger()
    assert (figures.errors, figures.accepted) == (0, figures.sent)
    assert metrics['messages_rejected_total{code="malformed"}'] == rejected
    assert (metrics["log_events_lost_total"] > 0) is not kind.startswith("nobody reads")
