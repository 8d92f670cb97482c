"""What root makes in the folder of another account belongs to that account: its service must read and change it."""

import os
from contextlib import suppress
from pathlib import Path


def give(descriptor: int, folder: Path) -> None:
    """Gives an open file or folder to the owner of `folder`, where this process is root and may."""
    if os.geteuid() == 0:
        owner = folder.stat()
        with suppress(PermissionError):  # a container without that capability
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def make_file(path: Path, mode: int) -> None:
    """Makes an empty file, which belongs to the owner of its folder; one that exists stays as it is.

    `mode` is what it has at most: the umask takes from it.
    """
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            give(descriptor, path.parent)
        finally:
            os.close(descriptor)


def make_folders(path: Path) -> None:
    """Makes a folder that everybody may read, whatever the umask, and those above it that are missing.

    Each belongs to the owner of the folder that it is in. One that exists stays as it is.
    """
    if path.is_dir():
        return
    make_folders(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
        give_folder(path, 0o755)


def give_folder(path: Path, mode: int | None = None) -> None:
    """Gives a folder to the owner of the one that it is in, where this process is root; and the mode, where one is
    given. It must be no link, which the owner of the folder could have put in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        give(descriptor, path.parent)
    finally:
        os.close(descriptor)
