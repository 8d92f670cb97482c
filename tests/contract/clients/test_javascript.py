"""npm's @aws-sdk/client-sagemaker, unmodified: `client.mjs` beside this file.

GATEWAY_TEST_NODE_MODULES names a node_modules that has it, which `.ci/run` makes.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support import needs
from tests.support.arrivals import DEADLINE_S

MODULES = "GATEWAY_TEST_NODE_MODULES"


def test_a_fleet_and_its_devices(settings: dict[str, str], tmp_path: Path) -> None:
    modules = os.environ.get(MODULES) or needs.missing(
        f"{MODULES} names no node_modules: tests/README.md says how to make one"
    )
    node = needs.program("node")
    # Node looks for modules beside the file that imports them.
    script = Path(shutil.copy(Path(__file__).with_name("client.mjs"), tmp_path))
    (tmp_path / "node_modules").symlink_to(Path(modules).absolute())
    done = subprocess.run([node, script], env=settings, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pages"] == [["a", "b"], ["c", "d"], ["e"]]
    assert found["registered"]
    assert found["error"] == {
        "name": "ValidationException",
        "message": "No devicefleet with name js",
        "status": 400,
    }
