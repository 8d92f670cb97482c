"""The page of models, and how a model is deployed from the browser."""

import asyncio
import hashlib
import html
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import sqlalchemy as sa

from gateway.manager.console import server, uploads
from gateway.manager.console.pages import deploy as deploy_page
from gateway.manager.rollouts import Rollout, RolloutRepository, actions
from gateway.manager.store import StoredFile, Transaction, add_package
from gateway.manager.store.control_tables import PACKAGES
from gateway.manager.store.tables import FLEET_MODELS, FLEETS
from tests.contract.console.conftest import Answered, Browser, Serve, ServedConsole
from tests.support.control_plane import audit_of
from tests.support.polling import until_async

HOSTILE = "<img src=x onerror=alert(1)>\"'\u202e"


def register(console: ServedConsole, fleet: str, *devices: str) -> None:
    console.store.write(lambda transaction: transaction.register(fleet, devices, 1.0))


def stored_file(handle: str, version: str) -> StoredFile:
    """One that nobody looks for."""
    return StoredFile(f"s3://models/{handle}/{version}.bin", 1234, version.rjust(40, "0"))


def add_packages(console: ServedConsole, *packages: tuple[str, str]) -> None:
    """(model, version)"""

    def work(transaction: Transaction) -> None:
        for model, version in packages:
            add_package(transaction.connection, model, version, stored_file(model, version), 1.0)

    console.store.write(work)


def deploy(console: ServedConsole, handle: str, version: str, device: str = "a") -> None:
    devices = actions.require_devices(console.store, "barn", [device])
    file = stored_file(handle, version)
    new = actions.NewDeployment("barn", [handle])
    actions.deploy(console.store, new, devices, {handle: file}, {handle: version}, now=time.time())


def report_models(console: ServedConsole, *rows: tuple[str, str, int]) -> None:
    """(model, version, how many devices of the fleet run it)"""

    def work(transaction: Transaction) -> None:
        fleet = transaction.connection.scalar(sa.select(FLEETS.c.id))
        values = [{"fleet": fleet, "name": name, "version": version, "devices": count} for name, version, count in rows]
        transaction.connection.execute(sa.insert(FLEET_MODELS), values)

    console.store.write(work)


# -- the page of models --


async def test_models_page_by_page(console: ServedConsole, browser: Browser) -> None:
    add_packages(console, *(("kws" if number < 60 else "vad", str(number)) for number in range(101)))
    shown, path = [], "/models"
    while path:
        page = (await browser.get(path)).text
        found = re.findall(r'>(kws|vad)</a></th>\s*<td data-label="Version"><div>(\d+)\s', page)
        shown.append([(model, int(version)) for model, version in found])
        link = re.search(r'<a href="([^"]+)" rel="next"', page)
        path = html.unescape(link[1]) if link else ""
    assert [len(each) for each in shown] == [50, 50, 1]
    listed = [each for page in shown for each in page]
    assert listed == [("kws", n) for n in reversed(range(60))] + [("vad", n) for n in reversed(range(60, 101))]
    assert "<h1>Model vad</h1>" in (await browser.get("/models?model=vad")).text


async def test_a_version_has_its_file_its_deployments_and_its_devices(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a", "b")
    deploy(console, "kws", "1", "a")
    deploy(console, "kws", "1", "b")
    report_models(console, ("kws", "1", 1500), ("old", "7", 3))
    page = (await browser.get("/models")).text
    assert "s3://models/kws/1.bin" in page
    assert "1,234 bytes" in page
    assert re.findall(r'href="([^"]+)">barn/(kws-\d)<', page) == [
        ("/rollouts?fleet=barn", "kws-2"),
        ("/rollouts?fleet=barn", "kws-1"),
    ]
    assert '<a href="/devices?fleet=barn">barn</a> <span class="number">1,500 / 2</span>' in page
    assert re.search(r'data-label="Model">old</th><td data-label="Version">7</td>', page)


async def test_models_as_a_file(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    deploy(console, "kws", "1")
    [row] = json.loads((await browser.get("/models?format=json")).text)
    assert (row["model"], row["version"], row["packages"][0]["size"]) == ("kws", "1", 1234)
    assert (await browser.get("/models?format=csv")).text.startswith(
        "model,version,packages,deployments,fleets\r\nkws,1,"
    )


async def test_an_address_that_is_wrong(browser: Browser) -> None:
    for query in ("model=%00", "after=a/b&before=1", "after=a&before=x", "format=xml"):
        page = await browser.get(f"/models?{query}")
        assert (page.status, "<table" in page.text) == (400, False)


async def test_no_text_of_a_device_becomes_html(console: ServedConsole, browser: Browser) -> None:
    register(console, HOSTILE, "a")
    report_models(console, (HOSTILE, HOSTILE, 3))
    page = (await browser.get("/models")).text
    assert page.count("&lt;img src=x") == 2
    assert "<img" not in page
    assert "\u202e" not in page


# -- upload --

CONTENT = bytes(range(256)) * 1200
SHA1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
UPLOAD = "/models/upload"


def stored_files(data: Path) -> dict[str, bytes]:
    """Content by path: of the bucket of models, and what is being received."""
    folder = data / "objects"
    paths = [path for name in ("models", ".incoming") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def mistake_of(page: Answered, field: str) -> str | None:
    found = re.search(rf'<span class="mistake" id="{field}-mistake">([^<]*)</span>', page.text)
    return None if found is None else html.unescape(found[1])


async def test_a_file_is_stored_whole_and_its_deployment_follows(
    console: ServedConsole, browser: Browser, tmp_path: Path
) -> None:
    console.add_user("alice", "operator")
    await browser.log_in("alice")
    done = await browser.upload(UPLOAD, CONTENT, handle="kws", version="1.2")
    assert done.status == 303
    target = urlsplit(done.headers["Location"])
    url = f"s3://models/kws/{SHA1[:16]}.tflite"
    assert target.path == "/models/deploy"
    assert parse_qs(target.query) == {"url": [url], "handle": ["kws"], "version": ["1.2"]}
    assert stored_files(tmp_path) == {f"models/kws/{SHA1[:16]}.tflite": CONTENT}
    form = (await browser.get(done.headers["Location"])).text
    assert f"kws.tflite is stored: 307,200 bytes, SHA-1 {SHA1}." in form
    assert f'name="url" value="{url}"' in form
    assert (await browser.upload(UPLOAD, CONTENT, handle="kws")).status == 303
    rows = [row for row in audit_of(console.store) if row["action"] == "s3:PutObject"]
    assert [(row["key"], row["resource"], row["after"]["Size"]) for row in rows if row["after"] is not None] == [
        ("user/alice", url, len(CONTENT))
    ]


@asynccontextmanager
async def sent(
    console: ServedConsole, browser: Browser, body: bytes, missing: int = 0
) -> AsyncIterator[asyncio.StreamReader]:
    """The answer to a form with the browser's cookies, of which so many bytes do not come."""
    cookies = "; ".join(f"{name}={each.value}" for name, each in browser.cookies().items())
    parts = urlsplit(console.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookies}\r\nConnection: close\r\n"
    head += f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body) + missing}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        yield reader
    finally:
        writer.close()


def form_of(*fields: tuple[str, str], content: bytes = CONTENT) -> bytes:
    """Up to the content of the file, without what ends the form."""
    lines = [f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    lines.append('--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n')
    return "".join(lines).encode() + content


async def test_an_upload_that_is_cut_off_leaves_nothing(
    console: ServedConsole, browser: Browser, tmp_path: Path
) -> None:
    body = form_of(("token", (await browser.get(UPLOAD)).token), ("handle", "kws"))
    async with sent(console, browser, body, missing=100):
        await until_async(lambda: bool(stored_files(tmp_path)))
    await until_async(lambda: not stored_files(tmp_path))


@pytest.mark.parametrize("end", [b"", b"\r\n--B", b"\r\n--B\r\n", b"\r\n--Bx--\r\n"])
async def test_a_form_that_does_not_end_is_refused(
    console: ServedConsole, browser: Browser, tmp_path: Path, end: bytes
) -> None:
    body = form_of(("token", (await browser.get(UPLOAD)).token), ("handle", "kws")) + end
    async with sent(console, browser, body) as answer:
        assert await answer.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    await until_async(lambda: not stored_files(tmp_path))


async def test_who_sends_too_slowly_is_refused(
    console: ServedConsole, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PATIENCE", 0.1)
    body = form_of(("token", (await browser.get(UPLOAD)).token), ("handle", "kws"))
    async with sent(console, browser, body, missing=100) as answer:
        assert await answer.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    await until_async(lambda: not stored_files(tmp_path))


@pytest.mark.parametrize(("size", "status"), [(1000, 303), (1001, 413), (200_000, 413)])
async def test_a_file_that_is_too_large(serve: Serve, tmp_path: Path, size: int, status: int) -> None:
    browser = await (await serve(max_object=1000)).browser()
    page = await browser.upload(UPLOAD, CONTENT[:size], handle="kws")
    assert page.status == status
    assert ("The file is larger than 1,000 bytes. Nothing was stored." in page.text) == (status == 413)
    await until_async(lambda: len(stored_files(tmp_path)) == (status == 303))


async def test_what_is_said_to_be_too_large_is_not_received(serve: Serve, tmp_path: Path) -> None:
    console = await serve(max_object=2 * len(CONTENT))
    browser = await console.browser()
    body = form_of(("token", (await browser.get(UPLOAD)).token), ("handle", "kws"))
    async with sent(console, browser, body, missing=1_000_000) as answer:
        assert (await answer.readline()).startswith(b"HTTP/1.1 413 ")
    assert not (tmp_path / "objects").exists()


async def test_more_uploads_than_are_received_at_once(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_UPLOADS", 0)
    page = await browser.upload(UPLOAD, CONTENT, handle="kws")
    assert (page.status, page.headers["Retry-After"]) == (503, "1")
    assert not stored_files(tmp_path)


async def test_a_viewer_may_see_models_and_neither_upload_nor_deploy(
    console: ServedConsole, browser: Browser, tmp_path: Path
) -> None:
    register(console, "barn", "a")
    add_packages(console, ("kws", "1"))
    console.add_user("eve", "viewer")
    assert (await browser.upload(UPLOAD, CONTENT, handle="kws")).headers["Location"] == "/login?next=%2F"
    await browser.log_in("eve")
    page = await browser.get("/models")
    assert page.status == 200
    assert not re.search('href="/models/(deploy|upload)', page.text)
    for path in (UPLOAD, "/models/deploy"):
        assert (await browser.get(path)).status == 403
    page = await browser.upload(UPLOAD, CONTENT, handle="kws")
    assert page.status == 403
    assert "The role viewer does not allow this." in page.text
    assert (await browser.post("/models/deploy", typed(console) | {"step": "deploy"})).status == 403
    assert not (tmp_path / "objects").exists()
    assert rollouts(console) == []


async def test_the_model_store_asks_for_the_role_itself(
    console: ServedConsole, browser: Browser, tmp_path: Path
) -> None:
    console.add_user("eve", "viewer")
    await browser.log_in("eve")
    page = await browser.upload("/unguarded/file", CONTENT)
    assert (page.status, "not authorized to perform: s3:PutObject" in page.text) == (403, True)
    await until_async(lambda: not stored_files(tmp_path))


async def test_a_form_of_another_site_stores_nothing(console: ServedConsole, browser: Browser, tmp_path: Path) -> None:
    token = (await browser.get(UPLOAD)).token
    after = f'\r\n--B\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n--B--\r\n'.encode()
    for body in (
        form_of(("handle", "kws")) + b"\r\n--B--\r\n",
        form_of(("handle", "kws"), ("token", "0" * 64)) + b"\r\n--B--\r\n",
        form_of(("handle", "kws")) + after,
    ):
        async with sent(console, browser, body) as answer:
            assert await answer.readline() == b"HTTP/1.1 403 Forbidden\r\n"
    browser.session.headers["Origin"] = "http://evil.example"
    assert (await browser.upload(UPLOAD, CONTENT, token=token, handle="kws")).status == 403
    assert not (tmp_path / "objects").exists()


@pytest.mark.parametrize(
    ("fields", "content", "field", "text"),
    [
        ({"handle": "a b"}, CONTENT, "handle", "'a b' is not allowed: should be 1 to 63 characters"),
        ({"handle": ""}, CONTENT, "handle", "'' is not allowed"),
        ({"handle": "kws", "version": "1/2"}, CONTENT, "version", "'1/2' is not allowed"),
        ({"handle": "kws", "version": "1"}, CONTENT, "version", "version '1' of kws is another file"),
        ({"handle": "kws", "version": "2"}, b"", "file", "The file is empty: a model file is expected."),
    ],
)
async def test_a_mistake_stands_beside_its_field(
    console: ServedConsole,
    browser: Browser,
    tmp_path: Path,
    fields: dict[str, str],
    content: bytes,
    field: str,
    text: str,
) -> None:
    add_packages(console, ("kws", "1"))
    page = await browser.upload(UPLOAD, content, **fields)
    assert page.status == 400
    assert (mistake_of(page, field) or "").startswith(text)
    for name, value in fields.items():
        assert f'name="{name}" value="{value}"' in page.text
    await until_async(lambda: not stored_files(tmp_path))


async def test_no_file_was_chosen(browser: Browser) -> None:
    assert mistake_of(await browser.upload(UPLOAD, b"", "", handle="kws"), "file") == "Choose a file."


async def test_no_name_of_a_file_or_model_becomes_html(browser: Browser) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    page = await browser.upload(UPLOAD, CONTENT, hostile, handle=hostile, version=hostile)
    assert (page.status, page.text.count("<img")) == (400, 0)
    assert page.text.count(html.escape(hostile)) == 4
    done = await browser.upload(UPLOAD, CONTENT, f"{hostile}.b\u202e", handle="kws")
    page = await browser.get(done.headers["Location"])
    assert f"{html.escape(hostile)}.b" in page.text
    assert "<img" not in page.text
    assert "\u202e" not in page.text


# -- deploy --

DEPLOY = "/models/deploy"


def typed(console: ServedConsole, **others: str) -> dict[str, str]:
    """What a form has of which nothing but the model and the fleet was typed."""
    [package] = console.store.read(
        lambda transaction: transaction.connection.scalars(sa.select(PACKAGES.c.name).where(PACKAGES.c.version == "1"))
    )
    return {"package": package, "fleet": "barn", "step": "preview"} | others


def rollouts(console: ServedConsole) -> list[Rollout]:
    return console.store.read(lambda transaction: RolloutRepository(transaction).list_rollouts())


@pytest.fixture
async def fleet(console: ServedConsole, browser: Browser) -> ServedConsole:
    """With 101 devices, and a model whose file was uploaded and became the package kws 1."""
    register(console, "barn", *(f"d{number}" for number in range(101)))
    done = await browser.upload(UPLOAD, CONTENT, handle="kws")
    [url] = parse_qs(urlsplit(done.headers["Location"]).query)["url"]
    file = StoredFile(url, len(CONTENT), SHA1)
    console.store.write(lambda transaction: add_package(transaction.connection, "kws", "1", file, 1.0))
    return console


async def test_a_preview_says_what_would_be_done_and_does_nothing(fleet: ServedConsole, browser: Browser) -> None:
    before = audit_of(fleet.store)
    page = await browser.post(DEPLOY, typed(fleet, stages="10%,100%", wait="1h", stop_at="5%"))
    assert page.status == 200
    assert re.findall("<li>([^<]*%[^<]*)</li>", page.text) == [
        "11 devices (10%) at once.",
        "90 more, 101 in all (100%), once 90% of stage 1 succeeded and stage 1 lasted 1 h.",
    ]
    assert "more than 5% of the results are FAIL" in page.text
    assert 'name="stages" value="10%,100%"' in page.text
    assert (rollouts(fleet), audit_of(fleet.store)) == ([], before)


async def test_from_the_upload_to_the_deployment(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a", "b")
    console.add_user("alice", "operator")
    await browser.log_in("alice")
    done = await browser.upload(UPLOAD, CONTENT, handle="kws", version="1.2")
    given = {name: value for name, [value] in parse_qs(urlsplit(done.headers["Location"]).query).items()}
    form = given | {"fleet": "barn", "devices": "names", "names": "b", "step": "deploy"}
    done = await browser.post(DEPLOY, form)
    assert (done.status, done.headers["Location"]) == (303, "/rollouts?fleet=barn")
    [rollout] = rollouts(console)
    assert (rollout.name, rollout.progress.total) == ("kws-1", 1)
    assert (rollout.definitions[0].url, rollout.definitions[0].sha1) == (given["url"], SHA1)
    assert "The deployment kws-1 was started for 1 device." in (await browser.get(done.headers["Location"])).text
    rows = [row for row in audit_of(console.store) if row["action"] == "edge-manager:Deploy"]
    assert {row["key"] for row in rows} == {"user/alice"}
    page = (await browser.get("/models")).text
    assert f"{SHA1}</code>" in page
    assert "barn/kws-1</a>" in page


@pytest.mark.parametrize(
    ("chosen", "devices"),
    [({"devices": "percent", "percent": "50%"}, 51), ({"devices": "names", "names": "d1,d2\nd3 d4"}, 4)],
)
async def test_which_devices(fleet: ServedConsole, browser: Browser, chosen: dict[str, str], devices: int) -> None:
    rules = {"stages": "50%,100%", "name": "first", "policy": "DO_NOTHING", "silent_after": "1d", "max_silent": "5%"}
    assert (await browser.post(DEPLOY, typed(fleet, step="deploy", **chosen, **rules))).status == 303
    [rollout] = rollouts(fleet)
    assert (rollout.name, rollout.policy, rollout.progress.total) == ("first", "DO_NOTHING", devices)
    found = rollout.progress.rules
    assert (len(found.stages), float(found.stop_at or 0), found.silent_after) == (2, 0.1, 86_400.0)


async def test_more_than_100_devices_need_a_word(fleet: ServedConsole, browser: Browser) -> None:
    page = await browser.post(DEPLOY, typed(fleet))
    assert "This changes 101 devices. Type <b>barn</b> to confirm." in page.text
    for word in ("", "Barn"):
        page = await browser.post(DEPLOY, typed(fleet, step="deploy", name="first", confirm=word))
        assert page.status == 400
        assert mistake_of(page, "confirm") == "Type barn. Nothing was deployed."
        assert 'name="name" value="first"' in page.text
        assert rollouts(fleet) == []
    assert (await browser.post(DEPLOY, typed(fleet, step="deploy", confirm="barn"))).status == 303
    assert len(rollouts(fleet)) == 1


async def test_what_was_typed_comes_back_to_be_changed(fleet: ServedConsole, browser: Browser) -> None:
    page = await browser.post(DEPLOY, typed(fleet, step="edit", names="d1 d2", devices="names", wait="7m"))
    assert page.status == 200
    assert 'name="wait" value="7m"' in page.text
    assert re.search(r"<textarea[^>]*>d1 d2</textarea>", page.text)
    assert re.search(r'value="names" checked', page.text)
    assert re.search(r'value="kws-\w+" selected', page.text)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("package", "", "Choose one, or upload a file."),
        ("package", "none", "There is no package none."),
        ("fleet", "none", "fleet none has no device"),
        ("fleet", "a b", "'a b' is not allowed"),
        ("percent", "0%", "'0%': of the devices these are none"),
        ("names", "", "Name a device."),
        ("names", "d1 x", "device x is not registered in fleet barn"),
        ("stages", "1%,10%", "1%,10%: stages grow, and the last one is 100%"),
        ("min_success", "1,2,3", "has 3 values: should be one"),
        ("wait", "5", "'5' is not a time with its unit"),
        ("stop_at", "x", "'x' is not a share"),
        ("stop_min", "x", "'x' is no number of results"),
        ("stop_min", "0", "is 0: 1 or more results"),
        ("silent_after", "0s", "'0s': should be more than 0s"),
        ("max_silent", "200%", "'200%' is not a share"),
        ("policy", "NONE", "Choose ROLLBACK_ON_FAILURE or DO_NOTHING."),
        ("name", "a b", "'a b' is not allowed"),
    ],
)
async def test_a_mistake_in_a_deployment(
    fleet: ServedConsole, browser: Browser, field: str, value: str, text: str
) -> None:
    chosen = {"devices": field} if field in ("percent", "names") else {}
    form = typed(fleet, step="deploy", confirm="barn", stages="10%,100%", **chosen) | {field: value}
    page = await browser.post(DEPLOY, form)
    assert page.status == 400
    assert (mistake_of(page, field) or "").startswith(text)
    assert rollouts(fleet) == []
    if field not in ("package", "names", "policy"):
        assert f'name="{field}" value="{value}"' in page.text


async def test_what_the_manager_refuses_is_said_with_what_was_typed(fleet: ServedConsole, browser: Browser) -> None:
    no_file = {"url": "s3://models/kws/none", "handle": "kws", "version": "9", "devices": "names", "names": "d1"}
    page = await browser.post(DEPLOY, typed(fleet, step="deploy", **no_file))
    assert page.status == 400
    assert "s3://models/kws/none is not in the model store (NoSuchKey): upload it first" in page.text
    assert 'name="version" value="9"' in page.text
    assert (await browser.post(DEPLOY, typed(fleet, step="deploy", confirm="barn", name="one"))).status == 303
    page = await browser.post(DEPLOY, typed(fleet, name="one"))
    assert (mistake_of(page, "name") or "").startswith("there is or was a deployment named one")


async def test_nothing_that_is_typed_becomes_html(fleet: ServedConsole, browser: Browser) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    fields: dict[str, Any] = dict.fromkeys(typed(fleet) | deploy_page.DEFAULTS, hostile)
    for step in ("edit", "preview", "deploy"):
        page = await browser.post(DEPLOY, fields | {"step": step})
        assert "<img" not in page.text
        assert page.text.count("&lt;img") > 10
    address = "&".join(f"{name}={quote(hostile)}" for name in deploy_page.DEFAULTS)
    assert "<img" not in (await browser.get(f"{DEPLOY}?{address}")).text
