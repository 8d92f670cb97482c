"""Fixtures of the tests of the C client: it is compiled for them, with the sanitizers, and asked through pipes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.processes import end, line

HERE = Path(__file__).parent
HEADER = ROOT / "device_sdk" / "c"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def build(source: Path, out: Path, *flags: str | Path) -> Path:
    """The program, compiled with every warning an error, and with the sanitizers."""
    command = [program("gcc"), *STRICT, *SANITIZED, "-I", HEADER, *flags, source, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return out


def value_of(item: Any) -> Any:
    """What the runner prints, with str and bytes."""
    if isinstance(item, dict):
        return bytes.fromhex(item["str"]).decode() if "str" in item else bytes.fromhex(item["bin"])
    return [value_of(each) for each in item] if isinstance(item, list) else item


class Runner:
    """runner.c as a process. Every method is one command; it fails where a sanitizer found something."""

    def __init__(self, path: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen([path], text=True, **pipes)

    def ask(self, *words: object) -> str:
        print(*words, file=self._process.stdin, flush=True)
        answer = line(self._process, f"answer to {words[0]}")
        assert answer, self._process.communicate(timeout=DEADLINE_S)[1]
        return answer.removesuffix("\n")

    def decode(self, channel: str, payload: bytes) -> Any:
        """The value, its arrays filled with None; None where the payload is refused."""
        return value_of(json.loads(self.ask("decode", channel, payload.hex())))

    def start(
        self, now: int = 0, unix: int = 0, random: int = 4711, woke: bool = False, *,
        interval: int = 60, tx_size: int = 256, samples: int = 8, plans: bool = True,
    ) -> bool:  # fmt: skip
        """With what it has in `saved`."""
        return self.ask("start", now, unix, random, int(woke), interval, tx_size, samples, int(plans)) == "1"

    def sample(self, metric: int, time: int, value: float, kind: str = "int") -> bool:
        return self.ask(kind, metric, time, value) == "1"

    def poll(self, now: int) -> tuple[str, Any] | None:
        """The channel, and the value of the message."""
        channel, payload = self.ask("poll", now).split(" ")
        return (channel, msgpack.unpackb(bytes.fromhex(payload))) if channel else None

    def message(self, now: int) -> tuple[str, Any] | None:
        """The same, confirmed by the broker."""
        message = self.poll(now)
        if message:
            self.ask("sent")
        return message

    def messages(self, now: int) -> list[tuple[str, Any]]:
        """All that are due."""
        return list(iter(lambda: self.message(now), None))

    def receive(self, channel: str, now: int, value: Any) -> int:
        """value: of the message, or its bytes."""
        payload = value if isinstance(value, bytes) else msgpack.packb(value)
        return int(self.ask("receive", channel, now, payload.hex()))

    @property
    def state(self) -> dict[str, Any]:
        return json.loads(self.ask("state"))

    def close(self) -> None:
        """Its end, at which the sanitizers report what was not freed."""
        _, errors = self._process.communicate(timeout=DEADLINE_S)
        assert (self._process.returncode, errors) == (0, "")

    def kill(self) -> None:
        end(self._process)


@pytest.fixture(scope="session")
def runner_path(tmp_path_factory) -> Path:
    return build(HERE / "runner.c", tmp_path_factory.mktemp("c") / "runner")


@pytest.fixture
def device(runner_path):
    runner = Runner(runner_path)
    try:
        yield runner
        runner.close()
    finally:
        runner.kill()
