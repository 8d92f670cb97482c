"""`python -m gateway.demo`, which is `make demo`: broker, Edge Manager, gateway and three devices on this machine.

Exit status 0: everything was seen to happen. 1: something did not; stderr says what. 128 and a signal's number: ended
by that signal before the end.
"""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gateway.demo import kit
from gateway.demo.brokers import discovery
from gateway.demo.brokers.rumqttd import Rumqttd
from gateway.demo.scenario import Play
from gateway.demo.screen import Screen
from gateway.errors import GatewayError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it all up until Ctrl-C, and say what to type.")] = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Take the broker from PyPI even where Mosquitto is installed.")
    ] = False,
) -> None:
    """The whole way, on free ports of loopback: three devices (one on MicroPython), a broker, the gateway, an Edge
    Manager. Shows each message as it happens, deploys a model, and ends with a table of what was seen.

    Takes some 5 seconds, needs no network, leaves nothing behind. Exit status 1 if anything did not happen.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory(prefix="edge-demo-", ignore_cleanup_errors=True) as folder:
        status = asyncio.run(_perform(Path(folder), keep, embedded))
    raise typer.Exit(status)


async def _perform(folder: Path, keep: bool, embedded: bool) -> int:
    """The exit status. The first signal ends the play; no further one ends the clearing up, which is bounded."""
    found = kit.find(folder)
    screen = Screen([player.name for player in found.players], sys.stdout)
    play = Play(folder, screen, found, program())
    find = Rumqttd if embedded else discovery.find_broker
    task = asyncio.create_task(play.run(find, keep))
    came: list[int] = []

    def end(number: int) -> None:
        if not came:
            task.cancel()
        came.append(number)

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not play.is_over:
            screen.say(f"\nEnded by {signal.Signals(came[0]).name} before the end.")
            return 128 + came[0]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
        return 1
    except (GatewayError, OSError) as error:
        sys.stdout.flush()
        Screen([], sys.stderr).say(f"\nThe demo failed. {error}")
        return 1
    screen.say(
        "\nNothing is left running." if keep else "Everything above was seen to happen. Nothing is left running."
    )
    return 0


def program() -> str:
    """How a user here calls `edge-gateway`."""
    python = Path(sys.executable)
    here = Path.cwd()
    shown = os.path.relpath(python, here) if python.is_relative_to(here) else str(python)
    return f"{shown} -m gateway"


if __name__ == "__main__":
    app(prog_name="python -m gateway.demo")
