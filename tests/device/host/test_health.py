"""Health: a device that is killed as often as it hangs with a new model has its old ones back, on both runtimes."""

import json
import os
import subprocess
import sys

import pytest

from tests.device.test_health import REASON
from tests.support.paths import DEVICE_TESTS, ROOT

STARTS = 3


@pytest.mark.parametrize("places", [("install",) * STARTS, ("report", "load", "load"), ("install", "report", "load")])
@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_a_model_that_hangs_the_device_is_given_up(runtime, places, tmp_path, request):
    command = [sys.executable if runtime == "cpython" else request.getfixturevalue("micropython")]
    assert start(command, tmp_path, "first")[1:] == [["kws", "vad"], "kws 1"]
    for place in places:
        assert start(command, tmp_path, place) is None
    results, files, kws = start(command, tmp_path, places[-1])
    assert [result[:2] for result in results] == [["FAIL", REASON]]
    assert (files, kws) == (["kws", "vad"], "kws 1")
    assert start(command, tmp_path, "load") == [[], ["kws", "vad"], "kws 1"]


def start(command, folder, place):
    """What the device says at its end. None: it hung, and was killed."""
    path = os.pathsep.join([str(ROOT), ".frozen"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": path}
    command = [*command, str(DEVICE_TESTS / "health_board.py"), place]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes) as device:
        try:
            said = device.stdout.readline()
            return None if said == "hangs\n" else json.loads(said)
        finally:
            device.kill()
