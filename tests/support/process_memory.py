"""What /proc says of a process's resident memory. Linux only."""

from pathlib import Path


def resident(pid: int) -> int:
    """Bytes now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most bytes since the last `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """The peak is what it is now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024
