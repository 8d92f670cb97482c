"""When an alert fires and ends, and what the webhook is told: without a clock, a database or a network."""

import hashlib
import hmac

import pytest

from gateway.manager import ManagerError
from gateway.manager.alerts import KINDS, AlertState, WebhookConfig
from gateway.manager.alerts.conditions import Alert, Finding, find, next_alert
from gateway.manager.alerts.webhook import message, signature
from gateway.manager.api import ModelDefinition
from gateway.manager.rollouts import AT_ONCE, Rollout, RolloutDeviceState, RolloutState
from gateway.manager.rollouts.decisions import Progress


def fleet(name="f", **states):
    """`states`: how many devices are in which."""
    named = {state.replace("_", " "): devices for state, devices in states.items()}
    return {"fleet": name, "devices": sum(named.values()), "states": named, "models": []}


def rollout(number, name, state=RolloutState.RUNNING, handle="kws", undoes=None, **devices):
    counted = {RolloutDeviceState[each.upper()]: count for each, count in devices.items()}
    progress = Progress(AT_ONCE, state, 0, 0.0, 0.0, counted)
    return Rollout(number, "f", name, "", (ModelDefinition(handle),), 0.0, undoes, None, "too many", progress)


def names(fleets=(), rollouts=()):
    return [(each.name.removeprefix("EdgeManager"), each.subject) for each in find(fleets, rollouts)]


@pytest.mark.parametrize(
    ("fleets", "expected"),
    [
        ([], []),
        ([fleet(connected=10, never_heard=5)], []),
        ([fleet(never_heard=5)], []),
        ([fleet(connected=95, silent=5)], [("DeviceSilent", "f")]),
        ([fleet(connected=89, silent=10, gone=1)], [("DevicesSilent", "f")]),
        ([fleet(asleep=90, gone=10)], [("DeviceSilent", "f")]),
        (
            [fleet("a", silent=2), fleet("b", gone=1)],
            [("DevicesSilent", "a"), ("DevicesSilent", "b"), ("NoHeartbeats", "")],
        ),
        ([fleet("a", silent=2), fleet("b", connected=1)], [("DevicesSilent", "a")]),
    ],
)  # fmt: skip
def test_what_is_found_of_fleets(fleets, expected):
    assert names(fleets) == expected


@pytest.mark.parametrize(
    ("rollouts", "expected"),
    [
        ([rollout(1, "a", RolloutState.STOPPED)], [("RolloutStopped", "f/a")]),
        ([rollout(1, "a", RolloutState.ABORTED)], []),
        ([rollout(2, "b"), rollout(1, "a", RolloutState.STOPPED)], []),
        ([rollout(2, "b", handle="other"), rollout(1, "a", RolloutState.STOPPED)], [("RolloutStopped", "f/a")]),
        ([rollout(1, "a", RolloutState.STOPPED), rollout(2, "u", handle="x", undoes="a")], []),
        ([rollout(1, "a", failed=1, succeeded=9)], [("ResultsFail", "f/a")]),
        ([rollout(1, "a", failed=1, succeeded=8)], []),
        ([rollout(1, "a", failed=5, succeeded=95)], []),
        ([rollout(1, "a", RolloutState.COMPLETED, failed=9, succeeded=9)], []),
    ],
)
def test_what_is_found_of_rollouts(rollouts, expected):
    assert names((), rollouts) == expected


SILENT = Finding("EdgeManagerDevicesSilent", "f", "10 of 20 devices are silent.")
HOLDS = KINDS[SILENT.name].holds


def test_an_alert_fires_once_it_has_lasted_and_ends():
    pending = next_alert(None, SILENT, 100.0)
    assert (pending.state, pending.since) == (AlertState.PENDING, 100.0)
    assert next_alert(pending, SILENT, 99.0 + HOLDS).state is AlertState.PENDING
    firing = next_alert(pending, SILENT, 100.0 + HOLDS)
    assert (firing.state, firing.fired) == (AlertState.FIRING, 100.0 + HOLDS)
    assert next_alert(firing, SILENT, 200.0 + HOLDS) == firing
    ended = next_alert(firing, None, 300.0 + HOLDS)
    assert (ended.state, ended.ended) == (AlertState.ENDED, 300.0 + HOLDS)
    assert next_alert(ended, None, 400.0 + HOLDS) == ended
    again = next_alert(ended, SILENT, 500.0 + HOLDS)
    assert (again.state, again.since, again.fired) == (AlertState.PENDING, 500.0 + HOLDS, None)


def test_what_did_not_last_is_forgotten():
    assert next_alert(next_alert(None, SILENT, 100.0), None, 160.0) is None


def test_a_clock_that_was_ahead_does_not_hold_an_alert_back():
    pending = next_alert(None, SILENT, 1e9)
    set_back = next_alert(pending, SILENT, 100.0)
    assert set_back.since == 100.0
    assert next_alert(set_back, SILENT, 100.0 + HOLDS).state is AlertState.FIRING


def test_the_newest_words_are_shown():
    later = Finding(SILENT.name, SILENT.subject, "11 of 20 devices are silent.")
    assert next_alert(next_alert(None, SILENT, 1.0), later, 2.0).summary == later.summary


def test_the_message_has_the_form_of_alertmanager():
    alert = Alert("EdgeManagerRolloutStopped", "f/kws-1", "f/kws-1 stopped.", 5.0, 5.0, 65.0)
    told = message([alert], "http://manager")
    assert told["version"] == "4"
    assert told["status"] == "resolved"
    [one] = told["alerts"]
    expected = {"alertname": alert.name, "severity": "warning", "fleet": "f", "deployment": "kws-1"}
    assert one["labels"] == expected
    assert (one["startsAt"], one["endsAt"]) == ("1970-01-01T00:00:05+00:00", "1970-01-01T00:01:05+00:00")
    assert one["annotations"]["action"] == KINDS[alert.name].action


def test_the_signature_is_of_the_time_and_the_body():
    expected = hmac.new(b"secret", b"7.{}", hashlib.sha256).hexdigest()
    assert signature("secret", 7, b"{}") == f"t=7,v1={expected}"


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "http://", "http://h:0/", "http://h:99999/"])
def test_a_webhook_that_cannot_be(url):
    with pytest.raises(ManagerError, match="is not a URL"):
        WebhookConfig(url)
