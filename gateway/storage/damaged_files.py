"""Files of the gateway's folders that cannot be used: renamed, so that a new one can be begun and a person can look."""

import errno
import glob
import os
import shutil
import time
from pathlib import Path

import structlog

KEPT = 2
"""Of one name that are kept, the newest; older ones are deleted."""
_MARK = ".damaged-"
_STAMP = len("20261130T120000.000000000Z")

_log = structlog.get_logger()


def set_aside(path: Path, reason: object, companions: tuple[str, ...] = ()) -> None:
    """Rename `path`, and those with one of the suffixes `companions`, to PATH.damaged-TIME. Raises OSError.

    FileNotFoundError: there is none of them.
    """
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"
    kept = path.with_name(f"{path.name}{_MARK}{stamp}")
    moved = 0
    for suffix in ("", *companions):
        source = Path(f"{path}{suffix}")
        if source.exists() or source.is_symlink():
            source.rename(f"{kept}{suffix}")
            moved += 1
    if not moved:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    event = "a file of state_dir cannot be used: it is set aside, and the gateway begins an empty one"
    _log.warning(event, file=str(path), kept_as=str(kept), reason=str(reason))
    _delete_older(path)


def _delete_older(path: Path) -> None:
    """A failure changes nothing: the next one that is set aside tries it again."""
    prefix = f"{path.name}{_MARK}"
    found = list(path.parent.glob(f"{glob.escape(prefix)}*"))
    stamps = sorted({each.name[len(prefix) :][:_STAMP] for each in found})[-KEPT:]
    for each in found:
        if each.name[len(prefix) :][:_STAMP] not in stamps:
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)
