"""What an alert is, and when it fires: from the counts of fleets and the newest rollouts. No I/O, no clock.

The names are those of the rules for Prometheus (gateway/ops/monitoring/alerts.yaml), where these have the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from fractions import Fraction

from gateway.manager.api import STATES
from gateway.manager.reports import FleetReport
from gateway.manager.rollouts import OPEN, Rollout, RolloutDeviceState, RolloutState

SILENT = ("silent", "gone")
"""States of a device that sent nothing within the time that it announced."""
NEVER = "never heard"
SILENT_SHARE = Fraction(1, 10)
FAILING_SHARE = Fraction(1, 20)
FAILING_RESULTS = 10
"""Results of a rollout, before its share of failures is looked at."""
assert {*SILENT, NEVER} < set(STATES)


@dataclass(frozen=True, slots=True)
class AlertKind:
    """`holds`: seconds for which it must be so before it fires. `follows`, `action`: what it means, and what to do."""

    severity: str
    holds: float
    follows: str
    action: str


KINDS: Mapping[str, AlertKind] = {
    "EdgeManagerNoHeartbeats": AlertKind(
        "critical",
        600.0,
        "Nothing is known of any device.",
        "Look whether the gateway is connected to the broker and reaches this manager: `edge-gateway doctor` tries it.",
    ),
    "EdgeManagerDevicesSilent": AlertKind(
        "warning",
        900.0,
        "They sent nothing within the time that they announced.",
        "Look at what they share, such as a network or a new model.",
    ),
    "EdgeManagerDeviceSilent": AlertKind(
        "info",
        900.0,
        "It sent nothing within the time that it announced.",
        "Look at its power and its network; deregister it where it is gone for good.",
    ),
    "EdgeManagerRolloutStopped": AlertKind(
        "warning",
        0.0,
        "No further device gets the model; those that have it keep it.",
        "See on which devices it failed and why; deploy a better one, or undo it.",
    ),
    "EdgeManagerResultsFail": AlertKind(
        "warning",
        0.0,
        "It goes on as long as its rules allow it.",
        "See on which devices it failed and why; pause or abort it meanwhile.",
    ),
}
"""In the order in which they matter."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is so now. `subject`: empty, a fleet, or FLEET/DEPLOYMENT."""

    name: str
    subject: str
    summary: str


class AlertState(StrEnum):
    PENDING = auto()
    """It is so, and not for long enough yet."""
    FIRING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Alert:
    """Times are Unix seconds. `since`: it is so; `fired`: None: it is pending; `ended`: None: it is so yet."""

    name: str
    subject: str
    summary: str
    since: float
    fired: float | None = None
    ended: float | None = None

    @property
    def state(self) -> AlertState:
        if self.ended is not None:
            return AlertState.ENDED
        return AlertState.PENDING if self.fired is None else AlertState.FIRING


def next_alert(alert: Alert | None, finding: Finding | None, now: float) -> Alert | None:
    """The alert after a look at `now`. None: there is none any more, since it never fired."""
    if finding is None:
        if alert is None or alert.ended is not None:
            return alert
        return None if alert.fired is None else replace(alert, ended=max(now, alert.fired))
    if alert is None or alert.ended is not None:
        alert = Alert(finding.name, finding.subject, finding.summary, now)
    since = min(alert.since, now)  # a clock that was ahead
    fired = alert.fired
    if fired is None and now - since >= KINDS[finding.name].holds:
        fired = now
    return replace(alert, summary=finding.summary, since=since, fired=fired)


def find(fleets: Iterable[FleetReport], rollouts: Sequence[Rollout]) -> list[Finding]:
    """`rollouts`: the newest ones, in whatever order."""
    counted = [each for each in map(_silence_of, fleets) if each.heard]
    found = list(filter(None, map(_silent_devices, counted)))
    heard, silent = sum(each.heard for each in counted), sum(each.silent for each in counted)
    if heard and silent == heard:
        words = "The one device that was heard is" if heard == 1 else f"All {heard:,} devices that were heard are"
        found.append(Finding("EdgeManagerNoHeartbeats", "", f"{words} silent."))
    return [*found, *_of_rollouts(rollouts)]


@dataclass(frozen=True, slots=True)
class _Silence:
    fleet: str
    heard: int
    silent: int


def _silence_of(fleet: FleetReport) -> _Silence:
    states = fleet["states"]
    heard = fleet["devices"] - states.get(NEVER, 0)
    return _Silence(fleet["fleet"], heard, sum(states.get(each, 0) for each in SILENT))


def _silent_devices(fleet: _Silence) -> Finding | None:
    if not fleet.silent:
        return None
    said = f"{fleet.silent:,} of {fleet.heard:,} devices of {fleet.fleet} that were heard are silent."
    many = fleet.silent > SILENT_SHARE * fleet.heard
    return Finding("EdgeManagerDevicesSilent" if many else "EdgeManagerDeviceSilent", fleet.fleet, said)


def _of_rollouts(rollouts: Sequence[Rollout]) -> Iterable[Finding]:
    undone = {(each.fleet, each.undoes) for each in rollouts if each.undoes is not None}
    newest: dict[tuple[str, str], int] = {}
    for each in rollouts:
        for definition in each.definitions:
            handle = each.fleet, definition.handle
            newest[handle] = max(newest.get(handle, 0), each.id)
    for each in sorted(rollouts, key=lambda rollout: rollout.id):
        is_newest = any(newest[each.fleet, one.handle] == each.id for one in each.definitions)
        subject = f"{each.fleet}/{each.name}"
        if each.progress.state is RolloutState.STOPPED and is_newest and (each.fleet, each.name) not in undone:
            yield Finding("EdgeManagerRolloutStopped", subject, f"{subject} stopped: {each.reason}.")
        failed = each.progress.count(RolloutDeviceState.FAILED)
        results = failed + each.progress.count(RolloutDeviceState.SUCCEEDED)
        if each.progress.state in OPEN and results >= FAILING_RESULTS and failed > FAILING_SHARE * results:
            said = f"{failed:,} of {results:,} results of {subject} are FAIL."
            yield Finding("EdgeManagerResultsFail", subject, said)
