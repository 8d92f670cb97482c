"""What the manager's commands print: rich tables of its reports. It reads nothing and decides nothing.

Text of a device must never be printed with its control characters: they would act on the operator's terminal.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from gateway.errors import printable
from gateway.manager.api import DeviceDeployment, ModelDefinition
from gateway.manager.reports import DeviceReport, MetricReport, ModelTimesReport, ResultReport, RolloutReport


def devices_table(devices: Iterable[tuple[str, str, float]]) -> Table:
    """A row for each (fleet, device, time of registration in Unix seconds)."""
    table = _table("Fleet", "Device", "Registered")
    for fleet, device, at in devices:
        table.add_row(_text(fleet), _text(device), _time(at))
    return table


def deployments_table(rows: Iterable[tuple[str, DeviceDeployment]]) -> Table:
    """`rows`: (fleet/device, deployment). A row for each definition."""
    table = _table("Device", "Deployment", "Policy", "Handle", "State", "Size", "SHA-1", "URL", "Created")
    for device, deployment in rows:
        for each in deployment.definitions:
            cells = (device, deployment.name, deployment.policy, each.handle, each.state)
            table.add_row(*map(_text, cells), _size(each), _text(each.sha1), _text(each.url), _time(deployment.created))
    return table


def definitions_table(definitions: Iterable[ModelDefinition]) -> Table:
    table = _table("Handle", "State", "Size", "SHA-1", "URL")
    for each in definitions:
        table.add_row(_text(each.handle), _text(each.state), _size(each), _text(each.sha1), _text(each.url))
    return table


def rollouts_table(reports: Iterable[RolloutReport]) -> Table:
    """A row for each deployment: how far it has come."""
    counts = ("devices", "succeeded", "failed", "pending", "waiting", "superseded", "withdrawn")
    table = _table("Fleet", "Deployment", "Created", "State", "Stage", *(each.capitalize() for each in counts))
    for report in reports:
        state = ": ".join(filter(None, (report["state"], report["reason"])))
        stages = report["stages"]
        share = f"{report['stage']} of {len(stages)}, {stages[report['stage'] - 1]['share']:g}%"
        names = (_text(report["fleet"]), _text(report["deployment"]), _time(report["created"]), state, share)
        numbers: dict[str, Any] = {**report}
        table.add_row(*names, *(f"{numbers[each]:,}" for each in counts))
    return table


def status_table(reports: Iterable[DeviceReport]) -> Table:
    table = _table("Device", "State", "Metrics", "Models", "In force", "Results")
    for report in reports:
        table.add_row(
            _lines(filter(None, (f"{report['fleet']}/{report['device']}", report["agent_version"]))),
            _lines(_state(report)),
            _lines(_metric(each) for each in report["metrics"]),
            _lines(_model(each) for each in report["models"]),
            _lines(_in_force(each) for each in report["deployments"]),
            _lines(_result(each) for each in report["results"]),
        )
    return table


def _state(report: DeviceReport) -> Iterator[str]:
    """Where nothing was announced, the date of the newest heartbeat says all that is known."""
    liveness = report["liveness"]
    word, at = ("since", liveness["since"]) if liveness["until"] is None else ("until", liveness["until"])
    if liveness["state"] != "not announced":
        yield liveness["state"] if at is None else f"{liveness['state']} {word} {_time(at)}"
    if report["newest"] is not None:
        yield f"newest {_time(report['newest'])}"
        yield f"{report['accepted']:,} heartbeat{'' if report['accepted'] == 1 else 's'}"


def _metric(metric: MetricReport) -> str:
    model = f"{metric['model']} {metric['version']} " if metric["model"] or metric["version"] else ""
    return f"{model}{metric['dimension']}/{metric['name']} = {metric['value']:.10g}"


def _model(model: ModelTimesReport) -> str:
    times = [("sample", model["latest_sample"]), ("inference", model["latest_inference"])]
    shown = ", ".join(f"{what} {_time(at)}" for what, at in times if at is not None)
    return f"{model['name']} {model['version']} {shown}".rstrip()


def _in_force(deployment: dict[str, Any]) -> str:
    handles = ", ".join(f"{each['State'].lower()} {each['ModelHandle']}" for each in deployment["Definitions"])
    return f"{deployment['DeploymentName']}: {handles}"


def _result(report: ResultReport) -> str:
    result = report["result"]
    message = f" ({result['DeploymentStatusMessage']})" if "DeploymentStatusMessage" in result else ""
    times = "once" if report["told"] == 1 else f"{report['told']} times"
    return f"{report['deployment']}: {result.get('DeploymentStatus', 'no status')}{message}, reported {times}"


def _table(*columns: str) -> Table:
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _lines(texts: Iterable[str]) -> Text:
    return Text("\n").join([_text(text) for text in texts])


def _size(definition: ModelDefinition) -> str:
    return "" if definition.size is None else f"{definition.size:,}"


def _text(text: str | None) -> Text:
    return Text(printable(text or "", "\ufffd"))


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
