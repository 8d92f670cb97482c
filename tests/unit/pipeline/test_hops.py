"""One acknowledged heartbeat stays within a number of calls, and of changes from file to file."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hops.py"
MAX_CALLS, MAX_CHANGES = 110, 60


def test_a_heartbeat_takes_few_calls_and_changes_of_file() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True, timeout=110)
    found = re.fullmatch(r"(\d+) calls, (\d+) changes of file\n", done.stdout)
    assert found, done.stdout
    assert int(found[1]) <= MAX_CALLS
    assert int(found[2]) <= MAX_CHANGES
