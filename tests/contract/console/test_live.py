"""Pages that are live: what changed is told to who looks at them, together and no sooner than they may be made."""

import asyncio
import html
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from gateway.manager.console import live, server, streams
from gateway.manager.console.rendering import LIVE, Renderer
from gateway.manager.operations import EdgeApi
from gateway.manager.store.store import FILE
from tests.contract.console.conftest import Browser, Serve, ServedConsole
from tests.support.arrivals import DEADLINE_S


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SOONEST", 0.02)
    monkeypatch.setattr(live, "SHARE", 0.0)
    monkeypatch.setattr(streams, "CHECKED", 0.1)


class Stream:
    """The events of a page, without the comments."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def event(self) -> tuple[str, str]:
        """(name, data)"""
        name, data = "message", None
        async with asyncio.timeout(DEADLINE_S):
            async for line in self.answer.content:
                field, _, value = line.decode().rstrip("\n").partition(":")
                if not line.strip() and data is not None:
                    return name, data
                name = value.strip() if field == "event" else name
                data = value.strip() if field == "data" else data
        return "closed", ""

    async def parts(self) -> dict[str, str]:
        name, data = await self.event()
        assert name == "message"
        found: dict[str, str] = json.loads(data)
        return found


@asynccontextmanager
async def watching(browser: Browser, page: str, status: int = 200) -> AsyncIterator[Stream]:
    async with browser.session.get(f"{browser.url}/live?page={quote(page, safe='')}") as answer:
        assert answer.status == status
        yield Stream(answer)


def register(console: ServedConsole, *devices: str) -> None:
    console.store.write(lambda transaction: transaction.register("barn", devices, 1.0))


def heartbeat(console: ServedConsole, device: str) -> None:
    body = {"DeviceFleetName": "barn", "DeviceName": device, "AgentVersion": "1"}
    EdgeApi(console.store).handle("SendHeartbeat", json.dumps(body).encode(), time.time())


async def test_the_parts_are_those_of_the_page(console: ServedConsole, browser: Browser) -> None:
    register(console, "a")
    for path in ("/", "/devices?fleet=barn", "/rollouts", "/audit", "/devices/barn/a"):
        async with watching(browser, path) as stream:
            parts = await stream.parts()
            page = (await browser.get(path)).text
            assert parts
            for name, text in parts.items():
                assert f'<div data-live="{name}">{text}</div>' in page


def test_a_part_of_a_page_has_no_form() -> None:
    """What is typed would be gone with the next change, and the token is its viewer's alone."""
    loader = Renderer()._environment.loader
    assert loader is not None
    sources = [loader.get_source(Renderer()._environment, name)[0] for name in loader.list_templates()]
    parts = [each.split("{% endblock %}")[0] for text in sources for each in text.split(f"block {LIVE}")[1:]]
    assert len(parts) >= 7
    assert not [each for each in parts if "<form" in each or "token" in each or "<input" in each]


async def test_a_change_is_told_and_nothing_else(console: ServedConsole, browser: Browser) -> None:
    register(console, "a", "b")
    async with watching(browser, "/devices?fleet=barn") as stream:
        assert "never heard" in (await stream.parts())["rows"]
        heartbeat(console, "a")
        assert "not announced" in (await stream.parts())["rows"]
        register(console, "c")
        assert "barn/c" in (await stream.parts())["rows"]


async def test_viewers_of_a_page_share_its_making(
    console: ServedConsole, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(console, "a")
    made = 0
    render = Renderer.render_parts

    def counted(*given: Any) -> dict[str, str]:
        nonlocal made
        made += 1
        return render(*given)

    monkeypatch.setattr(live, "SOONEST", DEADLINE_S)
    monkeypatch.setattr(Renderer, "render_parts", counted)
    async with watching(browser, "/") as first, watching(browser, "/") as second:
        assert await first.parts() == await second.parts()
    assert made == 1


async def test_the_pages_are_made_in_a_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long they take: the wait after one is so many times that."""
    monkeypatch.setattr(live, "SHARE", 20.0)
    made: list[float] = []

    async def make(key: str) -> live.LiveParts:
        made.append(time.monotonic())
        await asyncio.sleep(0.01)
        return {"rows": str(len(made))}

    async with live.LivePages(make).watching("page") as watch:
        for number in (1, 2, 3):
            assert await watch.changes() == {"rows": str(number)}
    assert all(later - before >= 0.2 for before, later in itertools.pairwise(made))


async def test_who_may_not_see_a_page_is_told_nothing_of_it(console: ServedConsole, browser: Browser) -> None:
    console.add_user("vera", "viewer")
    for page in ("/", "/audit", "/nothing", "", "/devices/register"):
        async with watching(browser, page, status=403):
            pass
    await browser.log_in("vera")
    async with watching(browser, "/audit", status=403):
        pass
    async with watching(browser, "/") as stream:
        assert await stream.parts()
        await browser.post("/logout", {})
        assert (await stream.event())[0] == "end"


async def test_an_open_page_does_not_keep_a_session(console: ServedConsole, browser: Browser) -> None:
    console.add_user("vera", "viewer")
    await browser.log_in("vera")
    select = "SELECT used FROM sessions"

    def used() -> Any:
        return console.store.read(lambda transaction: transaction.connection.exec_driver_sql(select).scalar_one())

    console.store.write(
        lambda transaction: transaction.connection.exec_driver_sql("UPDATE sessions SET used = used - 120")
    )
    before = used()
    async with watching(browser, "/") as stream:
        await stream.parts()
        assert used() == before
    await browser.get("/")
    assert used() > before


async def test_a_page_that_goes_ends_the_stream(console: ServedConsole, browser: Browser) -> None:
    register(console, "a")
    async with watching(browser, "/devices/barn/a") as stream:
        await stream.parts()
        await browser.post("/devices/barn/a", {"confirm": "a"})
        assert (await stream.event())[0] == "end"


async def test_too_many_streams(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_allowed_connections", lambda: 3)
    browser = await (await serve()).browser()
    async with watching(browser, "/") as stream:
        await stream.parts()
        async with watching(browser, "/", status=503) as refused:
            assert refused.answer.headers["Retry-After"] == "60"

    while True:  # the browser left, which the server learns with what it writes
        async with browser.session.get(f"{browser.url}/live?page=/") as answer:
            if answer.status == 200:
                break


async def test_a_stream_goes_on_while_the_database_is_away(
    console: ServedConsole, browser: Browser, tmp_path: Path
) -> None:
    register(console, "a")
    async with watching(browser, "/devices") as stream:
        await stream.parts()
        moved = (tmp_path / FILE).rename(tmp_path / "moved")
        assert (await browser.get("/devices")).status == 503
        moved.rename(tmp_path / FILE)
        register(console, "b")
        assert "barn/b" in (await stream.parts())["rows"]


async def test_the_console_ends_while_a_page_is_open(serve: Serve) -> None:
    console = await serve()
    async with aiohttp.ClientSession() as session, watching(Browser(console.url, session), "/") as stream:
        await stream.parts()
        closing = asyncio.create_task(console.stack.aclose())
        assert (await stream.event())[0] == "closed"
        await closing


async def test_text_of_a_device_is_text_in_a_message(console: ServedConsole, browser: Browser) -> None:
    hostile = "<img src=x onerror=alert(1)>\n\ndata: {}"
    console.store.write(lambda transaction: transaction.register(hostile, [hostile], 1.0))
    async with watching(browser, "/devices") as stream:
        text = (await stream.parts())["rows"]
    assert "<img" not in text
    assert html.escape("<img src=x") in text
