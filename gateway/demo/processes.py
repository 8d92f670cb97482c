"""The processes of the demo: their commands and settings, and how to see that they are ready.

Each is started as a user starts it. None may run after the demo, or read settings of another gateway.
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
from gateway.demo.environment import HEAP, DemoDevice
from gateway.errors import GatewayError

FLEET = "demo"
PROJECT = Path(__file__).resolve().parents[2]
LISTENING = "listening"
SUBSCRIBED = "connected and subscribed"
MAIN = "main.py"
"""The first program of a board. MicroPython finds modules beside it, not in the current directory."""

_OTHER_SETTINGS = ("GATEWAY_", "AWS_", "EDGE_MANAGER_", "MICROPY")
# Without early garbage collection, loading the modules would fragment so small a heap.
_MAIN = "import gc\ngc.threshold(2048)\nimport sys\nimport device\n\ndevice.main(*sys.argv[1:])\n"


class DemoError(GatewayError):
    """A step did not happen. The text names it, and ends with the log of the process at fault."""


def process_environment(inherited: Mapping[str, str], **added: str) -> dict[str, str]:
    """Environment variables without settings of another gateway, manager or account; no HTTP proxy for loopback."""
    kept = {name: value for name, value in inherited.items() if not name.upper().startswith(_OTHER_SETTINGS)}
    python = os.pathsep.join(filter(None, [str(PROJECT), inherited.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": python, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | added


def gateway_settings(broker: BrokerAddress, state: Path, endpoint: str) -> dict[str, str]:
    user, password = (quote(text, safe="") for text in (broker.gateway.user, broker.gateway.password))
    return {
        "GATEWAY_MQTT_URL": f"mqtt://{user}:{password}@{broker.host}:{broker.gateway_port}",
        "GATEWAY_CLIENT_ID": "demo-gateway",
        "GATEWAY_STATE_DIR": str(state),
        "GATEWAY_HTTP_PORT": "0",
        "GATEWAY_LOG_FORMAT": "json",
        # The next heartbeat fetches a new deployment.
        "GATEWAY_PLAN_TTL": "0.5",
        "GATEWAY_BLOCK_EXPIRY": "60" if broker.drops_properties else "0",
        "AWS_ENDPOINT_URL_SAGEMAKER_EDGE": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def manager_process(folder: Path) -> ManagedProcess:
    """`edge-gateway manager serve` on a free port, with its data in `folder`/manager."""
    command = [sys.executable, "-m", "gateway", "manager", "serve", "--port", "0", "--data", str(folder / "manager")]
    return ManagedProcess("the Edge Manager", command, folder / "manager.log", process_environment(os.environ))


def gateway_process(folder: Path, broker: BrokerAddress, endpoint: str) -> ManagedProcess:
    """`edge-gateway run`. `endpoint`: URL of the Edge Manager."""
    settings = gateway_settings(broker, folder / "gateway", endpoint)
    command = [sys.executable, "-m", "gateway", "run"]
    return ManagedProcess("the gateway", command, folder / "gateway.log", process_environment(os.environ, **settings))


def device_process(folder: Path, device: DemoDevice, broker: BrokerAddress, login: BrokerLogin) -> ManagedProcess:
    """One device. On MicroPython its program is in `folder`/board, where `compile_board` writes it."""
    files = folder / device.name
    files.mkdir()
    arguments = [broker.host, str(broker.device_port), FLEET, device.name, device.client, f"{files}/"]
    added = {"DEVICE_PASSWORD": login.password}
    if device.micropython is None:
        command = [sys.executable, "-m", "gateway.demo.device", *arguments]
    else:
        command = [device.micropython, "-X", f"heapsize={HEAP}", str(folder / "board" / MAIN), *arguments]
    return ManagedProcess(device.name, command, folder / f"{device.name}.log", process_environment(os.environ, **added))


def compile_board(mpy_cross: str, folder: Path) -> None:
    """Compile the SDK and the device's program to .mpy in `folder`/board: a heap of 64 KB is too small to compile them.

    Raises DemoError.
    """
    board, program = folder / "board", Path(__file__).with_name("device.py")
    try:
        mpy.compile_to(board, mpy_cross)
        command = [mpy_cross, "-O3", "-o", str(board / f"{program.stem}.mpy"), str(program)]
        subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise DemoError(f"{shlex.join(error.cmd)}: {error.stderr.strip()}") from error
    (board / MAIN).write_text(_MAIN)


def find_log_event(log: Path, event: str) -> dict[str, object] | None:
    """The first JSON line of a log with this event. None: there is none yet."""
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("event") == event:
            return entry
    return None


def start_and_wait(process: ManagedProcess, event: str, timeout: float = 15.0) -> str:
    """Start a process and wait until it logs `event`. Returns the event's URL. Raises ProcessError."""
    process.start(lambda: find_log_event(process.log, event) is not None, timeout)
    return str((find_log_event(process.log, event) or {}).get("url", ""))


def log_tail(name: str, log: Path) -> str:
    """The last lines of a log, for an error text."""
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    return "\n".join([f"The log of {name} ends:" if lines else f"The log of {name} is empty.", *lines])


async def run_manager_command(folder: Path, *arguments: str) -> str:
    """Run `edge-gateway manager ARGUMENTS`. Returns its output. Raises DemoError."""
    command = ["-m", "gateway", "manager", *arguments, "--data", str(folder / "manager")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=process_environment(os.environ),
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
        reason = f"{process.returncode}: {err.decode().strip()}"
        raise DemoError(f"`edge-gateway manager {arguments[0]}` ended with {reason}")
    return out.decode()


async def run_in_threads(*functions: Callable[[], object]) -> list[object]:
    """Call blocking functions in parallel. Returns or raises when all have ended: none runs after a cancellation."""
    threads = asyncio.gather(*(asyncio.to_thread(function) for function in functions), return_exceptions=True)
    try:
        results: list[object] = await asyncio.shield(threads)
    except asyncio.CancelledError:
        await threads
        raise
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
