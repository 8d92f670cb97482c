"""Alerts, as an operator reads and mutes them."""

from gateway.manager.alerts import alert_reports, mute_alert
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.own.outputs import limit_of, output, page_of
from gateway.manager.control.paging import decode_token, encode_token
from gateway.manager.errors import ApiError, validation_error

LONGEST = 366 * 86_400.0
"""Seconds for which an alert may be muted."""


def list_all(call: ControlCall, asked: Members) -> Members:
    """Those that fire first, then the pending ones, then those that ended in the last days."""
    limit = limit_of(asked)
    after = ("", "")
    if "NextToken" in asked:
        name, subject = decode_token(asked["NextToken"], str, str)
        after = (name, subject)
    found, more = page_of(alert_reports(call.transaction, call.now, after=after, limit=limit + 1), limit)
    token = encode_token(found[-1]["name"], found[-1]["subject"]) if more else None
    return output("ListAlerts", alerts=found, next_token=token)


def mute(call: ControlCall, asked: Members) -> Members:
    until = asked["Until"]
    if not call.now < until <= call.now + LONGEST:
        raise validation_error(f"Until is {until}: should be after now, by {LONGEST / 86_400:g} days at most")
    return _mute(call, asked, until)


def unmute(call: ControlCall, asked: Members) -> Members:
    return _mute(call, asked, None)


def _mute(call: ControlCall, asked: Members, until: float | None) -> Members:
    name, subject = asked["AlertName"], asked.get("Subject", "")
    found, before = mute_alert(call.transaction, name, subject, until)
    if not found:
        raise ApiError("ResourceNotFound", f"there is no alert {name} of {subject or 'the whole site'}")
    if before != until:
        call.audit(f"alert/{name}/{subject}", {"Muted": before}, {"Muted": until})
    return {}


OPERATIONS = {
    "ListAlerts": ControlOperation(list_all),
    "MuteAlert": ControlOperation(mute, writes=True),
    "UnmuteAlert": ControlOperation(unmute, writes=True),
}
