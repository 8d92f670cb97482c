"""Templates into HTML: all that they fill in is escaped, and made printable. It must never read anything but templates.

The style sheet and the icon are read once, at the start: no request names a file of the disk.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gateway.errors import printable
from gateway.manager.console.views import link_to, needs_word, path_to
from gateway.manager.time_words import ago_words, duration_words

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
SHAPES = {
    "connected": ("good", "\u25cf"),
    "asleep": ("calm", "\u25d0"),
    "not announced": ("calm", "\u25c7"),
    "never heard": ("calm", "\u25cb"),
    "silent": ("warn", "\u25b2"),
    "gone": ("bad", "\u25a0"),
    "running": ("calm", "\u25b6"),
    "paused": ("warn", "\u2016"),
    "completed": ("good", "\u2714"),
    "stopped": ("bad", "\u25a0"),
    "aborted": ("bad", "\u2716"),
    "succeeded": ("good", "\u2714"),
    "failed": ("bad", "\u2716"),
    "pending": ("calm", "\u25d0"),
    "waiting": ("calm", "\u25cb"),
    "superseded": ("calm", "\u25c7"),
    "withdrawn": ("warn", "\u2016"),
    "firing": ("bad", "\u25b2"),
    "ended": ("good", "\u2714"),
    "nothing is wrong": ("good", "\u2714"),
}
"""State -> the colour's name, and the shape that stands beside the word."""


LIVE = "live_"


@dataclass(frozen=True, slots=True)
class StaticFile:
    content_type: str
    body: bytes


class Renderer:
    def __init__(self) -> None:
        self.static = {
            path.name: StaticFile(_TYPES[path.suffix], path.read_bytes())
            for path in sorted((_HERE / "static").iterdir())
            if path.suffix in _TYPES
        }
        versions = {name: hashlib.sha256(file.body).hexdigest()[:12] for name, file in self.static.items()}
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "time": _time,
            "ago": lambda at, now: ago_words(now - at),
            "duration": duration_words,
            "count": lambda number: f"{number:,}",
            "value": lambda number: f"{number:.6g}",
            "compact": lambda value: json.dumps(value, ensure_ascii=False),
        }
        self._environment.globals |= {
            "link_to": link_to,
            "path_to": path_to,
            "needs_word": needs_word,
            "shapes": SHAPES,
            "static": lambda name: f"/static/{name}?v={versions[name]}",
        }

    def render(self, template: str, variables: Mapping[str, Any]) -> bytes:
        return self._environment.get_template(template).render(variables).encode()

    def render_parts(self, template: str, variables: Mapping[str, Any]) -> dict[str, str]:
        """The live parts of a page: its blocks whose names begin with `live_`, by the rest of their names."""
        found = self._environment.get_template(template)
        context = found.new_context(dict(variables))
        for _ in found.root_render_func(context):  # which imports the macros
            pass
        blocks = {name: block for name, block in found.blocks.items() if name.startswith(LIVE)}
        return {name.removeprefix(LIVE): "".join(block(context)) for name, block in blocks.items()}


def _finalize(value: object) -> object:
    """Text of a device or a caller may turn the reading direction, or have characters that nobody sees."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(printable(line, "\ufffd") for line in value.split("\n"))
    return value


def _time(at: float | None) -> Markup:
    """UTC. Nothing where there is no time, and the number where no calendar has it."""
    if at is None:
        return Markup()
    try:
        found = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return Markup("{}").format(str(at))
    machine, people = found.strftime("%Y-%m-%dT%H:%M:%SZ"), found.strftime("%Y-%m-%d %H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(machine, people)
