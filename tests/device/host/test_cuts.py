"""Power cuts on LittleFS: the state is the old or the new one, no result is lost, and no wrong file is installed."""

import json
import os
import subprocess

import pytest

from .conftest import ROOT, TREE

CUTS = int(os.environ.get("SDK_CUTS", "1000"))


@pytest.mark.parametrize("seed", [1, 2])
def test_power_cuts_lose_nothing(micropython, seed):
    command = [micropython, "-X", "heapsize=16m", str(TREE / "cuts.py"), str(CUTS), str(seed)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["cuts"] == CUTS
    assert said["plans"] > CUTS // 10, "hardly any plan was carried out"
    assert said["lost"] > CUTS // 10, "hardly any block was lost"
    assert 0 < said["again"] <= 4096
