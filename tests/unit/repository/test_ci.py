"""What CI makes of a run: a skipped test, or none at all, is a failure, and so is what a command leaves."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import ROOT

CI = ROOT / ".ci"
PASSED = '<testcase classname="t" name="a" />'
XFAILED = '<testcase classname="t" name="b"><skipped type="pytest.xfail" message="known" /></testcase>'
SKIPPED = '<testcase classname="t" name="c"><skipped type="pytest.skip" message="no Mosquitto" /></testcase>'


def run(script: str, *arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CI / script), *arguments]
    return subprocess.run(command, cwd=at, capture_output=True, text=True, check=False, timeout=29)


@pytest.mark.parametrize(
    ("options", "cases", "status", "said"),
    [
        ([], PASSED, 0, ""),
        ([], PASSED + XFAILED, 0, ""),
        ([], PASSED + SKIPPED, 1, "skipped: t::c: no Mosquitto\n"),
        ([], "", 1, "tests.xml: no test ran\n"),
        (["--for", "mosquitto"], PASSED + SKIPPED, 1, "skipped: t::c: no Mosquitto\n"),
        (["--for", "docker"], PASSED + SKIPPED, 0, ""),
        (["--for", "docker"], "", 1, "tests.xml: no test ran\n"),
    ],
)
def test_a_report(options: list[str], cases: str, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    done = run("skipped.py", *options, "tests.xml", at=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


def test_a_report_that_is_not_there(tmp_path: Path) -> None:
    done = run("skipped.py", "tests.xml", at=tmp_path)
    assert (done.returncode, done.stderr) == (1, "tests.xml: pytest wrote no report\n")


@pytest.fixture(scope="module")
def leaks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaks", CI / "leaks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("stat", "parsed"),
    [
        ("17 (sleep) S 4 17 17 0 -1", (17, 4, False)),
        ("17 (a) b (c)) R 4 17 17 0 -1", (17, 4, False)),
        ("17 (sleep) Z 1 17 17 0 -1", (17, 1, True)),
    ],
)
def test_a_line_of_proc(leaks: ModuleType, stat: str, parsed: tuple[int, int, bool]) -> None:
    assert leaks.parse_stat(stat) == parsed


def test_descendants_are_children_of_children_too_and_no_zombies(leaks: ModuleType) -> None:
    processes = [(1, 0, False), (7, 1, False), (8, 7, False), (9, 8, True), (10, 9, False), (11, 1, False)]
    assert leaks.descendants([leaks.Process(*each) for each in processes], 7) == [8, 10]


def test_differences(leaks: ModuleType) -> None:
    before = {"kept": (1,), "changed": (1,), "gone": (1,), "gone/a": (1,)}
    after = {"kept": (1,), "changed": (2,), "new": (1,), "new/a": (1,), "new/b/c": (1,)}
    expected = ["changed: changed", "removed: gone", "made: new", "made: new/b/c"]
    assert leaks.differences(before, after) == expected


def test_a_command_that_leaves_nothing_has_its_own_status(tmp_path: Path) -> None:
    done = run("leaks.py", "--in", ".", "--", "sh", "-c", "echo yes; exit 3", at=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "yes\n", "")


@pytest.mark.parametrize("start", ["sleep 300 &", "setsid sleep 300 &", "(setsid sh -c 'sleep 300 & wait' &)"])
def test_a_process_that_is_left_is_listed_and_ended(start: str, tmp_path: Path) -> None:
    # Its output is a pipe that the process inherits: `run` returns when the last one that holds it has ended.
    done = run("leaks.py", "--grace", "0.2", "--", "sh", "-c", start, at=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    # In it, not at its end: the shell may not have started the program yet.
    assert any(line.startswith("left running: ") and "sleep 300" in line for line in lines), lines


def test_a_process_that_ends_soon_after_the_command_is_not_left(tmp_path: Path) -> None:
    done = run("leaks.py", "--", "sh", "-c", "sleep 0.1 &", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("touch home/user/checkout/a home/user/.cache/pip/a tmp/a", 0, ""),
        ("rm -r home/user/.cache; mkdir -p home/user/.cache/pip", 0, ""),
        ("touch home/user/.cache/other", 1, "made: home/user/.cache/other\n"),
        ("mkdir -p home/user/.config/x; touch home/user/.config/x/y", 1, "made: home/user/.config\n"),
        ("echo more >>etc/hosts", 1, "changed: etc/hosts\n"),
        ("rm etc/hosts", 1, "removed: etc/hosts\n"),
        ("rm etc/hosts; exit 4", 4, "removed: etc/hosts\n"),
    ],
)
def test_files(command: str, status: int, said: str, tmp_path: Path) -> None:
    for folder in ("etc", "tmp", "home/user/checkout", "home/user/.cache/pip"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n")
    besides = ["--besides", "tmp", "--besides", "home/user/checkout", "--besides", "home/user/.cache/pip"]
    done = run("leaks.py", "--in", ".", *besides, "--", "sh", "-c", command, at=tmp_path)
    assert (done.returncode, done.stderr) == (status, said)


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    done = run("leaks.py", "--deadline", "0.2", "--", "sleep", "300", at=tmp_path)
    assert done.returncode == 124
    first, second = done.stderr.splitlines()
    assert first == "sleep: did not end in 0.2 s"
    assert second.startswith("running: ")
    assert second.endswith("sleep 300")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(number: signal.Signals) -> None:
    command = [sys.executable, str(CI / "leaks.py"), "--", "sh", "-c", "setsid sleep 300 & echo started; sleep 300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "started\n"
            os.kill(process.pid, number)
            assert process.stdout.read() == ""  # both have ended, which kept it open
        finally:
            process.kill()
    assert process.returncode == 128 + number
