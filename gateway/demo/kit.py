"""What this machine has for the demo: runtimes for the devices, a real model. What it lacks is said, never hidden."""

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

HEAP = "64k"
"""Of the MicroPython device, less than the model's 80,824 bytes."""
STAND_IN_BYTES = 4096

_MODELS = "pymicro_wakeword"


@dataclass(frozen=True, slots=True)
class Player:
    """One device. `way`: over paho-mqtt, or over the SDK's own client. `micropython`: the program, None for CPython."""

    name: str
    way: str
    micropython: str | None = None

    @property
    def is_on_micropython(self) -> bool:
        return self.micropython is not None

    def __str__(self) -> str:
        client = "paho-mqtt" if self.way == "paho" else "the SDK's MQTT client"
        return f"{'MicroPython' if self.micropython else 'CPython'} with {client}"


@dataclass(frozen=True, slots=True)
class Kit:
    """`model`: a file, and its `handle`; `another`: a handle and a file to play with. `cross`: the program mpy-cross.

    `notes`: what is lacking, in words.
    """

    players: tuple[Player, ...]
    handle: str
    model: Path
    another: tuple[str, Path]
    cross: str | None
    notes: tuple[str, ...]


def find(folder: Path) -> Kit:
    """Look around; a stand-in for the model is written to `folder` where there is no real one."""
    micropython, cross = _tool("micropython"), _tool("mpy-cross")
    notes = []
    if micropython is None or cross is None:
        lacking = "micropython" if micropython is None else "mpy-cross"
        notes.append(f"no {lacking} here (its wheels do not exist for every platform): dev-3 runs on CPython too")
        micropython = None
    players = (Player("dev-1", "paho"), Player("dev-2", "own"), Player("dev-3", "own", micropython))
    model = model_file()
    if model is None:
        notes.append(f"{_MODELS} is not installed: a file of {STAND_IN_BYTES:,} bytes stands in for a real model")
        stand_in = _stand_in(folder)
        return Kit(players, "stand-in", stand_in, ("another", stand_in), cross, tuple(notes))
    return Kit(players, "okay-nabu", model, ("alexa", model.with_name("alexa.tflite")), cross, tuple(notes))


def model_file() -> Path | None:
    """A wake word model that microcontrollers run, as ESPHome has it; None where its package is not installed."""
    spec = importlib.util.find_spec(_MODELS)
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / "models" / "okay_nabu.tflite"
        if path.is_file():
            return path
    return None


def _stand_in(folder: Path) -> Path:
    path = folder / "stand-in.bin"
    path.write_bytes(bytes(i * i % 251 for i in range(STAND_IN_BYTES)))
    return path


def _tool(name: str) -> str | None:
    """Beside the Python that runs this, where pip puts it; else on the PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
