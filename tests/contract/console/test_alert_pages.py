"""Alerts on the first page and on their own, and how one is muted in the browser."""

import json
import time

import sqlalchemy as sa

from gateway.manager.store.control_tables import ALERTS
from tests.contract.console.conftest import Browser, ServedConsole
from tests.support.control_plane import audit_of

HOSTILE = "<img src=x onerror=alert(1)>"
NAMED = {"name": "EdgeManagerRolloutStopped", "subject": "f/kws-1"}


def add_alert(console: ServedConsole, name: str, subject: str, *, fired: float | None = 5.0, said: str = "so") -> None:
    row = {"name": name, "subject": subject, "summary": said, "since": 1.0, "fired": fired}
    console.store.write(lambda transaction: transaction.connection.execute(sa.insert(ALERTS).values(row)))


async def test_the_first_page_says_what_is_wrong(console: ServedConsole, browser: Browser) -> None:
    assert "nothing is wrong" in (await browser.get("/")).words
    assert "nothing is wrong" in (await browser.get("/alerts")).words
    add_alert(console, "EdgeManagerDevicesSilent", "f", fired=None, said="It is about to.")
    assert "nothing is wrong" in (await browser.get("/")).words
    add_alert(console, *NAMED.values(), said="f/kws-1 stopped: too many.")
    page = await browser.get("/")
    assert "f/kws-1 stopped: too many." in page.words
    assert 'href="/rollouts/f/kws-1"' in page.text
    listed = (await browser.get("/alerts")).words
    assert listed.index("firing") < listed.index("pending")
    assert "deploy a better one, or undo it" in listed


async def test_an_operator_mutes_an_alert(console: ServedConsole, browser: Browser) -> None:
    add_alert(console, *NAMED.values())
    assert (
        "It stays in the list"
        in (await browser.get("/alerts/mute?name=EdgeManagerRolloutStopped&subject=f/kws-1")).words
    )
    assert (await browser.post("/alerts/mute", NAMED | {"time": "8 hours"})).status == 303
    assert "muted until" in (await browser.get("/alerts")).words
    assert "nothing is wrong" in (await browser.get("/")).words
    [row] = json.loads((await browser.get("/alerts?format=json")).text)
    assert 8 * 3600 - 60 < row["muted"] - time.time() <= 8 * 3600
    await browser.post("/alerts/mute", NAMED | {"time": ""})
    assert "nothing is wrong" not in (await browser.get("/")).words
    assert [each["action"] for each in audit_of(console.store)] == [
        "edge-manager:MuteAlert",
        "edge-manager:UnmuteAlert",
    ]


async def test_what_cannot_be_muted(console: ServedConsole, browser: Browser) -> None:
    add_alert(console, *NAMED.values())
    assert (await browser.post("/alerts/mute", NAMED | {"time": "ever"})).status == 400
    assert (await browser.post("/alerts/mute", NAMED | {"subject": "g", "time": "1 hour"})).status == 404
    console.add_user("vera", "viewer")
    await browser.log_in("vera")
    assert "Mute" not in (await browser.get("/alerts")).words
    assert (await browser.post("/alerts/mute", NAMED | {"time": "1 hour"})).status == 403
    assert "muted" not in (await browser.get("/alerts")).words


async def test_no_text_becomes_html(console: ServedConsole, browser: Browser) -> None:
    add_alert(console, "EdgeManagerRolloutStopped", HOSTILE, said=HOSTILE)
    for path in ("/", "/alerts", "/alerts/mute?name=%3Cimg%20src%3Dx%3E&subject=%3Cimg%20src%3Dx%3E"):
        page = (await browser.get(path)).text
        assert "&lt;img src=x" in page
        assert "<img" not in page
