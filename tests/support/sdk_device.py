"""A program of tests/device as a process, on either runtime, that says in JSON lines what it does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.arrivals import DEADLINE_S
from tests.support.needs import program
from tests.support.paths import DEVICE_TESTS, ROOT


class SdkDevice:
    """What the process says."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def next(self, member: str, within: float = DEADLINE_S) -> dict[str, Any]:
        """Wait for the next line that has the member; those before it are dropped."""
        while text := processes.line(self._process, f"line with {member}", within):
            said: dict[str, Any] = json.loads(text)
            if member in said:
                return said
        raise AssertionError(f"the device ended, with status {self._process.wait(DEADLINE_S)}")


@contextmanager
def running(runtime: str, name: str, *arguments: str, folder: Path) -> Iterator[SdkDevice]:
    """`runtime`: cpython or micropython. `name`: of the program; it is killed at the end. `folder`: for its files."""
    command = [sys.executable] if runtime == "cpython" else [program("micropython"), "-X", "heapsize=256k"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}{os.pathsep}.frozen"}
    words = [*command, str(DEVICE_TESTS / name), *arguments]
    with processes.running(words, stdout=subprocess.PIPE, env=variables, cwd=folder) as process:
        yield SdkDevice(process)
