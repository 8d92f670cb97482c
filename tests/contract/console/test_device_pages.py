"""The page of a device, and how devices are registered, found and deregistered in the browser."""

import html
import json
import re
import time
from typing import Any
from urllib.parse import quote

import pytest

from gateway.manager.console.pages import device as device_page
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import actions
from gateway.manager.store import StoredFile
from tests.contract.console.conftest import Answered, Browser, ServedConsole
from tests.support.control_plane import audit_of

HOSTILE = "<img src=x onerror=alert(1)>\"'\u202e"
PAGE = "/devices/barn/a"


def register(console: ServedConsole, fleet: str, *devices: str) -> None:
    console.store.write(lambda transaction: transaction.register(fleet, devices, 1.0))


def heartbeat(console: ServedConsole, device: str = "a", at: float | None = None, **members: Any) -> None:
    body = {"DeviceFleetName": "barn", "DeviceName": device, "AgentVersion": "1.2"} | members
    EdgeApi(console.store).handle("SendHeartbeat", json.dumps(body).encode(), time.time() if at is None else at)


def metric(name: str, value: float, at: float, dimension: str = "sys") -> dict[str, Any]:
    return {"Dimension": dimension, "MetricName": name, "Value": value, "Timestamp": at}


def charts(page: Answered) -> list[str]:
    return re.findall(r"<figcaption><b>([^<]+)</b>", page.text)


async def test_what_it_has_and_what_it_should_have(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    assert "never heard" in (await browser.get(PAGE)).words
    file = {"kws": StoredFile("s3://models/kws/x.bin", 5, "a" * 40)}
    chosen = actions.require_devices(console.store, "barn", ["a"])
    new = actions.NewDeployment("barn", ["kws"], "canary")
    actions.deploy(console.store, new, chosen, file, {"kws": "2.0"}, now=time.time())
    models = [{"ModelName": "wake", "ModelVersion": "1.0", "LatestInference": time.time()}]
    failed = {"DeploymentName": "canary", "DeploymentStatus": "FAIL", "DeploymentStatusMessage": "no room"}
    heartbeat(console, Models=models, DeploymentResult=failed)
    page = (await browser.get(PAGE)).words
    assert re.search(r"canary deploy kws 2\.0 FAIL no room", page)
    assert re.search(r"What it says that it has .* wake 1\.0", page)
    assert re.search(r"Newest heartbeat \S+ \S+ , (just now|\d+ s ago)", page)
    assert 'href="/rollouts/barn/canary"' in (await browser.get(PAGE)).text
    assert 'href="/devices/barn/a">barn/a<' in (await browser.get("/devices")).text


async def test_metrics_are_charts_over_a_time(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    now = time.time()
    for days in (0.01, 3, 20):
        heartbeat(console, AgentMetrics=[metric("heap", 100 + days, now - days * 86_400)])
    day = await browser.get(PAGE)
    assert "least 100.01, greatest 100.01" in day.text
    assert "1 rows of 15 min" in day.words
    month = await browser.get(f"{PAGE}?range=30d")
    assert "least 100.01, greatest 120" in month.text
    assert month.text.count('<polyline class="mean"') == 3
    with_old_alone = [metric("temperature", 20, now - 86_400)]
    heartbeat(console, AgentMetrics=with_old_alone)
    assert "No sample in this time; 1 in all, the newest 24 h ago." in (await browser.get(f"{PAGE}?range=1h")).words


async def test_many_metrics_page_by_page(
    console: ServedConsole, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_page, "CHARTS", 2)
    register(console, "barn", "a")
    now = time.time()
    heartbeat(console, AgentMetrics=[metric(name, 1, now) for name in ("one1", "one2", "two1")])
    found, path = [], PAGE
    while path:
        page = await browser.get(path)
        found.append(charts(page))
        link = re.search(r'<a href="([^"]+)" rel="next"', page.text)
        path = html.unescape(link[1]) if link else ""
    assert found == [["sys/one1", "sys/one2"], ["sys/two1"]]


async def test_its_log_is_there_and_as_a_file(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    heartbeat(console, AgentMetrics=[metric("state", 1, time.time(), "liveness")])
    page = (await browser.get(PAGE)).words
    rows = json.loads((await browser.get(f"{PAGE}?format=json")).text)
    assert {each["kind"] for each in rows} == {"state"}
    assert all(json.dumps(each["detail"], ensure_ascii=False) in page for each in rows)


async def test_names_are_found_by_a_part(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "north-1", "north-2", "South-1", "x_y")
    register(console, "field", "north-3")
    for query, expected in (
        ("name=north", ["barn/north-1", "barn/north-2", "field/north-3"]),
        ("name=south&fleet=barn", ["barn/South-1"]),
        ("name=h-1&state=never+heard", ["barn/north-1", "barn/South-1"]),
        ("name=_", ["barn/x_y"]),
        ("name=%25", []),
    ):
        page = await browser.get(f"/devices?{query}")
        assert sorted(re.findall(r'href="/devices/[^"]+">([^<]+)</a></th>', page.text)) == sorted(expected), query
    assert (await browser.get(f"/devices?name={'a' * 64}")).status == 400


async def test_devices_are_registered(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    done = await browser.post("/devices/register", {"fleet": "barn", "names": "a\n b,c\r\nb"})
    assert (done.status, done.headers["Location"]) == (303, "/devices?fleet=barn")
    page = (await browser.get(done.headers["Location"])).words
    assert "Registered in barn: 2 devices. Registered before: 1." in page
    assert [each in page for each in ("barn/a", "barn/b", "barn/c")] == [True] * 3


async def test_names_that_are_wrong_register_nothing(console: ServedConsole, browser: Browser) -> None:
    for names, said in (
        ("", "Type one name or more."),
        ("good b@d", "'b@d' is not allowed"),
        (" ".join(f"d{number}" for number in range(1001)), "These are 1,001 names"),
    ):
        page = await browser.post("/devices/register", {"fleet": "barn", "names": names})
        assert (page.status, said in page.words) == (400, True)
        assert html.escape(names[:20]) in page.text
    page = await browser.post("/devices/register", {"fleet": "", "names": "a"})
    assert (page.status, 'id="fleet-mistake"' in page.text) == (400, True)
    assert "No device is in this list" in (await browser.get("/devices")).words


async def test_a_device_is_deregistered_by_typing_its_name(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    refused = await browser.post(PAGE, {"confirm": "b"})
    assert (refused.status, "Nothing was changed" in refused.words) == (400, True)
    assert (await browser.get(PAGE)).status == 200
    done = await browser.post(PAGE, {"confirm": "a"})
    assert done.status == 303
    assert (await browser.get(PAGE)).status == 404
    assert audit_of(console.store)[-1]["action"] == "sagemaker:DeregisterDevices"


async def test_an_operator_neither_registers_nor_deregisters(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    console.add_user("olga", "operator")
    await browser.log_in("olga")
    assert "Deregister" not in (await browser.get(PAGE)).words
    assert "Register devices" not in (await browser.get("/devices")).words
    assert (await browser.get("/devices/register")).status == 403
    for path, form in ((PAGE, {"confirm": "a"}), ("/devices/register", {"fleet": "barn", "names": "b"})):
        assert (await browser.post(path, form)).status == 403
    assert (await browser.get(PAGE)).status == 200


async def test_an_address_that_is_wrong(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    for path in (f"{PAGE}?range=2d", f"{PAGE}?first=x", f"{PAGE}?format=xml"):
        page = await browser.get(path)
        assert (page.status, "<table" in page.text) == (400, False)
    for path in ("/devices/barn/b", "/devices/none/a", "/devices/barn/%00"):
        assert (await browser.get(path)).status == 404


async def test_no_text_of_a_device_becomes_html(console: ServedConsole, browser: Browser) -> None:
    """What the API lets a device say freely; and names, which the store takes as they are."""
    register(console, "barn", "a", HOSTILE)
    reason = {"ModelHandle": "kws", "Status": "FAIL", "StatusReason": HOSTILE}
    failed = {"DeploymentName": "x", "DeploymentStatus": "FAIL", "DeploymentStatusMessage": HOSTILE}
    heartbeat(console, DeploymentResult=failed | {"DeploymentModels": [reason]})
    for path in (PAGE, "/devices/barn/" + quote(HOSTILE, safe=""), f"/devices?name={quote(HOSTILE)}"):
        page = (await browser.get(path)).text
        assert "&lt;img src=x" in page
        assert "<img" not in page
        assert "\u202e" not in page
