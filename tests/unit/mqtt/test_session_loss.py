"""When a session that is not present is a loss."""

import pytest

from gateway.mqtt.session_loss import FOR_EVER, SessionLoss, SessionRecord, find_loss

NOW = 1_700_000_000.0


def record(away: float, expiry: int = 3600) -> SessionRecord:
    return SessionRecord(NOW - away, expiry)


def test_a_first_connection_has_nothing_to_lose() -> None:
    assert find_loss(None, session_present=False, now=NOW) is None


def test_a_session_that_is_present_is_not_lost() -> None:
    assert find_loss(record(10), session_present=True, now=NOW) is None


@pytest.mark.parametrize(
    ("away", "expiry", "expired"),
    [
        (0, 3600, False),
        (3599, 3600, False),
        (3600, 3600, True),
        (1e9, FOR_EVER, False),
        (0, 0, True),
    ],
)
def test_a_session_that_is_gone_was_lost_or_has_expired(away: float, expiry: int, expired: bool) -> None:
    assert find_loss(record(away, expiry), False, NOW) == SessionLoss(NOW - away, NOW, expired)


def test_a_clock_that_was_set_back_meanwhile_gives_no_negative_time() -> None:
    assert find_loss(record(-5), False, NOW) == SessionLoss(NOW, NOW, False)
