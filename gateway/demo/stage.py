"""The processes of the demo: how each is started, with which settings, and how one sees that it is ready.

Each runs as a user would run it. None may outlive the demo, none may read settings meant for another gateway.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from device_sdk import mpy
from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.brokers.process import LOG_LINES, ManagedProcess
from gateway.demo.kit import HEAP, Player
from gateway.errors import GatewayError

FLEET = "demo"
TREE = Path(__file__).resolve().parents[2]
LISTENING = "listening"
SUBSCRIBED = "connected and subscribed"
MAIN = "main.py"
"""What a board runs first. MicroPython looks for modules beside it, and nowhere in the current directory."""

_OTHERS = ("GATEWAY_", "AWS_", "EDGE_MANAGER_", "MICROPY")
# Garbage that is left between modules while they load would cut so small a heap into pieces.
_MAIN = "import gc\ngc.threshold(2048)\nimport sys\nimport device\n\ndevice.main(*sys.argv[1:])\n"


class DemoError(GatewayError):
    """Something did not happen. The text says what, and ends with what the part at fault logged."""


def environment(inherited: Mapping[str, str], **added: str) -> dict[str, str]:
    """What a part gets: nothing that was set for another gateway, manager or account; no proxy for loopback."""
    kept = {name: value for name, value in inherited.items() if not name.upper().startswith(_OTHERS)}
    python = os.pathsep.join(filter(None, [str(TREE), inherited.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": python, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | added


def gateway_settings(at: BrokerAddress, state: Path, endpoint: str) -> dict[str, str]:
    """The gateway's settings, as its environment."""
    user, password = (quote(text, safe="") for text in (at.gateway.user, at.gateway.password))
    return {
        "GATEWAY_MQTT_URL": f"mqtt://{user}:{password}@{at.host}:{at.gateway_port}",
        "GATEWAY_CLIENT_ID": "demo-gateway",
        "GATEWAY_STATE_DIR": str(state),
        "GATEWAY_HTTP_PORT": "0",
        "GATEWAY_LOG_FORMAT": "json",
        # A new deployment is to be seen at the next heartbeat.
        "GATEWAY_PLAN_TTL": "0.5",
        "AWS_ENDPOINT_URL_SAGEMAKER_EDGE": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def manager(folder: Path) -> ManagedProcess:
    """`edge-gateway manager serve` on a free port; its data are in `folder`/manager."""
    command = [sys.executable, "-m", "gateway", "manager", "serve", "--port", "0", "--data", str(folder / "manager")]
    return ManagedProcess("the Edge Manager", command, folder / "manager.log", environment(os.environ))


def gateway(folder: Path, at: BrokerAddress, endpoint: str) -> ManagedProcess:
    """`edge-gateway run`, which takes `endpoint` for AWS."""
    settings = gateway_settings(at, folder / "gateway", endpoint)
    command = [sys.executable, "-m", "gateway", "run"]
    return ManagedProcess("the gateway", command, folder / "gateway.log", environment(os.environ, **settings))


def device(folder: Path, player: Player, at: BrokerAddress, who: BrokerLogin) -> ManagedProcess:
    """A device. That on MicroPython finds its program in `folder`/board, where `compile_board` puts it."""
    files = folder / player.name
    files.mkdir()
    arguments = [at.host, str(at.device_port), FLEET, player.name, player.way, f"{files}/"]
    added = {"DEVICE_PASSWORD": who.password}
    if player.micropython is None:
        command = [sys.executable, "-m", "gateway.demo.device", *arguments]
    else:
        command = [player.micropython, "-X", f"heapsize={HEAP}", str(folder / "board" / MAIN), *arguments]
    return ManagedProcess(player.name, command, folder / f"{player.name}.log", environment(os.environ, **added))


def compile_board(cross: str, folder: Path) -> None:
    """The SDK and the device's program as .mpy in `folder`/board: 64 KB hold them, yet not their compiler's work.

    Raises DemoError.
    """
    board, program = folder / "board", Path(__file__).with_name("device.py")
    try:
        mpy.compile_to(board, cross)
        command = [cross, "-O3", "-o", str(board / f"{program.stem}.mpy"), str(program)]
        subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise DemoError(f"{shlex.join(error.cmd)}: {error.stderr.strip()}") from error
    (board / MAIN).write_text(_MAIN)


def logged(log: Path, event: str) -> dict[str, object] | None:
    """The first JSON line of a log that tells this event; None while there is none."""
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("event") == event:
            return entry
    return None


def start(part: ManagedProcess, event: str, timeout: float = 15.0) -> str:
    """Start it and wait until it logs `event`; the URL that stands there. Raises ChildError."""
    part.start(lambda: logged(part.log, event) is not None, timeout)
    return str((logged(part.log, event) or {}).get("url", ""))


def tail(name: str, log: Path) -> str:
    """How a part's log ends, for people."""
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    return "\n".join([f"The log of {name} ends:" if lines else f"The log of {name} is empty.", *lines])


async def manage(folder: Path, *arguments: str) -> str:
    """A command of `edge-gateway manager`, as a user types it: what it printed. Raises DemoError."""
    command = ["-m", "gateway", "manager", *arguments, "--data", str(folder / "manager")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=environment(os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise DemoError(
            f"`edge-gateway manager {arguments[0]}` ended with {process.returncode}: {err.decode().strip()}"
        )
    return out.decode()


async def in_threads(*works: Callable[[], object]) -> list[object]:
    """Blocking work, all at once. Returns or raises only when all have ended, so nothing starts behind one's back."""
    threads = asyncio.gather(*(asyncio.to_thread(work) for work in works), return_exceptions=True)
    try:
        results: list[object] = await asyncio.shield(threads)
    except asyncio.CancelledError:
        await threads
        raise
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
