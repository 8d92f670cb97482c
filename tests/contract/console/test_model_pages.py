"""The page of models, and how a model is deployed from the browser."""

import html
import json
import re
import time

import sqlalchemy as sa

from gateway.manager.rollouts import actions
from gateway.manager.store import StoredFile, Transaction, add_package
from gateway.manager.store.tables import FLEET_MODELS, FLEETS
from tests.contract.console.conftest import Browser, ServedConsole

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
        found = re.findall(r'>(kws|vad)</a></th>\s*<td data-label="Version">(\d+)</td>', page)
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
