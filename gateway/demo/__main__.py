"""`python -m gateway.demo`, which is `make demo`: broker, Edge Manager, gateway and three devices on this machine.

Exit status 0: all steps were observed. 1: one was not; stderr says which. 128 + a signal's number: the signal ended it
early. No process may run after it.
"""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gateway.demo.brokers.discovery import find_broker
from gateway.demo.brokers.rumqttd import Rumqttd
from gateway.demo.environment import find_environment
from gateway.demo.scenario import Scenario
from gateway.demo.screen import Screen
from gateway.errors import GatewayError, explain
from gateway.stderr import discard_stdout

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it running until Ctrl-C, and show commands to try.")
    ] = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use the broker from PyPI even if Mosquitto is installed.")
    ] = False,
) -> None:
    """All parts on free ports of loopback: three devices (one on MicroPython), a broker, the gateway, an Edge Manager.
    It shows each message, deploys a model, and ends with a table of what it observed.

    It takes about 5 seconds, needs no network and leaves no files. Exit status 1 if a step did not happen.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory(prefix="edge-demo-", ignore_cleanup_errors=True) as folder:
        status = asyncio.run(_run(Path(folder), keep, embedded))
    raise typer.Exit(status)


async def _run(folder: Path, keep: bool, embedded: bool) -> int:
    """Returns the exit status. The first signal ends the demo. Later ones do not interrupt the cleanup."""
    environment = find_environment(folder)
    screen = Screen([device.name for device in environment.devices], sys.stdout)
    scenario = Scenario(folder, screen, environment, program())
    task = asyncio.create_task(scenario.run(Rumqttd if embedded else find_broker, keep))
    signals: list[int] = []

    def end(number: int) -> None:
        if not signals:
            task.cancel()
        signals.append(number)

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not scenario.is_over:
            screen.text(f"\nEnded by {signal.Signals(signals[0]).name} before the end.")
            return 128 + signals[0]
    except BrokenPipeError:
        discard_stdout()
        return 1
    except (GatewayError, OSError) as error:
        sys.stdout.flush()
        reason = explain(error) if isinstance(error, OSError) else error
        Screen([], sys.stderr).text(f"\nThe demo failed. {reason}")
        return 1
    screen.text("\nNothing is left running." if keep else "Everything above was observed. Nothing is left running.")
    return 0


def program() -> str:
    """The command `edge-gateway` for a user in the current directory."""
    python = Path(sys.executable)
    here = Path.cwd()
    shown = os.path.relpath(python, here) if python.is_relative_to(here) else str(python)
    return f"{shown} -m gateway"


if __name__ == "__main__":
    app(prog_name="python -m gateway.demo")
