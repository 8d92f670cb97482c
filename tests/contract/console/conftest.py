"""A console that is served over a store of SQLite, and browsers of it: clients with cookies, which send forms.

Views of the test's own stand beside the real ones: a change, by an operation of the control plane.
"""

import base64
import hashlib
import html
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.manager import Place
from gateway.manager.console import ConsoleConfig, serving_console
from gateway.manager.console.pages import VIEWS
from gateway.manager.console.views import ControlFunction, Redirected, View, ViewAnswer, ViewRequest
from gateway.manager.control import ArnScope, Caller, ControlApi, ControlCall, users
from gateway.manager.store import ObjectStore, Store, Transaction
from gateway.manager.store.store import FILE
from tests.support import stores
from tests.support.arrivals import DEADLINE_S

PASSWORD = "correct horse battery"
FLEET = {"OutputConfig": {"S3OutputLocation": "s3://models/x"}}


def create_fleet(request: ViewRequest) -> ViewAnswer:
    name = request.form["fleet"]
    request.operations.call("SageMaker.CreateDeviceFleet", FLEET | {"DeviceFleetName": name})
    return Redirected("/", f"Fleet {name} was made.")


def store_file(request: ViewRequest) -> ViewAnswer:
    assert request.file is not None
    return Redirected("/", request.operations.store_model(request.file, "kws"))


def fail(request: ViewRequest) -> ViewAnswer:
    raise ZeroDivisionError("a fault")


MADE_VIEWS = (
    *VIEWS,
    View("/fleets", create_fleet, action="sagemaker:CreateDeviceFleet", changes=True),
    View("/unguarded", create_fleet, changes=True),
    View("/unguarded/file", store_file, changes=True, takes_file=True),
    View("/fails/{name}", fail),
)


@dataclass
class Answered:
    status: int
    headers: Any
    text: str

    @property
    def token(self) -> str:
        """What the forms of this page carry."""
        found = re.search(r'name="token" value="(\w+)"', self.text)
        assert found is not None, self.text
        return found[1]

    @property
    def words(self) -> str:
        """What is read on it."""
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.text)).split())


@dataclass
class Browser:
    """One with its own cookies, that follows no redirection."""

    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> Answered:
        url = URL(self.url + path, encoded=True)
        async with self.session.get(url, headers=headers, allow_redirects=False) as answer:
            return Answered(answer.status, answer.headers, await answer.text())

    async def post(self, path: str, form: dict[str, str], token: str | None = None, **headers: str) -> Answered:
        """`token` None: the one that a page has."""
        if token is None:
            token = (await self.get("/nothing")).token
        async with self.session.post(
            self.url + path, data=form | {"token": token}, headers=headers, allow_redirects=False
        ) as answer:
            return Answered(answer.status, answer.headers, await answer.text())

    async def upload(self, path: str, content: bytes, name: str = "kws.tflite", **fields: str) -> Answered:
        """A form with a file after its fields."""
        form = aiohttp.FormData(quote_fields=False)  # as browsers do
        for each, value in ({"token": (await self.get("/nothing")).token} | fields).items():
            form.add_field(each, value)
        form.add_field("file", content, filename=name)
        async with self.session.post(self.url + path, data=form, allow_redirects=False) as answer:
            return Answered(answer.status, answer.headers, await answer.text())

    async def log_in(self, name: str, password: str = PASSWORD, **form: str) -> Answered:
        return await self.post("/login", {"name": name, "password": password} | form)

    def cookies(self) -> dict[str, Any]:
        return {each.key: each for each in self.session.cookie_jar}


@dataclass
class ServedConsole:
    """`url`: empty where it has no port."""

    url: str
    store: Store
    control: ControlFunction
    stack: AsyncExitStack = field(repr=False)

    async def browser(self) -> Browser:
        jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of addresses too
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        session = aiohttp.ClientSession(cookie_jar=jar, timeout=timeout)
        return Browser(self.url, await self.stack.enter_async_context(session))

    def change(self, work: Callable[[ControlCall], Any], now: float = 0.0) -> None:
        """What a command on the manager's machine does."""

        def write(transaction: Transaction) -> None:
            work(ControlCall(transaction, Caller(), ArnScope(), "edge-manager:Test", now))

        self.store.write(write)

    def add_user(self, name: str, role: str) -> None:
        self.change(lambda call: users.add(call, name, role, HASHED))


def quickly_hashed(password: str) -> str:
    """As the program stores it, but for the time that it takes."""
    salt = b"salt of the tests."
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1, dklen=32)
    return "$".join(["scrypt", "2", "8", "1", *(base64.b64encode(each).decode() for each in (salt, digest))])


HASHED = quickly_hashed(PASSWORD)
Serve = Callable[..., Any]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: it takes a while to make one."""
    data = tmp_path_factory.mktemp("empty")
    with stores.sqlite_store(data):
        pass
    return data / FILE


@pytest.fixture
async def serve(tmp_path: Path, empty_database: Path) -> AsyncIterator[Serve]:
    """Serves a console with those settings."""
    shutil.copy(empty_database, tmp_path)
    place = Place(tmp_path)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(stores.open_place(place))
        objects = ObjectStore(tmp_path, store)
        control = ControlApi(store, objects, ArnScope()).handle

        async def serve(**settings: Any) -> ServedConsole:
            console = serving_console(ConsoleConfig(**settings), place, store, control, objects, MADE_VIEWS)
            url = await stack.enter_async_context(console)
            return ServedConsole(url or "", store, control, stack)

        yield serve


@pytest.fixture
async def console(serve: Serve) -> ServedConsole:
    """Without a user."""
    made: ServedConsole = await serve()
    return made


@pytest.fixture
async def browser(console: ServedConsole) -> Browser:
    return await console.browser()
