"""A pytest plugin of `make test`: what failed while other tests ran beside it runs once more, alone.

Most tests start processes and wait for them, on a machine that may have other work. What fails alone too is a fault.
What passes alone is named in the last lines, to be mended: it depends on the machine's speed, or on another test.
Nothing else is excused: no more than `MOST` failures, and none after a test (something outlived it). CPython's own
tests are run again likewise (regrtest, `--rerun`).
"""

import subprocess
import sys
from collections.abc import Generator

import pytest

MOST = 5


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """After all others: the workers have ended, and the summary is printed."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    if session.exitstatus != pytest.ExitCode.TESTS_FAILED or hasattr(session.config, "workerinput"):
        return
    reports = [*reporter.stats.get("failed", ()), *reporter.stats.get("error", ())]
    names = sorted({report.nodeid for report in reports})
    if len(names) > MOST or any(report.when == "teardown" for report in reports):
        return
    reporter.section("once more, alone")
    reporter.flush()  # before what the other process writes
    alone = subprocess.run([sys.executable, "-m", "pytest", "-q", *names], cwd=session.config.rootpath)
    if alone.returncode == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.OK
        for name in names:
            reporter.write_line(f"failed beside others, passed alone: {name}", yellow=True)
