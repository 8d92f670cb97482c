"""What the manager's commands print: listings of its reports. It reads nothing and decides nothing.

Text of a device must never be printed with its control characters: they would act on the operator's terminal.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.errors import printable
from gateway.manager.api import STATES
from gateway.manager.time_words import ago_words

if TYPE_CHECKING:
    from gateway.manager.alerts import AlertReport
    from gateway.manager.reports import (
        AuditReport,
        DeviceEntry,
        DeviceReport,
        FleetReport,
        LogReport,
        MetricReport,
        ModelTimesReport,
        ResultReport,
        RolloutReport,
    )

AT_ONCE = 1000
"""Rows that are measured and printed together."""

Row = tuple[str, ...]
"""The cells, of a line or several; characters that would act on a terminal are replaced."""
_NUMBER = re.compile(r"\d{1,3}(,\d{3})+")
_DEFINITION: Row = ("Handle", "Version", "State", "Size", "SHA-1", "URL")


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows under headings, which come as they are printed."""

    headings: Row
    rows: Iterable[Row]

    def print(self, console: Console) -> None:
        """On a terminal a table that fits its width; else columns of text, as wide as they need to be."""
        rows = iter(self.rows)
        if not console.is_terminal:
            console.file.writelines(_columns(self.headings, rows))
            return
        first = True
        while (part := list(islice(rows, AT_ONCE))) or first:
            first = False
            table = Table(header_style="bold")
            for heading in self.headings:
                table.add_column(heading, overflow="fold", min_width=max(map(len, heading.split(" "))))
            for row in part:
                table.add_row(*map(Text, row))
            console.print(table)

    def tsv(self) -> Iterator[str]:
        """A line for each row, with tabs between its cells; the lines of a cell become one, numbers have no commas."""
        yield "\t".join(self.headings) + "\n"
        for row in self.rows:
            yield "\t".join(map(_tsv_cell, row)) + "\n"


def _tsv_cell(cell: str) -> str:
    return cell.replace(",", "") if _NUMBER.fullmatch(cell) else cell.replace("\n", "; ")


def _columns(headings: Row, rows: Iterator[Row]) -> Iterator[str]:
    widths = [0] * len(headings)
    part = [headings, *islice(rows, AT_ONCE)]
    while part:
        lines = [line for row in part for line in _lines_of(row)]
        widths = [max(width, *map(len, cells)) for width, cells in zip(widths, zip(*lines, strict=True), strict=True)]
        for line in lines:
            yield "  ".join(map(str.ljust, line, widths)).rstrip() + "\n"
        part = list(islice(rows, AT_ONCE))


def _lines_of(row: Row) -> list[list[str]]:
    """Each line of a row, with a text for each column."""
    cells = [cell.split("\n") for cell in row]
    height = max(map(len, cells))
    return [[cell[number] if number < len(cell) else "" for cell in cells] for number in range(height)]


def devices_table(devices: "Iterable[DeviceEntry]") -> Listing:
    """A row for each device."""
    rows = (
        (printable_text(each["fleet"]), printable_text(each["device"]), time_text(each["registered"]))
        for each in devices
    )
    return Listing(("Fleet", "Device", "Registered"), rows)


def registered_table(rows: Iterable[Mapping[str, Any]]) -> Listing:
    cells = ((each["fleet"], each["device"], "yes" if each["new"] else "no") for each in rows)
    return Listing(("Fleet", "Device", "New"), cells)


def deployments_table(deployments: Iterable[dict[str, Any]]) -> Listing:
    """Each an EdgeDeployment with its `device`, as fleet/device. A row for each definition."""
    headings = ("Device", "Deployment", "Policy", *_DEFINITION, "Created")
    cells = (
        (
            *map(
                printable_text,
                (deployment["device"], deployment["DeploymentName"], deployment["FailureHandlingPolicy"]),
            ),
            *(*_definition(each), time_text(deployment["Created"])),
        )
        for deployment in deployments
        for each in deployment["Definitions"]
    )
    return Listing(headings, cells)


def definitions_table(definitions: Iterable[dict[str, Any]]) -> Listing:
    """A row for each Definition."""
    return Listing(_DEFINITION, map(_definition, definitions))


def _definition(each: dict[str, Any]) -> Row:
    size, sha1 = each.get("Size"), each.get("Checksum", {}).get("Sum")
    return (
        *map(printable_text, (each["ModelHandle"], each.get("Version"), each["State"])),
        "" if size is None else f"{size:,}",
        *map(printable_text, (sha1, each.get("S3Url"))),
    )


def progress_table(reports: "Iterable[RolloutReport]") -> Listing:
    """A row for each deployment: how far it has come, as a terminal of 80 columns shows it."""
    counts = ("devices", "succeeded", "failed", "pending")
    rows = (
        (printable_text(f"{report['fleet']}/{report['deployment']}"), *_state_and_counts(report, counts))
        for report in reports
    )
    return Listing(("Deployment", "State", "Stage", *map(str.capitalize, counts)), rows)


def rollouts_table(reports: "Iterable[RolloutReport]") -> Listing:
    """A row for each deployment: all that is known of how far it has come."""
    counts = ("devices", "succeeded", "failed", "pending", "not_reached", "waiting", "superseded", "withdrawn")
    names = (each.capitalize().replace("_", " ") for each in counts)
    headings = ("Fleet", "Deployment", "Models", "Created", "State", "Stage", *names)
    return Listing(headings, (_rollout(report, counts) for report in reports))


def _rollout(report: "RolloutReport", counts: Row) -> Row:
    names = (
        printable_text(report["fleet"]),
        printable_text(report["deployment"]),
        printable_text(", ".join(map(_version, report["definitions"]))),
        time_text(report["created"]),
    )
    return *names, *_state_and_counts(report, counts)


def _state_and_counts(report: "RolloutReport", counts: Row) -> Row:
    state = ": ".join(filter(None, (report["state"], report["reason"])))
    stages = report["stages"]
    share = f"{report['stage']} of {len(stages)}, {stages[report['stage'] - 1]['share']:g}%"
    numbers: dict[str, Any] = {**report}
    return state, share, *(f"{numbers[each]:,}" for each in counts)


def _version(definition: dict[str, Any]) -> str:
    return f"{definition['ModelHandle']} {definition.get('Version') or ''}".rstrip()


def stages_table(report: "RolloutReport") -> Listing:
    """A row for each stage of a deployment: how many devices have it at its end, and what the next stage waits for."""
    last = len(report["stages"])
    rows = (
        (
            str(number),
            f"{each['share']:g}%",
            f"{each['devices']:,}",
            "" if number == last else f"{each['min_success']:g}%",
            "" if number == last else f"{each['wait']:g} s",
        )
        for number, each in enumerate(report["stages"], 1)
    )
    return Listing(("Stage", "Share", "Devices", "Min success", "Wait"), rows)


def _who(report: "DeviceReport") -> Iterator[str]:
    yield f"{report['fleet']}/{report['device']}"
    yield from filter(None, [report["agent_version"]])
    yield from (f"{key}={value}" for key, value in report["labels"].items())


def counts_text(reports: "Iterable[FleetReport]") -> str:
    """How many devices the fleets have together, by state, and how many of them a deployment failed on."""
    states: Counter[str] = Counter()
    failing = 0
    for report in reports:
        states.update(report["states"])
        failing += report["failing"]
    words = [f"{states[each]:,} {each}" for each in STATES if states[each]]
    total = states.total()
    noun = "device" if total == 1 else "devices"
    return f"{total:,} {noun}: {', '.join([*words, f'{failing:,} failing'])}"


def status_table(reports: "Iterable[DeviceReport]", now: float | None = None) -> Listing:
    """`now` (Unix seconds): the newest heartbeat is told in words, as so long ago; None: as a date."""
    rows = (_device(report, now) for report in reports)
    return Listing(("Device", "State", "Metrics", "Models", "In force", "Results"), rows)


def _device(report: "DeviceReport", now: float | None) -> Row:
    return (
        _lines(_who(report)),
        _lines(_state(report, now)),
        _lines(map(_metric, report["metrics"])),
        _lines(map(_model, report["models"])),
        _lines(_in_force(each, report["not_reached"]) for each in report["deployments"]),
        _lines(
            f"{each['deployment']}: {_result(each['result'])}, reported {_times(each)}" for each in report["results"]
        ),
    )


def summary_table(reports: "Iterable[FleetReport]") -> Listing:
    """A row for each fleet: its devices by state, and by the versions of models that they run."""
    rows = (
        (
            printable_text(report["fleet"]),
            f"{report['devices']:,}",
            _lines([*(f"{count:,} {state}" for state, count in report["states"].items()), *_failing(report)]),
            _lines(f"{each['devices']:,} {each['name']} {each['version']}".rstrip() for each in report["models"]),
        )
        for report in reports
    )
    return Listing(("Fleet", "Devices", "States", "Models"), rows)


def _failing(report: "FleetReport") -> Iterator[str]:
    if report["failing"]:
        yield f"{report['failing']:,} failing"


def log_table(entries: "Iterable[LogReport]") -> Listing:
    """A row for each entry of a device's log."""
    rows = ((time_text(each["at"]), printable_text(each["kind"]), printable_text(_detail(each))) for each in entries)
    return Listing(("Time", "Kind", "What"), rows)


def audit_table(rows: "Iterable[AuditReport]") -> Listing:
    """A row for each change."""
    headings = ("Time", "Key", "Address", "Action", "Resource", "Before", "After")
    cells = (
        (
            time_text(each["at"]),
            *map(printable_text, (each["key"], each["address"], each["action"], each["resource"])),
            *(_members(each["before"], each["after"]), _members(each["after"], each["before"])),
        )
        for each in rows
    )
    return Listing(headings, cells)


def alerts_table(alerts: "Iterable[AlertReport]") -> Listing:
    """A row for each alert, with what to do."""
    rows = (
        (
            "\n".join(filter(None, (each["name"].removeprefix("EdgeManager"), printable_text(each["subject"])))),
            _alert_state(each),
            "\n".join((printable_text(each["summary"]), each["action"])),
        )
        for each in alerts
    )
    return Listing(("Alert", "State", "What it is, and what to do"), rows)


def _alert_state(alert: "AlertReport") -> str:
    at = {"firing": alert["fired"], "ended": alert["ended"]}.get(alert["state"]) or alert["since"]
    muted = None if alert["muted"] is None else f"muted until {time_text(alert['muted'])}"
    return "\n".join(filter(None, (f"{alert['state']}, {alert['severity']}", f"since {time_text(at)}", muted)))


def keys_table(keys: Iterable[Mapping[str, Any]]) -> Listing:
    """A row for each access key, as ListAccessKeys has it."""
    rows = (
        (
            each["AccessKeyId"],
            each["Role"],
            "" if "RevocationTime" not in each else time_text(each["RevocationTime"]),
            time_text(each["CreationTime"]),
            printable_text(each["Description"]),
        )
        for each in keys
    )
    return Listing(("Key", "Role", "Revoked", "Created", "Description"), rows)


def made_keys_table(keys: Iterable[Mapping[str, Any]]) -> Listing:
    """A row for each access key that was just made, as CreateAccessKey has it."""
    return Listing(("Key", "Secret"), ((each["AccessKeyId"], each["SecretAccessKey"]) for each in keys))


def users_table(users: Iterable[Mapping[str, Any]]) -> Listing:
    """A row for each user of the console."""
    rows = (
        (
            each["UserName"],
            each["Role"],
            time_text(each.get("RemovalTime")),
            time_text(each["CreationTime"]),
        )
        for each in users
    )
    return Listing(("Name", "Role", "Removed", "Created"), rows)


def _members(members: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """A line for each member that is another one in `other`."""
    others = other or {}
    changed = {name: each for name, each in (members or {}).items() if name not in others or others[name] != each}
    return _lines(
        f"{name}: {each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}"
        for name, each in changed.items()
    )


def _detail(entry: "LogReport") -> str:
    detail = entry["detail"]
    match entry["kind"]:
        case "state":
            return f"{detail['after']}, before: {detail['before']}"
        case "plan":
            return f"{detail['deployment']} {detail['change']}"
        case "result":
            return f"{detail.get('DeploymentName', '')}: {_result(detail)}"
        case "limit":
            return f"{detail['deleted']:,} {detail['what']} deleted, the newest {detail['kept']:,} kept"
        case _:
            return json.dumps(detail, ensure_ascii=False)


def _state(report: "DeviceReport", now: float | None) -> Iterator[str]:
    """Where nothing was announced, the date of the newest heartbeat says all that is known."""
    liveness = report["liveness"]
    word, at = ("since", liveness["since"]) if liveness["until"] is None else ("until", liveness["until"])
    if liveness["state"] != "not announced":
        yield liveness["state"] if at is None else f"{liveness['state']} {word} {time_text(at)}"
    if report["newest"] is not None:
        yield f"newest {time_text(report['newest']) if now is None else ago_words(now - report['newest'])}"
        yield f"{report['accepted']:,} heartbeat{'' if report['accepted'] == 1 else 's'}"


def _metric(metric: "MetricReport") -> str:
    model = f"{metric['model']} {metric['version']} " if metric["model"] or metric["version"] else ""
    return f"{model}{metric['dimension']}/{metric['name']} = {metric['value']:.10g}"


def _model(model: "ModelTimesReport") -> str:
    times = [("sample", model["latest_sample"]), ("inference", model["latest_inference"])]
    shown = ", ".join(f"{what} {time_text(at)}" for what, at in times if at is not None)
    return f"{model['name']} {model['version']} {shown}".rstrip()


def _in_force(deployment: dict[str, Any], not_reached: list[str]) -> str:
    handles = ", ".join(f"{each['State'].lower()} {each['ModelHandle']}" for each in deployment["Definitions"])
    note = " (not reached: silent)" if deployment["DeploymentName"] in not_reached else ""
    return f"{deployment['DeploymentName']}: {handles}{note}"


def _result(result: dict[str, Any]) -> str:
    """The API's DeploymentResult."""
    message = f" ({result['DeploymentStatusMessage']})" if "DeploymentStatusMessage" in result else ""
    return f"{result.get('DeploymentStatus', 'no status')}{message}"


def _times(report: "ResultReport") -> str:
    return "once" if report["told"] == 1 else f"{report['told']} times"


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(map(printable_text, texts))


def printable_text(text: str | None) -> str:
    return printable(text or "", "\ufffd")


def time_text(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
