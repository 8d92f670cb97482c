"""The pages of a console that is served: what they show, what they send along, and how they fail."""

import csv
import html
import io
import json
import re
import socket
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import sqlalchemy as sa
from yarl import URL

from gateway.manager.store import Auditor, Transaction
from gateway.manager.store.store import FILE
from gateway.manager.store.tables import FLEETS, ROLLOUTS
from tests.contract.console.conftest import Browser, ServedConsole
from tests.support.arrivals import DEADLINE_S

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e{{7*7}}"
SHOWN = html.escape(HOSTILE.replace("\u202e", "\ufffd")).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def register(console: ServedConsole, fleet: str, *devices: str) -> None:
    console.store.write(lambda transaction: transaction.register(fleet, devices, 1.0))


def add_audit(console: ServedConsole, *auditors: tuple[Auditor, str, dict[str, str] | None]) -> None:
    def work(transaction: Transaction) -> None:
        for auditor, resource, after in auditors:
            auditor.add(transaction.connection, [(resource, None, after)])

    console.store.write(work)


async def test_each_count_is_a_link_to_what_it_counts(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a", "b")
    register(console, "field", "c")
    page = await browser.get("/")
    assert page.status == 200
    links = dict(re.findall(r'<a class="number" href="([^"]+)">([\d,]+)<', page.text))
    assert {html.unescape(link): number for link, number in links.items()} == {
        "/devices": "3",
        "/devices?state=never+heard": "3",
        "/devices?fleet=barn": "2",
        "/devices?fleet=barn&state=never+heard": "2",
        "/devices?fleet=field": "1",
        "/devices?fleet=field&state=never+heard": "1",
    }


async def test_rollouts_are_counted_by_state(console: ServedConsole, browser: Browser) -> None:
    register(console, "barn", "a")
    row = {"policy": "", "definitions": "[]", "created": 1.0, "rules": "{}", "counted": 1.0}
    states = ["running", "paused", "paused", "preparing"]

    def work(transaction: Transaction) -> None:
        fleet = transaction.connection.scalar(sa.select(FLEETS.c.id))
        rows = [{"fleet": fleet, "name": f"r{number}", "state": state} | row for number, state in enumerate(states)]
        transaction.connection.execute(sa.insert(ROLLOUTS), rows)

    console.store.write(work)
    found = dict(re.findall(r'href="/rollouts\?state=(\w+)">(\d+)<', (await browser.get("/")).text))
    assert found == {"running": "1", "paused": "2"}


async def test_the_audit_page_by_page(console: ServedConsole, browser: Browser) -> None:
    add_audit(console, *((Auditor("", "", "a:B", at), f"r{at}-", None) for at in range(120)))
    shown, path = [], "/audit"
    while path:
        page = (await browser.get(path)).text
        shown.append(re.findall(r"r(\d+)-", page))
        found = re.search(r'<a href="([^"]+)" rel="next"', page)
        path = html.unescape(found[1]) if found else ""
    assert [len(each) for each in shown] == [50, 50, 20]
    assert [number for each in shown for number in each] == [str(at) for at in reversed(range(120))]


async def test_the_audit_as_a_file(console: ServedConsole, browser: Browser) -> None:
    add_audit(console, (Auditor("k", "1.2.3.4", "a:B", 5.0), "=r", {"Role": "admin"}))
    answer = await browser.get("/audit?format=csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["key"], row["resource"], row["after"]) == ("k", "'=r", '{"Role": "admin"}')
    [row] = json.loads((await browser.get("/audit?format=json")).text)
    assert (row["at"], row["resource"], row["before"]) == (5.0, "=r", None)
    assert (await browser.get("/audit?format=xml")).status == 400
    assert (await browser.get("/audit?before=x")).status == 400


async def test_no_text_of_a_device_or_caller_becomes_html(console: ServedConsole, browser: Browser) -> None:
    register(console, HOSTILE, HOSTILE)
    add_audit(console, (Auditor(HOSTILE, HOSTILE, HOSTILE, 1.0), HOSTILE, {HOSTILE: HOSTILE}))
    overview, audit = (await browser.get("/")).text, (await browser.get("/audit")).text
    assert overview.count(SHOWN) == 1
    assert audit.count(SHOWN) == 6
    for page in (
        overview,
        audit,
        (await browser.get(f"/audit?before={quote(HOSTILE)}")).text,
        (await browser.get("/" + quote(HOSTILE, safe=""))).text,
    ):
        assert "<img" not in page
        assert "\u202e" not in page
        assert not re.search(r'(href|value|action)="[^"/]*javascript', page)


@pytest.mark.parametrize(
    "path", ["/", "/audit", "/audit?format=json", "/nothing", "/login", "/static/console.css", "/fails/x", "/static/x"]
)
async def test_every_answer_says_what_a_browser_may_do_with_it(browser: Browser, path: str) -> None:
    headers = (await browser.get(path)).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["Content-Security-Policy"].split(";"))
    for name in ("default-src", "frame-ancestors", "base-uri"):
        assert policy.pop(name) == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in headers["Cache-Control"] or path == "/static/console.css"
    assert "aiohttp" not in str(headers)


@pytest.mark.parametrize("path", ["/", "/audit", "/nothing"])
async def test_a_page_names_no_other_host(console: ServedConsole, browser: Browser, path: str) -> None:
    page = await browser.get(path)
    targets = re.findall(r'(?:href|src|action)="([^"]*)"', page.text)
    assert len(targets) > 4
    assert [each for each in targets if not re.match(r"/(?!/)|#", html.unescape(each))] == []
    for each in re.findall(r'(?:href|src)="(/static/[^"]*)"', page.text):
        assert (await browser.get(each)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../answering.py",
        "/static/%2e%2e/answering.py",
        "/static/..%2fanswering.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..%5canswering.py",
        "/static/",
        "/static",
        "/static/console.css/",
        "/templates/base.html",
    ],
)
async def test_no_other_file_is_served(console: ServedConsole, browser: Browser, path: str) -> None:
    """By a socket: a client would shorten the path."""
    assert (await browser.get("/static/console.css")).status == 200
    parts = urlsplit(console.url)
    with closing(socket.create_connection((parts.hostname, parts.port), DEADLINE_S)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"import" not in answer
    assert b"root:" not in answer


async def test_a_fault_is_a_page_that_tells_nothing_of_itself(browser: Browser) -> None:
    page = await browser.get("/fails/x")
    assert page.status == 500
    assert "a fault" not in page.text
    assert "manager&#39;s log" in page.text


async def test_a_page_that_there_is_not(browser: Browser) -> None:
    page = await browser.get("/nothing/f/d")
    assert page.status == 404
    assert "There is no page /nothing/f/d." in page.text


async def test_the_database_is_away(console: ServedConsole, browser: Browser, tmp_path: Path) -> None:
    database = tmp_path / FILE
    moved = database.rename(tmp_path / "moved")
    page = await browser.get("/")
    assert (page.status, page.headers["Retry-After"]) == (503, "5")
    assert "was deleted or replaced" in page.text
    moved.rename(database)
    assert (await browser.get("/")).status == 200


async def test_the_colours_are_kept(browser: Browser) -> None:
    done = await browser.post("/theme", {"theme": "dark", "next": "/audit"})
    assert (done.status, done.headers["Location"]) == (303, "/audit")
    assert '<html lang="en" data-theme="dark">' in (await browser.get("/audit")).text
    assert (await browser.post("/theme", {"theme": '"><script>', "next": "//evil"})).headers["Location"] == "/"
    assert '<html lang="en">' in (await browser.get("/")).text


async def test_a_change_is_shown_once_on_the_next_page(console: ServedConsole, browser: Browser) -> None:
    done = await browser.post("/fleets", {"fleet": "barn"})
    assert (done.status, done.headers["Location"]) == (303, "/")
    assert "Fleet barn was made." in (await browser.get("/")).text
    assert "Fleet barn was made." not in (await browser.get("/")).text
    assert "CreateDeviceFleet" in (await browser.get("/audit")).text
    again = await browser.post("/fleets", {"fleet": "barn"})
    assert again.status in (400, 409)
    assert "It was refused: " in again.text


async def test_a_message_that_another_site_left_is_not_shown(console: ServedConsole, browser: Browser) -> None:
    token = (await browser.get("/")).token
    await browser.post("/fleets", {"fleet": "barn"}, token)
    other = await console.browser()
    await other.get("/")
    other.session.cookie_jar.update_cookies({"edge-message": browser.cookies()["edge-message"].value}, URL(console.url))
    assert "Fleet barn" not in (await other.get("/")).text
    assert "Fleet barn" in (await browser.get("/")).text
