"""Measures the C client: bytes of machine code and constants on a Cortex-M4, as the linker leaves what is used."""

import re
import shutil
import subprocess
from pathlib import Path

HEADER = Path(__file__).parents[3] / "device_sdk" / "c" / "edge_gateway.h"
COMPILER = "arm-none-eabi-gcc"
MISSING = f"{COMPILER} is not installed, so the C client is not measured: apt-get install gcc-arm-none-eabi"
FLAGS = ["-std=c99", "-Os", "-mcpu=cortex-m4", "-mthumb", "-ffunction-sections", "-fdata-sections"]
PUBLIC = re.findall(r"^\w+ (eg_\w+)\(", HEADER.read_text().split("#ifdef EDGE_GATEWAY_IMPLEMENTATION")[0], re.MULTILINE)
SHA1 = [name for name in PUBLIC if name.startswith("eg_sha1")]
USED = {
    "c_heartbeat": ["eg_encode_heartbeat"],
    "c_codec": [name for name in PUBLIC if re.match("eg_(encode|decode|next)_", name)],
    "c_all": [name for name in PUBLIC if name not in SHA1],
    "c_sha1": SHA1,
}
"""Figure -> the functions that a program calls."""


def measure(out: Path) -> dict[str, float] | None:
    """The figures in bytes; None where the compiler is missing."""
    if shutil.which(COMPILER) is None:
        return None
    source, compiled, linked = out / "c_client.c", out / "c_client.o", out / "c_linked.o"
    source.write_text(f'#define EDGE_GATEWAY_IMPLEMENTATION\n#include "{HEADER}"\n')
    subprocess.run([COMPILER, *FLAGS, "-c", source, "-o", compiled], check=True)
    figures: dict[str, float] = {}
    for name, functions in USED.items():
        roots = [f"-Wl,--undefined={function}" for function in functions]
        subprocess.run([COMPILER, "-nostdlib", "-r", "-Wl,--gc-sections", *roots, compiled, "-o", linked], check=True)
        done = subprocess.run(["arm-none-eabi-size", linked], check=True, capture_output=True, text=True)
        text, data, bss, *_ = map(int, done.stdout.splitlines()[1].split()[:3])
        assert data == bss == 0, "it has global variables"
        figures[name] = text
    return figures
