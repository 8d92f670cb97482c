"""How a command waits for the end of a deployment, and shows how far it is. Decides nothing."""

import time
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.manager.cli import output, tables
from gateway.manager.cli.output import Form

if TYPE_CHECKING:
    from gateway.manager.client import ManagerClient
    from gateway.manager.reports import RolloutReport

POLL = 1.0
"""Seconds between two looks."""
HALTED = 3
"""Exit status: the deployment stopped, or was aborted."""
TOO_LATE = 4
"""Exit status: it has not ended in time."""
_COUNTS = ("succeeded", "failed", "pending", "waiting", "superseded", "withdrawn")


def wait_for_end(
    client: "ManagerClient", fleet: str, deployment: str, form: Form, timeout: float | None = None
) -> None:
    """Until the deployment has ended, or `timeout` seconds have passed; None: for ever.

    Shows it then, and raises typer.Exit where it is not completed. Raises ManagerError.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = {name: progress.add_task(name, total=None) for name in _COUNTS}
        while True:
            report = client.call("DescribeDeployment", DeviceFleetName=fleet, DeploymentName=deployment)["deployment"]
            for name, bar in bars.items():
                progress.update(bar, total=report["devices"], completed=report[name])
            left = POLL if deadline is None else deadline - time.monotonic()
            if _has_ended(report) or left <= 0:
                break
            time.sleep(min(POLL, left))
    output.write(form, [report], tables.rollouts_table)
    if report["state"] != "completed":
        raise typer.Exit(HALTED if _has_ended(report) else TOO_LATE)


def _has_ended(report: "RolloutReport") -> bool:
    return report["state"] not in ("running", "paused")
