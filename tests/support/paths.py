"""Where the repository's folders are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEVICE_TESTS = ROOT / "tests" / "device"
"""The tests of the SDK that run on every runtime."""
