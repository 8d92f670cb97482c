"""Measures the disk of the gateway's state. It must never create the folder."""

import os
import shutil
import tempfile
from pathlib import Path

from gateway.doctor.checks.disk import DiskSpace


def probe_disk(folder: Path) -> DiskSpace:
    """The space where the folder is, or will be."""
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is not a folder")
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"doctor")
            file.flush()
            os.fsync(file.fileno())
        cached = sum(entry.stat().st_size for entry in (folder / "models").glob("*"))
        return DiskSpace(str(folder), free=shutil.disk_usage(existing).free, cached=cached)
    except OSError as error:
        return DiskSpace(str(folder), f"cannot be written ({error.strerror or error})")
