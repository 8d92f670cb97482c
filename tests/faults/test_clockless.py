"""The clock of the gateway's machine is wrong, and is set: devices without a clock of their own, and with one."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.faults.clocked import JumpingClock
from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import RecordingEdgeManager
from tests.support.gateway_process import GatewayProcess
from tests.support.payloads import LAYOUT, TAG
from tests.support.plain_device import Login, PlainDevice
from tests.support.polling import until

LATE_S = 60
"""By how much a busy machine may be late; the clocks differ by hours."""
HOUR = 3600
CLOCK_SET = "the clock of this machine was set; the dates of devices without a clock follow it"
CLOCK_WRONG = (
    "the clock of this machine is wrong; messages wait at the broker until it is set; check NTP and its battery"
)
CLOCK_RIGHT = "the clock of this machine is right; messages that waited for it are dated"
READY = "connected and subscribed"


class ClocklessSite:
    """Devices that count seconds from their boot, and a gateway under a clock that a test sets."""

    def __init__(self, scenario: Scenario, cleanup: ExitStack, **settings: Any) -> None:
        self.clock = JumpingClock(scenario.folder / "clock")
        self.service = cleanup.enter_context(RecordingEdgeManager())
        variables = scenario.variables(**settings) | {"AWS_ENDPOINT_URL_SAGEMAKER_EDGE": self.service.url}
        self.gateway = GatewayProcess(variables, self.clock.command)
        cleanup.push(self.gateway)
        self.booted = time.time() - 100
        self._scenario, self._cleanup, self._seq = scenario, cleanup, 0

    def device(self, name: str, epoch: int | None = None) -> PlainDevice:
        """It has connected, and published its hello."""
        full = f"{self._scenario.name}/{name}"
        user = self._scenario.broker.add_users([full])[full]
        at = self._scenario.broker.address
        device = self._cleanup.enter_context(
            PlainDevice(Login(at.host, at.device_port, user.user, user.password), full)
        )
        device.hello(TAG, LAYOUT, epoch)
        return device

    def send(self, device: PlainDevice, timed: bool = True) -> int:
        """A heartbeat of now; its seq."""
        self._seq += 1
        device.heartbeat(TAG, self.uptime if timed else None, [1], None, None, None, self._seq)
        return self._seq

    @property
    def uptime(self) -> int:
        """What the devices count now."""
        return int(time.time() - self.booted)

    def dates(self, name: str, count: int) -> list[float]:
        """Of the next `count` samples of a device."""
        found: list[float] = []
        while len(found) < count:
            found += [each["Timestamp"] for each in self.service.heartbeat(name)["AgentMetrics"]]
        return found

    def errors(self, name: str, count: int) -> list[float]:
        """By how many seconds the next `count` samples of a device are dated wrongly."""
        return [date - time.time() for date in self.dates(name, count)]


@pytest.fixture
def site(scenario: Scenario) -> Iterator[ClocklessSite]:
    with ExitStack() as cleanup:
        yield ClocklessSite(scenario, cleanup)


def test_epochs_follow_the_clock_of_the_gateway(site: ClocklessSite) -> None:
    """A clock that was behind, or ahead, for one heartbeat misdates no other one, over restarts of the gateway too."""
    site.gateway.start()
    for number, ahead in enumerate([-2 * HOUR, HOUR, 30 * 24 * HOUR][: scaled(2, 3)]):
        while_running, over_a_stop, over_a_kill = (site.device(f"d{number}{way}") for way in "abc")
        site.clock.jump(ahead)
        for device in (while_running, over_a_stop, over_a_kill):
            site.send(device)
        for way in "abc":
            assert site.errors(f"d{number}{way}", 1) == [pytest.approx(ahead, abs=LATE_S)]
        assert site.gateway.wait_for_log(CLOCK_SET)["seconds"] == pytest.approx(ahead, abs=1)
        site.clock.jump(0)
        assert while_running.ack(site.send(while_running))[0] == 0
        assert site.errors(f"d{number}a", 1) == [pytest.approx(0, abs=LATE_S)]
        assert site.gateway.wait_for_log(CLOCK_SET)["seconds"] == pytest.approx(-ahead, abs=1)
        site.gateway.terminate()
        site.gateway.start()
        assert over_a_stop.ack(site.send(over_a_stop))[0] == 0
        assert site.errors(f"d{number}b", 1) == [pytest.approx(0, abs=LATE_S)]
        site.gateway.kill()
        site.gateway.start()
        site.send(over_a_kill)
        assert site.errors(f"d{number}c", 1) == [pytest.approx(0, abs=LATE_S)]


def test_the_clock_is_set_while_the_gateway_is_away(site: ClocklessSite) -> None:
    """What it had inferred by the clock of before is moved at the start."""
    device = site.device("d")
    site.clock.jump(-2 * HOUR)
    site.gateway.start()
    assert device.ack(site.send(device))[0] == 0
    assert site.errors("d", 1) == [pytest.approx(-2 * HOUR, abs=LATE_S)]
    site.gateway.kill()
    site.clock.jump(0)
    site.gateway.start()
    assert device.ack(site.send(device))[0] == 0
    errors = site.errors("d", 1)  # of the first one once more, where the kill overtook its PUBACK
    assert errors == [pytest.approx(0, abs=LATE_S)] * len(errors)


def test_an_epoch_that_a_device_took_from_an_ack_follows_too(site: ClocklessSite) -> None:
    device = site.device("d")
    site.clock.jump(-2 * HOUR)
    site.gateway.start()
    seq = site.send(device)
    ack = device.received.next(lambda each: each.channel == "ack" and each.content[0] == seq)
    device.hello(TAG, LAYOUT, ack.content[2] - site.uptime)
    assert site.errors("d", 1) == [pytest.approx(-2 * HOUR, abs=LATE_S)]
    assert device.ack(site.send(device))[0] == 0
    assert site.errors("d", 1) == [pytest.approx(-2 * HOUR, abs=LATE_S)]
    site.clock.jump(0)
    for _ in range(2):
        assert device.ack(site.send(device))[0] == 0
        assert site.errors("d", 1) == [pytest.approx(0, abs=LATE_S)]
        site.gateway.terminate()
        site.gateway.start()


def test_a_clock_that_is_days_behind_the_devices(site: ClocklessSite) -> None:
    """Such a date may be right, and that of the device wrong: code 4."""
    site.clock.jump(-2 * 24 * HOUR)
    site.gateway.start()
    device = site.device("d", int(time.time()) - 100)
    assert device.ack(site.send(device))[0] == 4
    site.clock.jump(0)
    assert device.ack(site.send(device))[0] == 0
    assert site.errors("d", 1) == [pytest.approx(0, abs=LATE_S)]


def test_a_clock_that_begins_in_1970_dates_nothing(site: ClocklessSite) -> None:
    """An outage: no call, no ack, and every message is dated by its arrival once the clock is right."""
    site.clock.jump(-time.time())
    untimed, clockless, own_clock = site.device("u"), site.device("d"), site.device("o", int(site.booted))
    site.gateway.launch()
    assert site.gateway.wait_for_log(CLOCK_WRONG)["time"].startswith("1970-01-01")
    site.gateway.wait_for_log(READY)
    before = scaled(2.5, 10.0)
    for turn in (1, 2):
        began = time.time()
        site.send(untimed, timed=False)
        site.send(clockless)
        site.send(own_clock)
        untimed.send("hb", b"\xc1")
        untimed.get(None, 7)
        site.gateway.until_metric("unacknowledged_messages", 5)
        assert "the clock of this machine is wrong" in site.gateway.readiness()[1]
        assert site.service.calls.so_far() == []
        assert site.gateway.metrics()["messages_acknowledged_total"] == (3 if turn == 1 else 3 + 5)
        assert untimed.received.so_far() == []
        seen = time.time()
        time.sleep(before)  # so old they become
        site.clock.jump(0)
        site.gateway.wait_for_log(CLOCK_RIGHT)
        site.gateway.until_metric("unacknowledged_messages", 0)
        for name in "udo":
            assert all(began - 2 <= date <= seen + 1 for date in site.dates(name, 1))
        until(lambda: sorted(code for _, code in untimed.acked()) == [0, 0, 1], lambda: f"{untimed.acked()}")
        untimed.received.clear()
        site.service.calls.clear()
        if turn == 1:
            site.clock.jump(-time.time())
            site.gateway.wait_for_log(CLOCK_WRONG)
    assert site.gateway.readiness() == (200, [])
    assert site.gateway.terminate() == 0


def test_what_is_over_the_rate_waits_for_the_clock_too(scenario: Scenario) -> None:
    """Neither counted unread nor reported: each is answered once the clock is right."""
    with ExitStack() as cleanup:
        site = ClocklessSite(scenario, cleanup, device_rate=0.01, device_burst=5)
        site.clock.jump(-time.time())
        site.gateway.launch()
        site.gateway.wait_for_log(CLOCK_WRONG)
        site.gateway.wait_for_log(READY)
        device = site.device("d")
        sent = [site.send(device) for _ in range(20)]
        site.gateway.until_metric("unacknowledged_messages", 20)
        assert device.received.so_far() == []
        site.clock.jump(0)
        site.gateway.until_metric("unacknowledged_messages", 0)
        until(lambda: sorted(seq or 0 for seq, _ in device.acked()) == sent, lambda: f"{device.acked()}")
        assert {code for _, code in device.acked()} == {0, 7}
        assert site.gateway.terminate() == 0
