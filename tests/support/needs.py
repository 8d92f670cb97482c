"""What a test needs of this machine: programs, rights, abilities of the broker.

If something is missing, the test is skipped, or fails where CI is set: it must never count as passed. The end of a run
lists each reason once, with the command that installs what is missing.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.demo.brokers.discovery import find_program

DEBIAN = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "curl": "curl",
    "docker": "docker.io",
    "docker-compose": "docker-compose",
    "gcc": "gcc",
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "node": "nodejs",
    "openssl": "openssl",
    "pgbouncer": "pgbouncer",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "setpriv": "util-linux",
    "systemd-analyze": "systemd",
}
"""Program -> Debian's package. Homebrew has those of `BREW` under other names."""
BREW = {"mosquitto_pub": "mosquitto"}
INSTALL = "brew install" if sys.platform == "darwin" else "apt-get install"
_ADVICE = re.compile(r": (?:brew|apt-get) install (\S+)$")


def missing(problem: str, program: str = "") -> NoReturn:
    """Skip the test, or fail it where CI is set. `program`: the one to install, if there is one."""
    why = reason(problem, program)
    if os.environ.get("CI"):
        pytest.fail(f"{why} (CI is set: nothing is skipped)", pytrace=False)
    pytest.skip(why)


def reason(problem: str, program: str = "") -> str:
    """The problem, and the command that solves it."""
    return f"{problem}: {INSTALL} {_package(program)}" if program else problem


def find(name: str) -> str | None:
    """Where a program is: beside this Python, on the PATH, or where Debian keeps it off the PATH of ordinary users."""
    return find_program(name, first=str(Path(sys.executable).parent))


def program(name: str) -> str:
    """Where it is; without it the test is skipped, or fails in CI."""
    path = find(name)
    if path is None and name in DEBIAN:
        missing(f"{name} is not installed", name)
    return path or missing(f"{name} is not installed: its wheel does not exist for every platform")


def root(why: str) -> None:
    """For what only root may do. `why` is the whole reason."""
    if os.geteuid() != 0:
        missing(why)


def lacks(reasons: Iterable[str]) -> list[str]:
    """The lines for the end of a run: how many tests each reason skipped, and one command for all that can be had."""
    counted = Counter(reasons)
    lines = [f"{count:5,} skipped: {why}" for why, count in sorted(counted.items(), key=lambda each: -each[1])]
    packages = sorted({found[1] for why in counted if (found := _ADVICE.search(why))})
    return lines + [f"To run those too: {INSTALL} {' '.join(packages)}"] * bool(packages)


def _package(name: str) -> str:
    return BREW.get(name, DEBIAN[name]) if sys.platform == "darwin" else DEBIAN[name]
