"""A limit of open files that is nearly reached."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def free_files(count: int) -> Iterator[None]:
    """This process can open that many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, hard))
    filler = []
    try:
        while True:
            filler.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for each in filler[len(filler) - count :]:
            os.close(each)
        filler = filler[: len(filler) - count]
    try:
        yield
    finally:
        for each in filler:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
