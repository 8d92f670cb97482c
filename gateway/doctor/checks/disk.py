"""Check of the disk of the gateway's state. Pure."""

from dataclasses import dataclass

from gateway.doctor.result import CheckResult, failed, passed, warned

RESERVE = 64 * 1024 * 1024
"""Bytes for hellos and dead letters beside the cache."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The state folder: bytes that the gateway may still write there, and bytes that the cache already has."""

    folder: str
    problem: str = ""
    free: int = 0
    cached: int = 0


def check_disk(space: DiskSpace, cache_bytes: int) -> CheckResult:
    """Whether the cache of model files can grow to `cache_bytes`."""
    if space.problem:
        found = f"state_dir {space.folder}: {space.problem}"
        return failed("disk", found, "set state_dir to a folder that can be written")
    needed = max(0, cache_bytes - space.cached)
    found = f"{space.folder}: {space.free:,} bytes free, the cache may take {needed:,} more"
    todo = "free disk space, lower cache_bytes, or set state_dir to a larger disk"
    if space.free < needed:
        return failed("disk", found, todo)
    if space.free < needed + RESERVE:
        return warned("disk", found, todo)
    return passed("disk", found)
