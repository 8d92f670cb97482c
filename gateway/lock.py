"""A folder that one process at a time may use: a locked file in it, which says what process that is.

The lock ends with the process, whatever ends it.
"""

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from gateway.errors import GatewayError
from gateway.ownership import make_file

FILE = "lock"
RETRY_INTERVAL = 0.05


class FolderInUse(GatewayError):
    """Another process has the lock. The text says which one."""


class FolderLock:
    """Held until `close`. `wait`: seconds in which another process may still end.

    Raises FolderInUse, and OSError where the file cannot be written. A file system that has no locks is not locked.
    """

    def __init__(self, folder: Path, wait: float = 0.0) -> None:
        path = folder / FILE
        try:
            make_file(path, 0o644)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError:  # of another user: it can be locked all the same
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._lock(time.monotonic() + wait)
        except BaseException:
            self.close()
            raise

    def _lock(self, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(self._descriptor, 200, 0).decode(errors="replace")
                    raise FolderInUse(holder or "another process") from None
                time.sleep(RETRY_INTERVAL)
            except OSError:
                return
        with suppress(OSError):  # a full disk, or a file of another user: the lock holds all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)

    def close(self) -> None:
        os.close(self._descriptor)
