"""A request of the console and its answer, apart from the web server that carries them. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that came with a form, in a temporary one at `path` until the answer is made. `name`: as the browser has
    it; `size` in bytes, `sha1` as 40 hex digits, `etag`: its quoted MD5.
    """

    path: Path
    name: str
    size: int
    sha1: str
    etag: str


@dataclass(frozen=True, slots=True)
class ConsoleRequest:
    """`path` is decoded, `target` is as it came, with the query. `parameters`: parts of the path, by their names in a
    view's path. `headers`: by names in lower case. `peer`: the address of whoever connected. `now`: Unix seconds.
    `file`: of a form that may have one.
    """

    method: str
    path: str
    now: float
    target: str = "/"
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    peer: str = ""
    file: UploadedFile | None = None

    def header(self, name: str) -> str | None:
        """Its last value; None: it is not there. The last one is what the proxy before the console wrote."""
        found = self.headers.get(name.lower())
        return found[-1] if found else None

    @property
    def changes(self) -> bool:
        return self.method == "POST"


@dataclass(frozen=True, slots=True)
class SetCookie:
    """`seconds` for which it is kept; 0: it ends now; None: with the browser."""

    name: str
    value: str
    seconds: int | None = None
    secure: bool = False


@dataclass(slots=True)
class ConsoleAnswer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[SetCookie] = field(default_factory=list)
