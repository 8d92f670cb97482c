"""What a page of the console is: a path, who may see it, and a function that makes its content of a request.

A view runs in a thread of the console: it may read the store and call operations. It changes nothing but by an
operation, and only as the answer to a POST.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlencode

from gateway.errors import explain
from gateway.manager.console.errors import PageError
from gateway.manager.console.requests import UploadedFile
from gateway.manager.console.visitors import Viewer
from gateway.manager.control import Caller, access
from gateway.manager.errors import ApiError, S3Error
from gateway.manager.store import MODELS, ObjectFacts, ObjectStore, Store, object_key

ControlFunction: TypeAlias = Callable[[str, bytes, Caller, float], bytes]
"""(X-Amz-Target, body, caller, now) -> the operation's output."""
CONFIRM_ABOVE = 100
"""A change of more devices needs a word that is typed."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text for a formula that begins so."""


class Operations:
    """Operations of the control plane and of the model store, as the viewer may call them."""

    def __init__(self, control: ControlFunction, objects: ObjectStore, viewer: Viewer, now: float) -> None:
        self._control = control
        self._objects = objects
        self._viewer = viewer
        self._now = now

    def call(self, target: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """`target`: SageMaker.ListDeviceFleets. Raises ApiError and StoreUnavailable, which become error pages."""
        output = self._control(target, json.dumps(members).encode(), self._viewer.caller(), self._now)
        found: dict[str, Any] = json.loads(output)
        return found

    def find(self, target: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """As `call`, of what a page is about: where it is not there, PageError with the status 404."""
        try:
            return self.call(target, members)
        except ApiError as error:
            if error.code != "ValidationException":
                raise
            raise PageError(404, f"It is not here: {error.message}", "Go back, or correct the address.") from error

    def store_model(self, file: UploadedFile, handle: str) -> str:
        """The URL of the file, which is stored where `deploy` stores it: the same content has the same URL.

        Raises ApiError where the viewer may not, PageError, StoreUnavailable.
        """
        action, caller = "s3:PutObject", self._viewer.caller()
        access.require(caller.key, caller.role, action)
        key = object_key(handle, file.sha1, Path(file.name))
        try:
            before = self._objects.find(MODELS, key)
            if before is None or before.etag != file.etag:
                auditor = caller.auditor(action, self._now)
                self._objects.put(file.path, MODELS, key, ObjectFacts(file.etag), lambda before: None, auditor)
        except S3Error as error:
            raise PageError(409, f"It was refused: {error.message}", "Send it with another handle.") from error
        except OSError as error:
            what = f"The file cannot be stored: {explain(error)}."
            raise PageError(503, what, "Make room on the manager's disk, and send it again.") from error
        return f"s3://{MODELS}/{key}"


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """`parameters`: of the view's path. `now`: Unix seconds. `file`: of a view that `takes_file`."""

    viewer: Viewer
    store: Store
    operations: Operations
    now: float
    path: str = "/"
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    file: UploadedFile | None = None

    def link(self, **changes: object) -> str:
        """This page with other parameters of its query; None takes one away."""
        return link_to(self.path, **(dict(self.query) | changes))

    def number(self, name: str, default: int | None = None) -> int | None:
        """A parameter of the query. Raises PageError where it is no number."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise PageError(400, f"The address is wrong: {name}={text[:40]} is no number.", "Go back, or correct it.")
        return int(text)


@dataclass(frozen=True, slots=True)
class Shown:
    """A template with its variables."""

    template: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirected:
    """After a POST. `message`: the next page shows it once."""

    to: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Downloaded:
    name: str
    content_type: str
    body: bytes


ViewAnswer: TypeAlias = Shown | Redirected | Downloaded


@dataclass(frozen=True, slots=True)
class View:
    """`path`: with {names} for its variable parts. `action`: what a viewer must be allowed, as `control.access` names
    it; empty: every viewer may. A view with `changes` answers POST, the others GET. `takes_file`: its form has one,
    after all fields.
    """

    path: str
    answer: Callable[[ViewRequest], ViewAnswer]
    action: str = ""
    changes: bool = False
    takes_file: bool = False


def find_view(views: Iterable[View], path: str) -> tuple[View, dict[str, str]] | None:
    """The view that answers GET of a path as it comes (quoted), and the parameters; None: there is none."""
    parts = path.split("/")
    for view in views:
        names = view.path.split("/")
        if view.changes or len(names) != len(parts):
            continue
        pairs = list(zip(names, parts, strict=True))
        if all(name == part or (name.startswith("{") and part) for name, part in pairs):
            return view, {name.strip("{}"): unquote(part) for name, part in pairs if name.startswith("{")}
    return None


def link_to(path: str, **query: object) -> str:
    """`path` as it is; what is None is left out."""
    given = {name: str(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def path_to(*parts: object) -> str:
    """("devices", "f", "a/b") -> /devices/f/a%2Fb."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def downloaded(form: str, name: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Downloaded:
    """The rows as a file. `form`: csv or json. Raises PageError where it is another one."""
    if form == "json":
        body = json.dumps([{column: row[column] for column in columns} for row in rows], ensure_ascii=False)
        return Downloaded(f"{name}.json", "application/json", body.encode())
    if form != "csv":
        raise PageError(400, f"There is no format {form[:40]!r}.", "Take csv or json.")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in columns])
    return Downloaded(f"{name}.csv", "text/csv; charset=utf-8", out.getvalue().encode())


def _cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text


def needs_word(devices: int) -> bool:
    """Whether the form of a change of so many devices must ask for a word."""
    return devices > CONFIRM_ABOVE


def is_confirmed(form: Mapping[str, str], devices: int, word: str) -> bool:
    """Whether a change of so many devices needs no word, or that word was typed."""
    return not needs_word(devices) or form.get("confirm", "").strip() == word


def require_word(form: Mapping[str, str], devices: int, word: str) -> None:
    """Raises PageError where a change of so many devices was not confirmed by typing that word."""
    if not is_confirmed(form, devices, word):
        what = f"This changes {devices:,} devices, and the word was not typed. Nothing was changed."
        raise PageError(400, what, f"Go back, type {word} into the field, and send it again.")
