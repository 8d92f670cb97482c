"""Files and folders that a process fills before they get their names, and what remains of them where it is killed.

A lock on each says that its process lives: it ends with the process, whatever ends it. The next one removes the rest.
On a file system that has no locks nothing is removed.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def temporary(make: Callable[[], Path], remove: Callable[[Path], None]) -> Iterator[Path]:
    """What `make` makes; at the end it is removed where it is still there."""
    while True:
        path = make()
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):  # before it was locked another process may have removed it
                break
            os.close(descriptor)
    try:
        yield path
    finally:
        if _is_at(path, descriptor):
            remove(path)
        os.close(descriptor)


def remove_abandoned(paths: Iterable[Path], remove: Callable[[Path], None]) -> None:
    """Removes those whose process is dead, as far as this one may."""
    for path in paths:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            finally:
                os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
