"""One rollout: how far it is, what it waits for, on which devices, and what an operator can do with it.

A change says what follows before it is made; one that gives or takes a model needs a word where many devices have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.manager.console.errors import PageError
from gateway.manager.console.rollout_words import (
    RolloutChange,
    device_words,
    gate_sentences,
    possible_changes,
    rule_sentences,
    stage_sentences,
)
from gateway.manager.console.views import (
    Redirected,
    Shown,
    View,
    ViewAnswer,
    ViewRequest,
    downloaded,
    path_to,
    require_word,
)
from gateway.manager.models import from_members, output_shape
from gateway.manager.reports import DEPLOYMENT_DEVICE_STATES, DeploymentDevice, RolloutReport

PAGE = 50
"""Devices of a page."""
DOWNLOADED = 500
"""Devices of a file, at most: the first of the page, as many as an operation returns."""
COLUMNS = tuple(DeploymentDevice.__annotations__)
PATH = "/rollouts/{fleet}/{name}"


def show(request: ViewRequest) -> ViewAnswer:
    report = _report(request)
    chosen, form = request.query.get("devices"), request.query.get("format")
    if chosen is not None and chosen not in DEPLOYMENT_DEVICE_STATES:
        raise PageError(400, f"There is no state {chosen[:40]!r}.", f"Take {', '.join(DEPLOYMENT_DEVICE_STATES)}.")
    asked = _names(request) | {"MaxResults": PAGE if form is None else DOWNLOADED}
    asked |= {name: value for name, value in (("State", chosen), ("NextToken", request.query.get("after"))) if value}
    output = request.operations.call("EdgeManager.ListDeploymentDevices", asked)
    listed = from_members(output, output_shape("ListDeploymentDevices"))
    if form is not None:
        return downloaded(form, "devices", listed["devices"], COLUMNS)
    token = listed["next_token"]
    changes = [each for each in possible_changes(report) if request.viewer.may(f"edge-manager:{each.operation}")]
    variables = {
        "report": report,
        "parts": progress_parts(report),
        "gate": gate_sentences(report),
        "stages": stage_sentences(report),
        "rules": rule_sentences(report),
        "changes": changes,
        "counts": {each: _count(report, each) for each in DEPLOYMENT_DEVICE_STATES},
        "links": {each: request.link(devices=each, after=None) for each in DEPLOYMENT_DEVICE_STATES},
        "all": request.link(devices=None, after=None),
        "chosen": chosen,
        "devices": listed["devices"],
        "next": None if token is None else request.link(after=token),
        "first": request.link(after=None) if "after" in request.query else None,
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown("rollout.html", variables)


@dataclass(frozen=True, slots=True)
class ProgressPart:
    """A part of the bar: from `start` on, `width` wide, in hundredths of the devices."""

    state: str
    start: float
    width: float


def progress_parts(report: RolloutReport) -> list[ProgressPart]:
    """Those that have devices, side by side."""
    found: list[ProgressPart] = []
    start = 0.0
    for state in ("succeeded", "failed", "pending", "superseded", "withdrawn"):
        width = 100 * _count(report, state) / max(report["devices"], 1)
        if width:
            found.append(ProgressPart(state, round(start, 2), round(width, 2)))
        start += width
    return found


def _count(report: RolloutReport, state: str) -> int:
    counts: Mapping[str, Any] = report
    found: int = counts[state]
    return found


def act(request: ViewRequest) -> ViewAnswer:
    """`change`: the operation, of those that the page offers."""
    report = _report(request)
    change = _chosen(request, report)
    require_word(request.form, change.devices, report["deployment"])
    output = request.operations.call(f"EdgeManager.{change.operation}", _names(request))
    done: RolloutReport | None = from_members(output, output_shape(change.operation))["deployment"]
    return Redirected(path_to("rollouts", report["fleet"], report["deployment"]), _said(change, report, done))


def _said(change: RolloutChange, before: RolloutReport, after: RolloutReport | None) -> str:
    if after is None or after["deployment"] == before["deployment"]:
        state = before["state"] if after is None else after["state"]
        return f"{change.name}: the rollout is {state} now."
    return f"{change.name}: {after['deployment']} gives {device_words(after['devices'])} what they had before."


def _chosen(request: ViewRequest, report: RolloutReport) -> RolloutChange:
    asked = request.form.get("change", "")
    change = next((each for each in possible_changes(report) if each.operation == asked), None)
    if change is None:
        what = f"The rollout is {report['state']}: this cannot be done with it. Nothing was changed."
        raise PageError(409, what, "Load its page again, and choose what it offers.")
    return change


def _report(request: ViewRequest) -> RolloutReport:
    output = request.operations.find("EdgeManager.DescribeDeployment", _names(request))
    found: RolloutReport = from_members(output, output_shape("DescribeDeployment"))["deployment"]
    return found


def _names(request: ViewRequest) -> dict[str, Any]:
    return {"DeviceFleetName": request.parameters["fleet"], "DeploymentName": request.parameters["name"]}


VIEWS = (
    View(PATH, show, action="edge-manager:DescribeDeployment"),
    View(PATH, act, action="edge-manager:AbortDeployment", changes=True),
)
