"""Looks at the disk of the gateway's state, without making the folder. Decides nothing."""

import os
import shutil
import tempfile
from pathlib import Path

from gateway.doctor.facts import Disk


def look(folder: Path) -> Disk:
    """What is free to us where the folder is, or will be."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(f"{there} is no folder")
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"doctor")
            file.flush()
            os.fsync(file.fileno())
        taken = sum(entry.stat().st_size for entry in (folder / "models").glob("*"))
        return Disk(str(folder), free=shutil.disk_usage(there).free, taken=taken)
    except OSError as error:
        return Disk(str(folder), f"cannot be written ({error.strerror or error})")
