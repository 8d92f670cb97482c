"""A small disk that can be filled: a tmpfs, which takes root.

It must never fill a disk that anybody else uses.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.arrivals import DEADLINE_S
from tests.support.needs import root

BALLAST = "ballast"


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A disk of its own at `folder`, which is made."""
    root("only root can mount a disk of a test's own")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, timeout=DEADLINE_S)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=DEADLINE_S)


def fill(folder: Path, leaving: int = 0) -> None:
    """Until nothing fits any more, or so many kilobytes."""
    file = folder / BALLAST
    with file.open("wb", buffering=0) as ballast, _until_full():
        while True:
            ballast.write(bytes(1024))
    os.truncate(file, file.stat().st_size - leaving * 1024)


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def make_room(folder: Path) -> None:
    """As much as `fill` took."""
    (folder / BALLAST).unlink()
