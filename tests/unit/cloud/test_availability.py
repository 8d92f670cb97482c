"""The breaker: it opens where many devices fail and none gets through, tries a few, and lets more through by and by."""

import pytest

from gateway.cloud.availability import OPENS_AT, PROBES, CircuitBreaker
from gateway.protocol.messages import Device

MOST = 128
FLEET = [Device("fleet-a", f"dev-{number}") for number in range(50)]


def opened(most: int = MOST) -> CircuitBreaker:
    """A breaker that has just opened."""
    breaker = CircuitBreaker(most)
    assert [breaker.failed(device) for device in FLEET[:OPENS_AT]] == [False] * (OPENS_AT - 1) + [True]
    return breaker


def probe_fails(breaker: CircuitBreaker) -> bool:
    breaker.probe()
    return breaker.failed(FLEET[0])


def test_at_first_all_may_call() -> None:
    breaker = CircuitBreaker(MOST)
    assert (breaker.window, breaker.open, breaker.recovering) == (MOST, False, False)


def test_it_opens_where_many_devices_fail_in_a_row() -> None:
    breaker = opened()
    assert (breaker.window, breaker.open, breaker.rounds) == (0, True, 1)


def test_one_device_alone_never_opens_it() -> None:
    breaker = CircuitBreaker(MOST)
    assert not any(breaker.failed(device) for device in FLEET[: OPENS_AT - 1] * 100)
    assert breaker.window == MOST


def test_nor_many_while_others_get_through() -> None:
    breaker = CircuitBreaker(MOST)
    for device in FLEET * 10:
        assert not breaker.failed(device)
        if device in FLEET[:: OPENS_AT - 1]:
            breaker.answered(0.0)
    assert not breaker.open


def test_calls_that_were_under_way_when_it_opened_change_nothing() -> None:
    breaker = opened()
    assert not any(breaker.failed(device) for device in FLEET)
    assert (breaker.window, breaker.rounds) == (0, 1)


def test_a_probe_that_fails_ends_its_round_and_the_next_waits_longer() -> None:
    breaker = opened()
    for rounds in (2, 3, 4):
        breaker.probe()
        assert breaker.window == PROBES
        assert breaker.failed(FLEET[0])
        assert (breaker.window, breaker.rounds) == (0, rounds)
        assert not breaker.failed(FLEET[1]), "the others of the round"


def test_a_probe_that_gets_through_begins_the_recovery() -> None:
    breaker = opened()
    assert probe_fails(breaker)
    breaker.probe()
    breaker.answered(100.0)
    assert (breaker.window, breaker.open, breaker.recovering) == (PROBES, False, True)


def test_so_does_a_call_that_was_under_way() -> None:
    breaker = opened()
    breaker.answered(100.0)
    breaker.probe()
    assert (breaker.window, breaker.recovering) == (PROBES, True)


@pytest.mark.parametrize(
    ("seconds", "window"), [(0.0, PROBES), (1.0, 2 * PROBES), (2.0, 4 * PROBES), (5.0, 32 * PROBES), (6.0, MOST)]
)
def test_however_quick_the_service_is_calls_at_once_double_once_a_second(seconds: float, window: int) -> None:
    breaker = opened()
    breaker.answered(100.0)
    for _ in range(1000):
        breaker.answered(100.0 + seconds)
    assert (breaker.window, breaker.recovering) == (window, window < MOST)


def test_a_slow_service_is_given_one_more_for_each_call_that_gets_through() -> None:
    breaker = opened()
    breaker.answered(100.0)
    seen = []
    for number in range(1, 6):
        breaker.answered(100.0 + 100 * number)
        seen.append(breaker.window)
    assert seen == [PROBES + number for number in range(1, 6)]


def test_it_opens_again_where_the_service_fails_while_it_recovers() -> None:
    breaker = opened()
    breaker.answered(100.0)
    assert [breaker.failed(device) for device in FLEET[:OPENS_AT]][-1]
    assert (breaker.window, breaker.open, breaker.recovering, breaker.rounds) == (0, True, False, 1)


@pytest.mark.parametrize("most", [1, 2])
def test_it_never_lets_through_more_than_the_settings_say(most: int) -> None:
    breaker = opened(most)
    breaker.probe()
    assert breaker.window == most
    breaker.answered(100.0)
    breaker.answered(200.0)
    assert (breaker.window, breaker.recovering) == (most, False)


def test_the_share_of_failures_is_taken_of_calls_that_are_made_for_the_first_time() -> None:
    breaker = CircuitBreaker(MOST)
    for number in range(10_000):
        if number % 10 < 3:
            breaker.failed(FLEET[0])
        else:
            breaker.answered(float(number))
        breaker.failed(FLEET[1], first=False)
    assert 0.2 < breaker.failing_share < 0.4
