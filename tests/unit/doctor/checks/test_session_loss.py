"""What the doctor says of the session that the gateway had."""

import pytest

from gateway.doctor.checks.session_loss import REPORTED_FOR, check_session_loss
from gateway.doctor.result import Level, ProbeFailure
from gateway.mqtt import SessionLoss, SessionRecord

NOW = 1_700_000_000.0


def lost(ago: float, expired: bool = False) -> SessionRecord:
    return SessionRecord(NOW, 3600, SessionLoss(NOW - ago - 60, NOW - ago, expired))


@pytest.mark.parametrize(
    ("record", "level", "found", "todo"),
    [
        (None, Level.PASS, "no gateway was connected yet", ""),
        (SessionRecord(NOW, 3600), Level.PASS, "has kept", ""),
        (lost(60), Level.WARN, "waited at 2023-11-14T22:11:20+00:00, or came until 2023-11-14T22:12:20", "persistence"),
        (lost(60, expired=True), Level.WARN, "has expired", "session_expiry"),
        (lost(REPORTED_FOR), Level.WARN, "has lost", "persistence"),
        (lost(REPORTED_FOR + 1), Level.PASS, "has kept", ""),
        (ProbeFailure("state_dir /x: Permission denied"), Level.WARN, "cannot know", "can be read"),
    ],
    ids=range(7),
)
def test_session_loss(record: SessionRecord | ProbeFailure | None, level: Level, found: str, todo: str) -> None:
    result = check_session_loss(record, NOW)
    assert (result.check, result.level) == ("session loss", level)
    assert found in result.found
    assert todo in result.todo
