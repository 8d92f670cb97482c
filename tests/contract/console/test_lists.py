"""The lists of devices and rollouts: each count of the first page leads to the entries that it counts."""

import html
import json
import re
import time

from gateway.manager.rollouts import RolloutState, actions
from gateway.manager.store import StoredFile
from tests.contract.console.conftest import Browser, ServedConsole

FILE = {"kws": StoredFile("s3://models/kws/x.bin", 5, "a" * 40)}


def register(console: ServedConsole, fleet: str, *devices: str) -> None:
    console.store.write(lambda transaction: transaction.register(fleet, devices, 1.0))


def deploy(console: ServedConsole, name: str) -> None:
    device_ids = actions.require_devices(console.store, "barn", ["a"])
    actions.deploy(console.store, actions.NewDeployment("barn", ["kws"], name), device_ids, FILE, {}, now=time.time())


async def pages(browser: Browser, path: str) -> list[list[str]]:
    """The names at the heads of the rows, page by page."""
    found = []
    while path:
        page = (await browser.get(path)).text
        found.append(re.findall(r'<th scope="row"[^>]*>(?:<a [^>]*>)?([^<]+)<', page))
        link = re.search(r'<a href="([^"]+)" rel="next"', page)
        path = html.unescape(link[1]) if link else ""
    return found


async def test_devices_page_by_page(console: ServedConsole, browser: Browser) -> None:
    names = [f"d{number:03}" for number in range(120)]
    register(console, "barn", *names)
    register(console, "field", "e")
    listed = await pages(browser, "/devices?fleet=barn&state=never+heard")
    assert [len(each) for each in listed] == [50, 50, 20]
    assert [each for page in listed for each in page] == [f"barn/{name}" for name in names]
    assert await pages(browser, "/devices?fleet=barn&state=silent") == [[]]
    assert (await pages(browser, "/devices"))[-1][-1] == "field/e"


async def test_rollouts_the_newest_first_and_by_state(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    for name in ("one", "two", "three"):
        deploy(console, name)
    actions.set_state(console.store, "barn", "three", RolloutState.PAUSED, now=time.time())
    assert await pages(browser, "/rollouts") == [["barn/three", "barn/two", "barn/one"]]
    assert await pages(browser, "/rollouts?state=paused&fleet=barn") == [["barn/three"]]
    [row] = json.loads((await browser.get("/rollouts?state=paused&format=json")).text)
    assert (row["deployment"], row["devices"], row["state"]) == ("three", 1, "paused")
    assert (await browser.get("/devices?format=csv")).text.splitlines()[1].startswith("barn,a,")


async def test_what_does_not_exist_is_said(console: ServedConsole, browser: Browser) -> None:
    for path in ("/devices?state=lost", "/rollouts?state=lost", "/devices?after=x", "/rollouts?after=x"):
        page = await browser.get(path)
        assert (page.status, "<table" in page.text) == (400, False)
    assert "fleet none has no device" in (await browser.get("/devices?fleet=none")).text


async def test_no_text_of_a_device_or_caller_becomes_html(console: ServedConsole, browser: Browser) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    register(console, hostile, hostile)
    for path in ("/devices", "/rollouts"):
        page = (await browser.get(path)).text
        assert "<img" not in page
    assert html.escape(hostile) in (await browser.get("/devices")).text
