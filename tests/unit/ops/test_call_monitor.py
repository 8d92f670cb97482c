"""The monitor of calls: its metrics, and the log lines of an outage."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.cloud.availability import OPENS_AT, CircuitBreaker
from gateway.errors import CloudError, OperatorError, TransientError
from gateway.ops import call_monitor
from gateway.ops.call_monitor import CallMonitor
from gateway.ops.metrics import Metrics
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import GetDeviceRegistration, SendHeartbeat

DEVICE = Device("fleet-a", "dev-1")
BEAT = SendHeartbeat(DEVICE, "1.0.0", (), (), None, heartbeats=3)
SLOW = TransientError("ThrottlingException", "slow down")
DENIED = OperatorError("AccessDenied", "no")


def levels(logs: list[Any]) -> list[str]:
    return [entry["log_level"] for entry in logs]


def test_an_attempt_is_counted_by_its_outcome() -> None:
    metrics = Metrics()
    monitor = CallMonitor(metrics)
    monitor.on_attempt(BEAT, 0.5, None)
    monitor.on_attempt(BEAT, 0.5, SLOW)
    monitor.on_attempt(GetDeviceRegistration(DEVICE), 0.5, None)
    assert {key: count.value for key, count in metrics.calls.items()} == {
        ("SendHeartbeat", "accepted"): 1,
        ("SendHeartbeat", "ThrottlingException"): 1,
        ("GetDeviceRegistration", "accepted"): 1,
    }
    assert metrics.heartbeats_accepted.value == 3
    assert metrics.call_seconds["SendHeartbeat"].total == 1.0


@pytest.mark.parametrize(("error", "level"), [(SLOW, "warning"), (DENIED, "error")])
def test_failing_calls_are_logged_once_in_an_interval(error: CloudError, level: str) -> None:
    metrics = Metrics()
    monitor = CallMonitor(metrics)
    with capture_logs() as logs:
        for attempt in range(1, 100):
            monitor.on_retry(BEAT, error, attempt)
    assert levels(logs) == [level]
    assert (logs[0]["device"], logs[0]["attempts"]) == ("fleet-a/dev-1", 1)
    assert metrics.retries["SendHeartbeat", error.reason].value == 99


def test_the_end_of_the_failures_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(call_monitor.time, "monotonic", lambda: now[0])
    monitor = CallMonitor(Metrics())
    with capture_logs() as logs:
        monitor.on_retry(BEAT, SLOW, 1)
        monitor.on_attempt(BEAT, 0.1, None)
        now[0] += 1.0
        monitor.on_attempt(BEAT, 0.1, None)
        monitor.on_attempt(BEAT, 0.1, None)
    assert levels(logs) == ["warning", "info"]
    assert logs[1]["failed_calls"] == 1


def test_an_outage_is_logged_when_it_begins_and_ends() -> None:
    metrics = Metrics()
    monitor = CallMonitor(metrics)
    breaker = CircuitBreaker(128)
    for number in range(OPENS_AT):
        breaker.on_failure(Device("fleet-a", f"dev-{number}"))
    with capture_logs() as logs:
        monitor.on_limit_change(breaker)
        breaker.half_open()
        monitor.on_limit_change(breaker)
        breaker.on_success(0.0)
        monitor.on_limit_change(breaker)
    assert levels(logs) == ["warning", "info"]
    assert metrics.breaker_opened.value == 1
    assert "edge_gateway_concurrent_calls_limit 3.0\n" in metrics.render().decode()
