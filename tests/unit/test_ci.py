"""What CI makes of pytest's report: a skipped test, or none at all, is a failure."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "skipped.py"
PASSED = '<testcase classname="t" name="a" />'
XFAILED = '<testcase classname="t" name="b"><skipped type="pytest.xfail" message="known" /></testcase>'
SKIPPED = '<testcase classname="t" name="c"><skipped type="pytest.skip" message="no server" /></testcase>'


@pytest.mark.parametrize(
    ("cases", "status", "told"),
    [
        (PASSED, 0, ""),
        (PASSED + XFAILED, 0, ""),
        (PASSED + SKIPPED, 1, "skipped: t::c: no server\n"),
        ("", 1, "tests.xml: no test ran\n"),
    ],
)
def test_a_report(cases: str, status: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    command = [sys.executable, str(SCRIPT), "tests.xml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=29)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", told)
