"""Judgement on the disk of the gateway's state. Pure."""

from gateway.doctor.facts import Disk
from gateway.doctor.verdict import Verdict, failed, passed, warned

RESERVE = 64 * 1024 * 1024
"""Bytes for hellos and dead letters beside the cache."""


def disk(found: Disk, cache_bytes: int) -> Verdict:
    """Whether the cache of model files may fill as far as it is allowed to."""
    if found.fault:
        return failed(
            "disk", f"state_dir {found.folder}: {found.fault}", "set state_dir to a folder that can be written"
        )
    needed = max(0, cache_bytes - found.taken)
    told = f"{found.folder}: {found.free:,} bytes free, the cache may take {needed:,} more"
    todo = "make room, lower cache_bytes, or set state_dir to a larger disk"
    if found.free < needed:
        return failed("disk", told, todo)
    if found.free < needed + RESERVE:
        return warned("disk", told, todo)
    return passed("disk", told)
