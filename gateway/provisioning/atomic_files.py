"""Atomic reads and writes of a site's files. Only its owner can read a secret file.

A file gets the owner of its folder: so root can write what the broker's account reads. It must never follow a symbolic
link in place of a file: that account could have put it there.
"""

import fcntl
import os
import pwd
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.errors import ProvisioningError

SECRET = 0o600
PUBLIC = 0o644
SECRET_FOLDER = 0o700
PUBLIC_FOLDER = 0o755


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time changes the site. Raises ProvisioningError without the folder, OSError without access."""
    try:
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, SECRET)
    except FileNotFoundError as error:
        raise ProvisioningError(f"no site in {folder.parent}: `edge-gateway devices init` makes one") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def make_folder(path: Path, mode: int, account: str | None = None) -> None:
    """Make a folder if it is missing. Root gives it to `account`, if the machine has such an account.

    Root also gives a folder that it still owns, with its files: the account may have been made after the folder.
    """
    if not path.is_dir():
        path.mkdir(parents=True, mode=mode)
        path.chmod(mode)
    if account is not None and os.geteuid() == 0 and path.stat().st_uid == 0:
        with suppress(KeyError):
            entry = pwd.getpwnam(account)
            for each in (path, *path.iterdir()):
                os.chown(each, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def read(path: Path) -> bytes | None:
    """None if there is no such file. Raises OSError, also for a symbolic link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return file.read()


def write(path: Path, content: bytes, mode: int, like: os.stat_result | None = None) -> None:
    """Write or replace a file; it is on the disk when this returns. `like`: its owner; None: the folder's.

    Raises OSError, which names `path`.
    """
    try:
        _write(path, content, mode, like)
    except OSError as error:
        # A write to an open file names none, and the temporary one is gone.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, content: bytes, mode: int, like: os.stat_result | None) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, SECRET)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _set_owner(file.fileno(), like or path.parent.stat(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(path.parent)


def remove(path: Path) -> bool:
    """False if there was no such file."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    _fsync_folder(path.parent)
    return True


def _set_owner(descriptor: int, owner: os.stat_result, mode: int) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    os.fchmod(descriptor, mode)


def _fsync_folder(folder: Path) -> None:
    """After this a rename in the folder survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
