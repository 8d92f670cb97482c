"""The types of settings, and the defaults that depend on the machine.

A validator raises ValueError; its text must never hold the value, which may be a secret in the wrong place.
"""

import hashlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

MIN_DISTINCT = 10
"""Different characters of a name that was drawn: 22 of base64 or 32 hexadecimal digits have more."""


def _matching(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return check


def _drawn(name: SecretStr) -> SecretStr:
    text = name.get_secret_value()
    if not re.fullmatch(r"[^/+#\0]{22,128}", text) or len(set(text)) < MIN_DISTINCT:
        raise ValueError("any device may join a group whose name it can guess, and take its messages")
    return name


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _off_is_none(value: object) -> object:
    return None if _lower(value) == "off" else value


def _split_at_commas(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _not_empty(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or "" in words:
        raise ValueError("no device would ever count as registered; to skip the check, set ask_registration = false")
    return words


def _readable(path: Path) -> Path:
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        raise ValueError(reason(error)) from None
    return path


def _holds_secret(path: Path) -> Path:
    read_secret(path)
    return path


def _expanded(path: Path) -> Path:
    found = Path(os.path.expanduser(path))
    if str(found).startswith("~"):
        raise ValueError("there is no home directory")
    return found


# DeviceFleetName in the service model of sagemaker-edge.
_FleetName = Annotated[str, AfterValidator(_matching(r"(?=.{1,63}\Z)[a-zA-Z0-9](-*_*[a-zA-Z0-9])*"))]
_SplitAtCommas = BeforeValidator(_split_at_commas)

Choice = BeforeValidator(_lower)
FleetNames = Annotated[tuple[_FleetName, ...], NoDecode, _SplitAtCommas, AfterValidator(_unique)]
ValueList = Annotated[tuple[str, ...], NoDecode, _SplitAtCommas, AfterValidator(_not_empty)]
Root = Annotated[str, AfterValidator(_matching(r"(?!\$)[^/+#\0]+(/[^/+#\0]+)*"))]
Group = Annotated[SecretStr, AfterValidator(_drawn)]
ClientId = Annotated[str, AfterValidator(_matching(r"[A-Za-z0-9._:@-]{1,128}"))]
Region = Annotated[str, AfterValidator(_matching(r"[A-Za-z0-9-]+"))]
Host = Annotated[str, AfterValidator(_matching(r"[^\s/]+"))]
Port = Annotated[Annotated[int, Field(ge=0, le=65535)] | None, BeforeValidator(_off_is_none)]
File = Annotated[Path, AfterValidator(_readable)]
SecretFile = Annotated[Path, AfterValidator(_holds_secret)]
Folder = Annotated[Path, AfterValidator(_expanded)]


def reason(error: Exception) -> str:
    """Why a file could not be read, without its name or content."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "it is not a path"


def read_secret(path: Path) -> str:
    """The text of a file without the line end that editors add. Raises ValueError where there is none."""
    try:
        text = path.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ValueError(reason(error)) from None
    if not text:
        raise ValueError("it is empty")
    return text


def default_client_id(settings: dict[str, Any]) -> str:
    """The same at each start, another for each host, root, set of fleets and group: the session depends on it."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
    group = settings["group"].get_secret_value() if settings.get("group") else None
    share = repr((settings.get("root"), sorted(settings.get("fleets", ())), group))
    return f"edge-gateway-{host}-{hashlib.sha256(share.encode()).hexdigest()[:8]}"


def is_generated_hostname(host: str) -> bool:
    """Whether a host name looks generated for one container: by Docker, or by a Deployment of Kubernetes, which uses
    letters that make no words."""
    letter = "[bcdfghjklmnpqrstvwxz2456789]"
    return re.fullmatch(f"[0-9a-f]{{12}}|.+-{letter}{{8,10}}-{letter}{{5}}", host) is not None


def default_state_dir(client_id: str) -> Path:
    """systemd's folder for this service, else one for each client id by the XDG base directory specification."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    if not base.is_absolute():  # the specification: relative paths are ignored
        base = Path("~/.local/state")
    return base / "edge-gateway" / re.sub(r"[^A-Za-z0-9_-]", "_", client_id)
