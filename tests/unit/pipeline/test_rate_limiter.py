"""What a device may send: a rate in the long run, a burst at once, a backlog on top; nothing is kept of idle ones."""

import pytest

from gateway.pipeline.rate_limiter import READ_SHARE, SWEEP_AT, DeviceRateLimiter, counted_size
from gateway.protocol.messages import Device

DEVICE, OTHER = Device("fleet-a", "dev-1"), Device("fleet-a", "dev-2")


def admitted(
    rates: DeviceRateLimiter, count: int, now: float, device: Device = DEVICE, size: int = 30, share: float = 1.0
) -> int:
    """How many of `count` messages at once are."""
    return sum(rates.allow(device, size, now, share) for _ in range(count))


def test_a_burst_is_allowed_and_what_is_beyond_it_not() -> None:
    assert admitted(DeviceRateLimiter(20, 100), 1000, now=5.0) == 100


def test_afterwards_the_rate_holds() -> None:
    rates = DeviceRateLimiter(20, 100)
    admitted(rates, 1000, now=5.0)
    assert [admitted(rates, 1000, now=5.0 + second) for second in (1, 2, 3, 4.5)] == [20, 20, 20, 30]


def test_in_the_long_run_a_flood_gets_its_rate_and_no_more() -> None:
    rates = DeviceRateLimiter(20, 100)
    found = sum(rates.allow(DEVICE, 30, tick / 10_000) for tick in range(100_000))
    assert found == pytest.approx(100 + 10 * 20, abs=2)


def test_a_device_at_its_rate_is_always_allowed() -> None:
    rates = DeviceRateLimiter(20, 1)
    assert all(rates.allow(DEVICE, 30, number * 0.0501) for number in range(10_000))


def test_devices_do_not_share_a_rate() -> None:
    rates = DeviceRateLimiter(20, 100)
    admitted(rates, 1000, now=5.0)
    assert admitted(rates, 1000, now=5.0, device=OTHER) == 100


def test_after_a_pause_it_has_its_burst_again_and_no_more() -> None:
    rates = DeviceRateLimiter(20, 100)
    admitted(rates, 1000, now=5.0)
    assert admitted(rates, 1000, now=1005.0) == 100


@pytest.mark.parametrize(("size", "count"), [(4095, 100), (4096, 50), (65_536, 5)])
def test_a_large_payload_counts_several_times(size: int, count: int) -> None:
    assert admitted(DeviceRateLimiter(20, 100), 1000, now=5.0, size=size) == count


def test_a_read_counts_a_twentieth() -> None:
    assert admitted(DeviceRateLimiter(20, 100), 10_000, now=5.0, share=READ_SHARE) == pytest.approx(2000, abs=10)


def test_what_is_charged_afterwards_counts_too() -> None:
    """Whatever is left of the rate: a device that reads in vain has its rate, and not twenty times as much."""
    rates, read = DeviceRateLimiter(20, 100), 0
    for tick in range(10_000):
        if rates.allow(DEVICE, 30, tick / 1000, READ_SHARE):
            rates.charge(DEVICE, tick / 1000, 1 - READ_SHARE)
            read += 1
    assert read == pytest.approx(100 + 10 * 20, abs=3)


def test_a_backlog_is_allowed() -> None:
    """An hour at a message a second waited at the broker, and comes at once."""
    rates = DeviceRateLimiter(20, 100)
    rates.allow_backlog(3600.0, 5.0)
    assert admitted(rates, 3600, now=5.0) == 3600


def test_a_backlog_is_bounded_by_the_rate_in_that_time() -> None:
    rates = DeviceRateLimiter(20, 100)
    rates.allow_backlog(60.0, 5.0)
    assert admitted(rates, 10_000, now=5.0) == 100 + 60 * 20


def test_short_pauses_add_up_and_pass() -> None:
    rates = DeviceRateLimiter(20, 100)
    for _ in range(10):
        rates.allow_backlog(1.0, 5.0)
    assert admitted(rates, 1000, now=5.0) == 300
    assert admitted(rates, 1000, now=25.0) == 100


def test_nothing_is_kept_of_idle_devices() -> None:
    rates = DeviceRateLimiter(20, 100)
    for number in range(100_000):
        rates.allow(Device("fleet-a", f"dev-{number}"), 30, number / 1000)
    assert len(rates) <= SWEEP_AT


@pytest.mark.parametrize(("size", "share"), [(30, 1.0), (5000, 1.0), (65_536, 1.0), (1 << 24, 1.0), (30, READ_SHARE)])
def test_when_it_is_allowed_again_is_known(size: int, share: float) -> None:
    """It is the moment at which `allow` allows it, also where a backlog was allowed."""
    for backlog in (0.0, 60.0):
        rates = DeviceRateLimiter(20, 100)
        rates.allow_backlog(backlog, 5.0)
        admitted(rates, 30_000, now=5.0, share=READ_SHARE)
        assert not rates.allow(DEVICE, size, 5.0, share)
        at = rates.allowed_at(DEVICE, size, share)
        assert at > 5.0 + backlog
        assert not rates.allow(DEVICE, size, at - 0.001, share)
        assert rates.allow(DEVICE, size, at + 0.001, share)


@pytest.mark.parametrize(("size", "same"), [(0, 0), (4095, 0), (4096, 4096), (10_000, 8192)])
def test_payloads_of_one_step_count_alike(size: int, same: int) -> None:
    assert counted_size(size) == same


def test_an_idle_device_may_send_a_message_of_any_size() -> None:
    for now in (0.0, 70.001, 12_345.678):
        rates = DeviceRateLimiter(20, 10)
        assert rates.allow(DEVICE, 65_536, now)
        assert not rates.allow(DEVICE, 30, now)
