"""MicroPython's unix port with a ROMFS image at /rom: `sdk_rom.py IMAGE KIB CODE`, for sdk_budgets.py.

The image lies outside the heap, as a board's does in its flash: bytecode and strings are used in place. The
port's wheel runs within a Python, which can therefore give it an address.
"""

import ctypes
import sys
from pathlib import Path

from micropython_unix import run_main

MOUNT = "import uctypes, vfs; vfs.mount(vfs.VfsRom(uctypes.bytearray_at({}, {})), '/rom'); "


def main(image: str, kib: str, code: str) -> None:
    rom = ctypes.create_string_buffer(Path(image).read_bytes())
    mount = MOUNT.format(ctypes.addressof(rom), len(rom))
    sys.exit(run_main(["micropython", "-X", f"heapsize={kib}k", "-c", mount + code]))


if __name__ == "__main__":
    main(*sys.argv[1:])
