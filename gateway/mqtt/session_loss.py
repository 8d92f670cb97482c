"""Whether the broker has lost our session, by what is known of the last connection. Pure.

Times are Unix seconds: they are compared over restarts.
"""

from dataclasses import dataclass

FOR_EVER = 0xFFFF_FFFF
"""MQTT 5, 3.1.2.11.2: the expiry of a session that does not expire."""


@dataclass(frozen=True, slots=True)
class SessionLoss:
    """What came between `since` and `until`, or waited at `since`, is lost. `expired`: the broker had kept the session
    for as long as it had promised."""

    since: float
    until: float
    expired: bool


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The session of one client id at one broker. `connected`: when the gateway was last connected and subscribed.
    `expiry`: seconds that the broker keeps it afterwards. `loss`: the last one, if there was any."""

    connected: float
    expiry: int
    loss: SessionLoss | None = None


def find_loss(record: SessionRecord | None, session_present: bool, now: float) -> SessionLoss | None:
    """`record` None: this client id was never connected to this broker, so no session can be lost."""
    if record is None or session_present:
        return None
    since = min(record.connected, now)  # the clock may have been ahead then
    return SessionLoss(since, now, expired=record.expiry != FOR_EVER and now - since >= record.expiry)
