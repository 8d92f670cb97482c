"""The table of imports: who may import whom in the house, and who alone may open which foreign library.

A module without a row fails, and so does an import that its row does not name, wherever in the file it stands.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]

# One room: they may import each other.
CORE_FILES = {
    "admission",
    "core",
    "effects",
    "hellos",
    "line",
    "mailbox",
    "merge",
    "plans",
    "reads",
    "replies",
    "rules",
}

# Room -> the rooms that it may import. "*": all but those above it (NOT_IN_STAR).
TABLE: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "limits": {"errors"},
    "messages": {"errors", "limits"},
    "calls": {"errors", "limits", "messages"},
    "topics": {"errors", "messages"},
    "forms": {"errors"},
    "codec": {"errors", "messages", "calls", "forms"},
    "core": {"errors", "messages", "calls"},
    "config": {"errors"},
    "retry": {"errors"},
    "breaker": {"messages"},
    "api": {"errors", "messages", "calls"},
    "faults": {"errors"},
    "sigv4": set(),
    "body": {"messages", "calls", "api"},
    "http1": {"errors"},
    "standard": {"errors", "calls", "api", "faults"},
    "express": {"errors", "calls", "api", "body", "faults", "http1", "sigv4"},
    "cloud": {"errors", "messages", "calls", "api", "retry", "breaker"},
    "packets": set(),
    "buffered": {"packets"},
    "paholoop": {"buffered", "packets"},
    "link": {"errors", "buffered", "packets", "paholoop"},
    "broker": {"errors", "link", "packets"},
    "visitor": {"errors", "link", "packets"},
    "handshake": set(),
    "store": {"errors", "messages"},
    "passwords": {"errors"},
    "acl_file": {"topics"},
    "log": set(),
    "metrics": {"errors"},
    "pages": set(),
    "status": {"errors", "metrics", "pages"},
    "manager": {"errors"},
    "modelcache": {"errors", "messages"},
    "models": {"errors", "messages", "modelcache", "faults", "retry"},
    "pace": set(),
    "blocks": {"codec", "messages", "modelcache", "packets", "pace"},
    "downloads": {"errors", "messages", "blocks", "models", "modelcache", "retry"},
    "devices": {"errors", "limits", "passwords", "acl_file", "manager"},
    "confirmations": set(),
    "memory": {"errors", "messages", "core", "confirmations", "store"},
    "rates": {"messages"},
    "intake": {"metrics", "rates"},
    "watch": {"errors", "calls", "metrics", "breaker"},
    "letters": {"errors", "codec", "core", "broker", "confirmations", "metrics", "packets", "store", "topics"},
    "steward": {"errors", "messages", "calls", "topics", "codec", "core", "broker", "store", "metrics"}
    | {"confirmations", "intake", "memory", "rates", "blocks", "downloads", "letters", "models"},
    "doors": {"config", "errors", "link", "standard", "express", "cloud", "models"},
    "runner": {"*", "steward"},
    "doctor": {"*", "devices"},  # it connects as a device, by a board file
    "cli": {"*", "runner", "doctor", "manager", "devices", "demo"},
    "__main__": {"cli"},
    "demo": {"*", "runner", "manager", "device_sdk"},
    "device_sdk": set(),
}
NOT_IN_STAR = {"steward", "runner", "doctor", "cli", "__main__", "demo", "manager", "devices", "device_sdk"}

# Foreign library -> the rooms that may import it; what is not named here is free.
DOORS: dict[str, set[str]] = {
    "msgpack": {"codec"},
    "boto3": {"standard", "models", "manager"},
    "botocore": {"standard", "express", "faults", "models", "manager"},
    "tenacity": {"retry"},
    "paho": {"broker", "link", "paholoop", "visitor", "device_sdk", "demo"},
    "httptools": {"http1", "pages"},
    "sqlite3": {"store", "manager", "devices"},
    "cryptography": {"devices"},
    "pydantic": {"config"},
    "pydantic_settings": {"config"},
    "prometheus_client": {"metrics"},
}

# No network, no clock, no log, no randomness, no waiting.
WINDOWLESS = {"acl_file", "errors", "limits", "messages", "calls", "topics", "forms", "codec", "core", "api", "packets"}
WINDOWLESS |= {"breaker", "pace", "rates"}
WINDOWS = {"asyncio", "time", "random", "secrets", "uuid", "os", "logging", "structlog", "socket", "ssl", "threading"}


def room_of(path: Path) -> str:
    """The room of a file, given relative to the repository: its folder or its name below `gateway`."""
    if path.parts[0] != "gateway":
        return path.parts[0]
    name = Path(path.parts[1]).stem
    return "core" if name in CORE_FILES else name


def imported(path: Path, source: str) -> set[str]:
    """The dotted names that a file imports, relative ones made absolute."""
    package = [*path.parent.parts]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{stem}.{alias.name}" for alias in node.names} if stem == "gateway" else {stem}
    return names


def complaints(path: Path, source: str) -> list[str]:
    """What a file at `path` (relative to the repository) imports against the tables."""
    room = room_of(path)
    if room not in TABLE:
        return [f"{path}: the table has no row for {room}"]
    allowed = set(TABLE[room]) | {room} | (set(TABLE) - NOT_IN_STAR if "*" in TABLE[room] else set())
    found = []
    for name in sorted(imported(path, source)):
        top = name.split(".")[0]
        target = room_of(Path(*name.split("."))) if top == "gateway" and "." in name else top
        if top in ("gateway", "device_sdk"):
            wrong = target not in allowed
        else:
            wrong = room not in DOORS.get(top, {room}) or (room in WINDOWLESS and top in WINDOWS)
        found += [f"{path}: {room} may not import {name}"] if wrong else []
    return found


FILES = sorted(
    path.relative_to(HOUSE) for folder in ("gateway", "device_sdk") for path in (HOUSE / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_keeps_to_the_table(path: Path) -> None:
    assert complaints(path, (HOUSE / path).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gateway/messages.py", "from gateway.codec import decode"),
        ("gateway/core.py", "import time"),
        ("gateway/core/mailbox.py", "from asyncio import Queue"),
        ("gateway/merge.py", "import structlog"),
        ("gateway/plans.py", "from gateway import topics"),
        ("gateway/core.py", "from .config import Settings"),
        ("gateway/core.py", "def late():\n    from gateway.retry import policy"),
        ("gateway/core/plans.py", "from ..codec import encode"),
        ("gateway/cloud.py", "import gateway.broker"),
        ("gateway/cloud.py", "from gateway.config import Settings"),
        ("gateway/cloud.py", "from gateway.core import Core"),
        ("gateway/broker.py", "from gateway.messages import Heartbeat"),
        ("gateway/runner.py", "import paho.mqtt.client"),
        ("gateway/runner.py", "from gateway.cli import app"),
        ("gateway/runner.py", "from msgpack import packb"),
        ("gateway/core.py", "from tenacity import retry"),
        ("gateway/messages.py", "import botocore.session"),
        ("gateway/store.py", "from gateway.config import Settings"),
        ("gateway/manager/server.py", "from gateway.messages import Plan"),
        ("gateway/manager/server.py", "from .. import codec"),
        ("gateway/runner.py", "import device_sdk.agent"),
        ("gateway/manager/server.py", "from device_sdk import agent"),
        ("device_sdk/agent.py", "from gateway.errors import Code"),
        ("device_sdk/agent.py", "import gateway"),
        ("gateway/newcomer.py", ""),
    ],
)
def test_what_breaks_the_table_is_found(path: str, source: str) -> None:
    assert len(complaints(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gateway/core.py", "from gateway.merge import merged\nfrom gateway.errors import Code\nimport dataclasses"),
        ("gateway/core/__init__.py", "from .mailbox import Mailbox\nfrom gateway.messages import Hello"),
        ("gateway/standard.py", "import asyncio, boto3\nfrom gateway import faults"),
        ("gateway/runner.py", "from gateway import broker, cloud, codec, config, core, metrics, status, topics"),
        ("gateway/cli.py", "from gateway import log, runner\nfrom gateway.manager.cli import app"),
        ("gateway/manager/cli.py", "from gateway.manager import server\nfrom gateway.errors import ConfigError"),
        ("gateway/demo/devices.py", "import device_sdk.agent\nfrom gateway.codec import decode"),
        ("device_sdk/agent.py", "from device_sdk import pack\nfrom . import wire\nimport time"),
    ],
)
def test_what_keeps_to_the_table_passes(path: str, source: str) -> None:
    assert complaints(Path(path), source) == []


def test_the_table_goes_round_in_no_circle() -> None:
    graph = {room: row - {"*"} | (set(TABLE) - NOT_IN_STAR if "*" in row else set()) for room, row in TABLE.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("messages") < order.index("runner") < order.index("cli")
