"""Power cuts: littlefs or FAT on a flash that loses power at a random write, 1,000 times, under MicroPython."""

import json
import os
import subprocess
import tempfile
from bisect import bisect_left

import pytest

from tests.support.paths import ROOT

CUTS = 1000
AGAIN = 4096
OBJECTS = 2304
"""Bytes of everything but blocks: the file, its checksum, what is read from a message. Pointers have 64 bits here."""

STEP = 128
STRAY = 256
"""Bytes that the collector may keep in one process and not in another: it spares what any word seems to point to."""


def run(micropython: str, program: str, *arguments: str, heap: str = "4m") -> dict[str, int]:
    """What the program said last."""
    environment = {**os.environ, "MICROPYPATH": f"{ROOT}{os.pathsep}.frozen"}
    command = [micropython, "-X", f"heapsize={heap}", str(ROOT / f"tests/device/{program}.py"), *arguments]
    with tempfile.TemporaryDirectory() as folder:  # what runs beside it has files of the same names
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_state_is_the_old_or_the_new_one_and_no_result_is_lost(micropython: str, seed: str) -> None:
    assert run(micropython, "power", str(CUTS), seed)["plans"] > CUTS // 2


@pytest.mark.parametrize(("files", "seed"), [("files", "1"), ("fat", "2"), ("health", "3")])
def test_the_files_are_those_that_the_results_name_and_little_is_read_again(
    micropython: str, files: str, seed: str
) -> None:
    found = run(micropython, "power", str(CUTS), seed, files)
    assert found["installed"] >= found["plans"] > CUTS // 5
    assert found["failed"] > CUTS // 20
    assert 0 < found["again"] <= AGAIN


@pytest.mark.parametrize(("seed", "limit"), [("1", "4096"), ("2", "100000")])
def test_what_is_stored_arrives_with_its_dates_and_only_what_was_measured_last_is_lost(
    micropython: str, seed: str, limit: str
) -> None:
    found = run(micropython, "power_backlog", str(CUTS), seed, limit, heap="8m")
    assert found["measured"] > 5 * CUTS
    assert found["missing"] - found["lost"] <= 1.5 * CUTS


def taken(micropython: str, size: int, block: int) -> int:
    """The fewest bytes in which a file comes. A block counts, as it lies in the client's buffer meanwhile."""

    def fits(room: int) -> bool:
        return bool(run(micropython, "memory", str(size), str(block), str(room), heap="256k")["fits"])

    rooms = range(0, 8192, STEP)
    return rooms[bisect_left(rooms, True, key=fits)] + block


@pytest.mark.parametrize("room", range(0, 2048, 64))
def test_a_memory_that_is_full_for_a_moment_leaves_no_wrong_file_and_no_wrong_result(
    micropython: str, room: int
) -> None:
    assert run(micropython, "full_memory", str(room), heap="160k")["results"] >= 1


@pytest.mark.parametrize("block", [240, 960])
def test_a_download_takes_two_blocks_and_little_more_however_large_it_is(micropython: str, block: int) -> None:
    small, large = (taken(micropython, size, block) for size in (20_000, 300_000))
    assert small <= 2 * block + OBJECTS
    assert large - small <= STRAY
