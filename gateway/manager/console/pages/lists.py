"""The lists that the counts of the first page link to: devices and rollouts, page by page."""

from collections.abc import Mapping
from typing import Any

from gateway.manager.api import STATES
from gateway.manager.console.errors import PageError
from gateway.manager.console.views import Shown, View, ViewAnswer, ViewRequest, downloaded
from gateway.manager.models import from_members, output_shape
from gateway.manager.reports import DeviceReport, RolloutReport
from gateway.manager.rollouts import RolloutState

PAGE = 50
"""Entries of a page."""
DOWNLOADED = 500
"""Entries of a file, at most: the first of the page, as many as an operation returns."""


def show_devices(request: ViewRequest) -> ViewAnswer:
    given = {"NameContains": request.query["name"]} if request.query.get("name") else {}
    return _show(request, "ListDeviceReports", "devices", STATES, tuple(DeviceReport.__annotations__), **given)


def show_rollouts(request: ViewRequest) -> ViewAnswer:
    columns = tuple(RolloutReport.__annotations__)
    return _show(request, "ListDeployments", "rollouts", tuple(RolloutState), columns, SortOrder="Descending")


def _show(
    request: ViewRequest, operation: str, name: str, states: tuple[str, ...], columns: tuple[str, ...], **members: str
) -> ViewAnswer:
    query, form = request.query, request.query.get("format")
    if query.get("state") not in (None, *states):
        raise PageError(400, f"There is no state {query['state'][:40]!r}.", f"Take {', '.join(states)}.")
    asked = members | _given(query, DeviceFleetName="fleet", State="state", NextToken="after")
    limit = PAGE if form is None else DOWNLOADED
    output = request.operations.call(f"EdgeManager.{operation}", {**asked, "MaxResults": limit})
    report = from_members(output, output_shape(operation))
    entries = report["devices" if name == "devices" else "deployments"]
    if form is not None:
        return downloaded(form, name, entries, columns)
    token = report["next_token"]
    variables = {
        "entries": entries,
        "states": states,
        "fleet": query.get("fleet"),
        "chosen": query.get("state"),
        "part": query.get("name", ""),
        "without_part": request.link(name=None, after=None),
        "may_register": request.viewer.may("edge-manager:AddDevices"),
        "now": request.now,
        "links": {each: request.link(state=each, after=None) for each in states},
        "all": request.link(state=None, after=None),
        "next": None if token is None else request.link(after=token),
        "first": request.link(after=None) if "after" in query else None,
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown(f"{name}.html", variables)


def _given(query: Mapping[str, str], **names: str) -> dict[str, Any]:
    return {member: query[name] for member, name in names.items() if query.get(name)}


VIEWS = (
    View("/devices", show_devices, action="edge-manager:ListDeviceReports"),
    View("/rollouts", show_rollouts, action="edge-manager:ListDeployments"),
)
