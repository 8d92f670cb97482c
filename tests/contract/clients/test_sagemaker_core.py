"""sagemaker-core's resource classes, unmodified: `resources.py` beside this file.

It brings 400 MB of packages that nothing else here needs: GATEWAY_TEST_SAGEMAKER_CORE names the Python of an
environment that has it, which `.ci/run` makes.
"""

import json
import os
import subprocess
from pathlib import Path

from tests.support import needs
from tests.support.arrivals import DEADLINE_S

PYTHON = "GATEWAY_TEST_SAGEMAKER_CORE"


def test_a_fleet_and_its_devices(settings: dict[str, str]) -> None:
    python = os.environ.get(PYTHON) or needs.missing(
        f"{PYTHON} names no Python with sagemaker-core: tests/README.md says how to make one"
    )
    script = Path(__file__).with_name("resources.py")
    done = subprocess.run([python, script], env=settings, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "listed": ["a", "b", "c"],
        "described": "a",
        "description": "second",
        "registered": 3,
    }
