"""Check of what the gateway recorded of its session at the broker. Pure."""

from datetime import UTC, datetime

from gateway.doctor.result import CheckResult, ProbeFailure, passed, unknown, warned
from gateway.mqtt import SessionRecord

CHECK = "session loss"
REPORTED_FOR = 7 * 86_400
"""Seconds after a loss in which it is a warning."""


def check_session_loss(record: SessionRecord | ProbeFailure | None, now: float) -> CheckResult:
    """Whether the broker has lost the gateway's session lately. `now` in Unix seconds."""
    if isinstance(record, ProbeFailure):
        return unknown(CHECK, record.detail, "run this where state_dir can be read, with the settings of the gateway")
    if record is None:
        return passed(CHECK, "no gateway was connected yet, under this client_id and with this state_dir")
    if record.loss is None or now - record.loss.until > REPORTED_FOR:
        return passed(CHECK, "the broker has kept the gateway's session")
    lost = f"what waited at {_text(record.loss.since)}, or came until {_text(record.loss.until)}, is lost"
    if record.loss.expired:
        return warned(CHECK, f"the session has expired: {lost}", "raise session_expiry, and the broker's limit of it")
    return warned(CHECK, f"the broker has lost the session: {lost}", "look at persistence and at the broker's log")


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
