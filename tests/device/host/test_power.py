"""Power cuts: littlefs on a flash that loses power at a random write, 1,000 times, under MicroPython."""

import json
import os
import subprocess

import pytest

from .conftest import ROOT

CUTS = 1000
BLOCK = 480
AGAIN = 4096


def run(micropython: str, program: str, *arguments: str, heap: str = "4m") -> dict[str, int]:
    """What the program said last."""
    environment = {**os.environ, "MICROPYPATH": f"{ROOT}{os.pathsep}.frozen"}
    command = [micropython, "-X", f"heapsize={heap}", f"tests/device/{program}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_state_is_the_old_or_the_new_one_and_no_result_is_lost(micropython: str, seed: str) -> None:
    assert run(micropython, "power", str(CUTS), seed)["plans"] > CUTS // 2


@pytest.mark.parametrize("seed", ["1", "2"])
def test_no_half_file_is_installed_and_little_is_read_again(micropython: str, seed: str) -> None:
    found = run(micropython, "power", str(CUTS), seed, "files")
    assert found["installed"] >= found["plans"] > CUTS // 5
    assert 0 < found["again"] <= AGAIN


@pytest.mark.parametrize("size", ["5000", "500000"])
def test_a_download_takes_two_blocks_and_a_kilobyte_of_memory(micropython: str, size: str) -> None:
    assert run(micropython, "memory", size, str(BLOCK))["taken"] <= 2 * BLOCK + 1024
