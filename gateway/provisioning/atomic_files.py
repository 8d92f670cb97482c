"""Files of a site: written whole or not at all, secret ones readable by their owner alone.

A file belongs to the owner of the folder that it is in: so root provisions what the broker's account reads. It must
never follow a link that stands in a file's place, since that account may have laid it.
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
    """One process at a time changes the site. Raises SiteError where the folder is not there or not ours."""
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
    """Make a folder that is not there. Root gives it to `account`, where the machine has such a one.

    So it does with one that is still root's, and with the files in it: then the account is younger than the folder.
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
    """None where there is no such file. Raises OSError, for a link too."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return file.read()


def write(path: Path, content: bytes, mode: int, like: os.stat_result | None = None) -> None:
    """Put a file in place of the one that may be there; it is on the disk when this returns. `like`: whose it is."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, SECRET)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _give(file.fileno(), like or path.parent.stat(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _save_names(path.parent)


def remove(path: Path) -> bool:
    """False where there was none."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    _save_names(path.parent)
    return True


def _give(descriptor: int, owner: os.stat_result, mode: int) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    os.fchmod(descriptor, mode)


def _save_names(folder: Path) -> None:
    """A rename survives a power cut once its folder is saved."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
