"""What the manager's commands print: rich tables of its reports. It reads nothing and decides nothing.

Text that came from a device is printed without its control characters: it shall not steer an operator's terminal.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from gateway.errors import printable
from gateway.manager.api.deployments import Definition, Deployment
from gateway.manager.cli.reports import DeviceReport, MetricReport, ModelReport, ResultReport, RolloutReport


def devices_table(devices: Iterable[tuple[str, str, float]]) -> Table:
    """(fleet, device, registered at in Unix seconds), a row each."""
    table = _table("Fleet", "Device", "Registered")
    for fleet, device, at in devices:
        table.add_row(_text(fleet), _text(device), _time(at))
    return table


def deployments_table(rows: Iterable[tuple[str, Deployment]]) -> Table:
    """(whose, deployment), a row for each definition."""
    table = _table("Device", "Deployment", "Policy", "Handle", "State", "Size", "SHA-1", "URL", "Created")
    for whose, deployment in rows:
        for each in deployment.definitions:
            cells = (whose, deployment.name, deployment.policy, each.handle, each.state)
            size = "" if each.size is None else f"{each.size:,}"
            table.add_row(*map(_text, cells), _text(size), _text(each.sha1), _text(each.url), _time(deployment.created))
    return table


def definitions_table(definitions: Iterable[Definition]) -> Table:
    """What a deployment has for each model handle, a row each."""
    table = _table("Handle", "State", "Size", "SHA-1", "URL")
    for each in definitions:
        size = "" if each.size is None else f"{each.size:,}"
        table.add_row(*map(_text, (each.handle, each.state, size, each.sha1, each.url)))
    return table


def rollouts_table(reports: Iterable[RolloutReport]) -> Table:
    """How far each deployment has come, a row each."""
    counts = ("devices", "succeeded", "failed", "pending", "waiting", "superseded", "withdrawn")
    table = _table("Fleet", "Deployment", "Created", "State", "Stage", *(each.capitalize() for each in counts))
    for report in reports:
        told = ": ".join(filter(None, (report["state"], report["reason"])))
        stages = report["stages"]
        share = f"{report['stage']} of {len(stages)}, {stages[report['stage'] - 1]['share']:g}%"
        names = (_text(report["fleet"]), _text(report["deployment"]), _time(report["created"]), told, share)
        numbers: dict[str, Any] = {**report}
        table.add_row(*names, *(f"{numbers[each]:,}" for each in counts))
    return table


def status_table(reports: Iterable[DeviceReport]) -> Table:
    """A row for each device."""
    table = _table("Device", "Agent", "Heartbeats", "Newest", "Metrics", "Models", "In force", "Results")
    for report in reports:
        table.add_row(
            _text(f"{report['fleet']}/{report['device']}"),
            _text(report["agent_version"]),
            _text(str(report["accepted"])),
            _time(report["newest"]),
            _lines(_metric(each) for each in report["metrics"]),
            _lines(_model(each) for each in report["models"]),
            _lines(_in_force(each) for each in report["deployments"]),
            _lines(_result(each) for each in report["results"]),
        )
    return table


def _metric(metric: MetricReport) -> str:
    model = f"{metric['model']} {metric['version']} " if metric["model"] or metric["version"] else ""
    return f"{model}{metric['dimension']}/{metric['name']} = {metric['value']:.10g}"


def _model(model: ModelReport) -> str:
    times = [("sample", model["latest_sample"]), ("inference", model["latest_inference"])]
    told = ", ".join(f"{what} {_time(at)}" for what, at in times if at is not None)
    return f"{model['name']} {model['version']} {told}".rstrip()


def _in_force(deployment: dict[str, Any]) -> str:
    handles = ", ".join(f"{each['State'].lower()} {each['ModelHandle']}" for each in deployment["Definitions"])
    return f"{deployment['DeploymentName']}: {handles}"


def _result(report: ResultReport) -> str:
    result = report["result"]
    told = f" ({result['DeploymentStatusMessage']})" if "DeploymentStatusMessage" in result else ""
    times = "once" if report["told"] == 1 else f"{report['told']} times"
    return f"{report['deployment']}: {result.get('DeploymentStatus', 'no status')}{told}, told {times}"


def _table(*columns: str) -> Table:
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _lines(texts: Iterable[str]) -> Text:
    return Text("\n").join([_text(text) for text in texts])


def _text(text: str | None) -> Text:
    return Text(printable(text or "", "\ufffd"))


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
