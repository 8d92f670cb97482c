"""What this machine has for the demo: runtimes for the devices and a model file. It must report all that is missing."""

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

HEAP = "64k"
"""Of the MicroPython device. It is less than the model's 80,824 bytes."""
PLACEHOLDER_BYTES = 4096

_MODELS = "pymicro_wakeword"


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """`client`: "paho", or "own" for that of the SDK. `micropython`: the program; None: the device runs on CPython."""

    name: str
    client: str
    micropython: str | None = None

    def __str__(self) -> str:
        client = "paho-mqtt" if self.client == "paho" else "the SDK's MQTT client"
        return f"{'MicroPython' if self.micropython else 'CPython'} with {client}"


@dataclass(frozen=True, slots=True)
class Environment:
    """`model`: the file to deploy under the name `handle`; `another`: name and file of a second one.

    `mpy_cross`: the program, None if it is missing. `notes`: what is missing, as texts.
    """

    devices: tuple[DemoDevice, ...]
    handle: str
    model: Path
    another: tuple[str, Path]
    mpy_cross: str | None
    notes: tuple[str, ...]


def find_environment(folder: Path) -> Environment:
    """Without a real model a placeholder is written to `folder`."""
    micropython, mpy_cross = _tool("micropython"), _tool("mpy-cross")
    notes = []
    if micropython is None or mpy_cross is None:
        lacking = "micropython" if micropython is None else "mpy-cross"
        notes.append(f"no {lacking} here (its wheels do not exist for every platform): dev-3 runs on CPython too")
        micropython = None
    devices = (DemoDevice("dev-1", "paho"), DemoDevice("dev-2", "own"), DemoDevice("dev-3", "own", micropython))
    model = model_file()
    if model is None:
        notes.append(f"{_MODELS} is not installed: a file of {PLACEHOLDER_BYTES:,} bytes takes the place of a model")
        model = _write_placeholder(folder)
        return Environment(devices, "placeholder", model, ("another", model), mpy_cross, tuple(notes))
    another = ("alexa", model.with_name("alexa.tflite"))
    return Environment(devices, "okay-nabu", model, another, mpy_cross, tuple(notes))


def model_file() -> Path | None:
    """A wake word model for microcontrollers, from ESPHome. None if its package is not installed."""
    spec = importlib.util.find_spec(_MODELS)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "models" / "okay_nabu.tflite"
        if path.is_file():
            return path
    return None


def _write_placeholder(folder: Path) -> Path:
    path = folder / "placeholder.bin"
    path.write_bytes(bytes(i * i % 251 for i in range(PLACEHOLDER_BYTES)))
    return path


def _tool(name: str) -> str | None:
    """The program beside this Python, where pip installs it; else on the PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
