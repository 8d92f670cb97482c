"""Who gets into a console that is served, what they may do there, and that no other site does it for them."""

import asyncio
import re
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.manager import ManagerError
from gateway.manager.console import server
from gateway.manager.console.logins import BY_NAME
from gateway.manager.console.sessions import EXACT, IDLE, LONGEST
from gateway.manager.control import users
from gateway.manager.store.control_tables import AUDIT, SESSIONS
from tests.contract.console.conftest import HASHED, PASSWORD, Browser, Serve, ServedConsole
from tests.support.arrivals import DEADLINE_S

LOGIN = "/login?next=%2Faudit"


def fleets_made(console: ServedConsole) -> list[tuple[str, str]]:
    """(key, role's fleet) of each change in the audit by the test's view."""
    select = sa.select(AUDIT.c.key, AUDIT.c.resource).where(AUDIT.c.action == "sagemaker:CreateDeviceFleet")
    return [tuple(row) for row in console.store.read(lambda transaction: transaction.connection.execute(select).all())]


# -- without a user --


async def test_without_a_user_whoever_is_on_this_machine_may_do_all(console: ServedConsole, browser: Browser) -> None:
    page = await browser.get("/audit")
    assert page.status == 200
    assert "No user was made:" in page.text
    assert (await browser.get("/login?next=/audit")).headers["Location"] == "/audit"
    assert (await browser.post("/fleets", {"fleet": "barn"})).status == 303
    assert fleets_made(console) == [("", "device-fleet/barn")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9471", "127.0.0.1.evil.example", "192.168.1.1"])
async def test_a_name_that_another_site_resolves_to_here_gets_nothing(
    console: ServedConsole, browser: Browser, host: str
) -> None:
    for path in ("/", "/audit", "/nothing"):
        page = await browser.get(path, Host=host)
        assert page.status == 403
        assert "for this machine alone" in page.text
    token = (await browser.get("/")).token
    assert (await browser.post("/fleets", {"fleet": "barn"}, token, Host=host)).status == 403
    assert fleets_made(console) == []


async def test_from_the_first_user_on_nobody_gets_in_without_one(console: ServedConsole, browser: Browser) -> None:
    assert (await browser.get("/")).status == 200
    console.add_user("alice", "admin")
    assert (await browser.get("/audit?before=5")).headers["Location"] == "/login?next=%2Faudit%3Fbefore%3D5"
    console.change(lambda call: users.remove(call, "alice"))
    assert (await browser.get("/")).headers["Location"] == "/login?next=%2F"
    assert (await browser.post("/fleets", {"fleet": "barn"})).headers["Location"] == "/login?next=%2F"
    assert fleets_made(console) == []


async def test_elsewhere_than_on_loopback_it_needs_a_user(serve: Serve) -> None:
    with pytest.raises(ManagerError) as caught:
        await serve(host="0.0.0.0")
    assert "--console-host 0.0.0.0: without a user" in str(caught.value)


async def test_elsewhere_with_a_user(serve: Serve, console: ServedConsole) -> None:
    console.add_user("alice", "admin")
    other = await serve(host="0.0.0.0")
    other.url = other.url.replace("0.0.0.0", "127.0.0.1")
    page = await (await other.browser()).get("/", Host="console.example")
    assert page.headers["Location"] == "/login?next=%2F"


# -- users --


async def test_a_session_from_its_login_to_its_end(console: ServedConsole, browser: Browser) -> None:
    console.add_user("alice", "admin")
    assert 'name="next" value="/audit"' in (await browser.get(LOGIN)).text
    done = await browser.log_in("alice", next="/audit")
    assert (done.status, done.headers["Location"]) == (303, "/audit")
    cookie = browser.cookies()["edge-session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        True,
        "Strict",
        "/",
        "127.0.0.1",
    )
    assert cookie["max-age"] == str(int(LONGEST))
    [stored] = console.store.read(lambda transaction: transaction.connection.scalars(sa.select(SESSIONS.c.token)).all())
    assert cookie.value not in stored
    page = await browser.get("/audit")
    assert "<b>alice</b>" in page.text
    assert (await browser.post("/fleets", {"fleet": "barn"})).status == 303
    assert fleets_made(console) == [("user/alice", "device-fleet/barn")]
    assert (await browser.post("/logout", {})).headers["Location"] == "/login"
    assert "edge-session" not in browser.cookies()
    assert (await browser.get("/audit", Cookie=f"edge-session={cookie.value}")).headers["Location"] == LOGIN


async def test_over_tls_no_other_host_can_set_the_cookie(console: ServedConsole, browser: Browser) -> None:
    console.add_user("alice", "admin")
    form = {"name": "alice", "password": PASSWORD}
    done = await browser.post("/login", form, **{"X-Forwarded-Proto": "https"})
    assert re.match(r"__Host-edge-session=[\w-]{43}; HttpOnly; Max-Age=604800; Path=/; SameSite=Strict; Secure$",
                    done.headers["Set-Cookie"])  # fmt: skip


@pytest.mark.parametrize("name", ["alice", "nobody", "removed", "a\x00" + "\u00e9" * 200])
async def test_a_wrong_name_or_password_says_the_same(console: ServedConsole, browser: Browser, name: str) -> None:
    console.add_user("alice", "admin")
    console.add_user("removed", "admin")
    console.change(lambda call: users.remove(call, "removed"))
    password = PASSWORD if name != "alice" else PASSWORD + "!"
    done = await browser.log_in(name, password)
    assert done.status == 403
    assert "The name or the password is wrong." in done.text
    assert "edge-session" not in browser.cookies()


async def test_a_name_can_be_tried_so_often_alone(
    console: ServedConsole, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.add_user("alice", "admin")
    console.add_user("bob", "admin")
    token = (await browser.get("/login")).token
    for _ in range(BY_NAME.tries):
        form = {"name": "alice", "password": "wrong"}
        assert (await browser.post("/login", form, token)).status == 403
    refused = await browser.log_in("alice")
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= BY_NAME.seconds + 1
    assert (await browser.log_in("bob")).status == 303


async def test_who_leads_to_another_site_is_not_followed(console: ServedConsole, browser: Browser) -> None:
    console.add_user("alice", "admin")
    assert (await browser.log_in("alice", next="//evil.example")).headers["Location"] == "/"


@pytest.mark.parametrize("end", ["password", "remove"])
async def test_a_session_ends_with_its_password_or_user(console: ServedConsole, browser: Browser, end: str) -> None:
    console.add_user("alice", "admin")
    await browser.log_in("alice")
    assert (await browser.get("/")).status == 200
    if end == "password":
        console.change(lambda call: users.change_password(call, "alice", HASHED))
    else:
        console.change(lambda call: users.remove(call, "alice"))
    assert (await browser.get("/")).status == 303


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"used": -IDLE + 100}, 200),
        ({"used": -IDLE - 100}, 303),
        ({"created": -LONGEST + 100}, 200),
        ({"created": -LONGEST - 100}, 303),
    ],
)
async def test_a_session_ends_by_itself(
    console: ServedConsole, browser: Browser, changed: dict[str, float], status: int
) -> None:
    console.add_user("alice", "admin")
    await browser.log_in("alice")
    values = {name: SESSIONS.c[name] + seconds for name, seconds in changed.items()}
    console.store.write(lambda transaction: transaction.connection.execute(sa.update(SESSIONS).values(values)))
    assert (await browser.get("/")).status == status


async def test_a_session_that_is_used_goes_on(console: ServedConsole, browser: Browser) -> None:
    console.add_user("alice", "admin")
    await browser.log_in("alice")

    def read() -> float:
        select = sa.select(SESSIONS.c.used)
        return float(console.store.read(lambda transaction: transaction.connection.execute(select).scalar_one()))

    older = sa.update(SESSIONS).values(used=SESSIONS.c.used - EXACT - 1)
    first = read()
    console.store.write(lambda transaction: transaction.connection.execute(older))
    await browser.get("/")
    assert read() >= first


# -- what a role may do --


@pytest.mark.parametrize(
    ("role", "audit", "change"), [("viewer", 403, 403), ("operator", 403, 403), ("admin", 200, 303)]
)
async def test_a_role_may_see_and_change_what_it_may_by_the_api(
    console: ServedConsole, browser: Browser, role: str, audit: int, change: int
) -> None:
    console.add_user("alice", role)
    await browser.log_in("alice")
    overview = await browser.get("/")
    assert overview.status == 200
    assert ('href="/audit"' in overview.text) is (role == "admin")
    assert (await browser.get("/audit")).status == audit
    assert (await browser.get("/audit?format=csv")).status == audit
    # The second view forgot to say what it needs: the operation itself refuses.
    assert (await browser.post("/fleets", {"fleet": "barn"})).status == change
    assert (await browser.post("/unguarded", {"fleet": "field"})).status == change
    assert len(fleets_made(console)) == (2 if role == "admin" else 0)


# -- other sites --


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/fleets", "/login", "/logout", "/theme"])
async def test_a_form_of_another_site_changes_nothing(
    console: ServedConsole, browser: Browser, path: str, headers: dict[str, str]
) -> None:
    form = {"fleet": "barn", "theme": "dark"}
    done = await browser.post(path, form, **headers)
    assert done.status == 403
    assert "another site" in done.text
    assert fleets_made(console) == []
    assert "edge-theme" not in browser.cookies()


async def test_a_form_needs_the_token_of_its_own_browser(console: ServedConsole, browser: Browser) -> None:
    other = (await (await console.browser()).get("/")).token
    await browser.get("/")
    for token in ("", "0" * 64, "\u00e9", other):
        assert (await browser.post("/fleets", {"fleet": "barn"}, token)).status == 403
    mine = (await browser.get("/")).token
    browser.session.cookie_jar.clear()
    assert (await browser.post("/fleets", {"fleet": "barn"}, mine)).status == 403
    assert fleets_made(console) == []


async def test_a_form_of_our_own_page_as_a_browser_sends_it(console: ServedConsole, browser: Browser) -> None:
    headers = {"Origin": console.url, "Sec-Fetch-Site": "same-origin", "Referer": f"{console.url}/"}
    assert (await browser.post("/fleets", {"fleet": "barn"}, **headers)).status == 303


async def test_a_get_changes_nothing(console: ServedConsole, browser: Browser) -> None:
    for path in ("/fleets?fleet=barn", "/logout", "/theme?theme=dark"):
        assert (await browser.get(path)).status == 404
    assert fleets_made(console) == []


# -- a proxy --


async def test_a_proxy_names_the_user(serve: Serve) -> None:
    console = await serve(trust_header="X-Remote-User", role_header="X-Remote-Role")
    browser = await console.browser()
    missing = await browser.get("/")
    assert missing.status == 403
    assert "X-Remote-User is missing" in missing.text
    page = await browser.get("/", **{"X-Remote-User": "al@example", "Host": "console.example"})
    assert (page.status, "<b>al@example</b> <small>viewer" in page.text) == (200, True)
    admin = {"X-Remote-User": "al", "X-Remote-Role": "admin"}
    assert (await browser.get("/audit", **admin)).status == 200
    token = (await browser.get("/", **admin)).token
    assert (await browser.post("/fleets", {"fleet": "barn"}, token, **admin)).status == 303
    assert fleets_made(console) == [("user/al", "device-fleet/barn")]
    for headers in ({"X-Remote-Role": "root"}, {"X-Remote-User": "a" * 200}):
        assert (await browser.get("/", **(admin | headers))).status == 403


async def test_whoever_is_no_proxy_is_not_believed(serve: Serve) -> None:
    console = await serve(trust_header="X-Remote-User", trust_role="admin", trust_from=["10.0.0.0/8"])
    browser = await console.browser()
    named: dict[str, Any] = {"X-Remote-User": "al"}
    assert (await browser.get("/", **named)).status == 403
    console.add_user("alice", "viewer")
    assert (await browser.get("/", **named)).headers["Location"] == "/login?next=%2F"


# -- bounds --


async def test_connections_that_are_too_many_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    console = await serve()
    port = int(console.url.rpartition(":")[2])
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, writer in held:  # each is there once it is answered
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for reader, _ in held:
        assert await asyncio.wait_for(reader.readuntil(b"</html>"), DEADLINE_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readuntil(b"\n"), DEADLINE_S)
    for _, each in [*held, (reader, writer)]:
        each.close()


@pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /login HTTP/1.1\r\nHost: x\r\n"])
async def test_half_a_request_is_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch, half: bytes) -> None:
    monkeypatch.setattr(server, "KEPT_ALIVE", 2 * DEADLINE_S)  # aiohttp itself closes none before
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    monkeypatch.setattr(server, "SWEEP", 0.05)
    console = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(console.url.rpartition(":")[2]))
    writer.write(half)
    try:
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    except ConnectionError:
        pass
    writer.close()


async def test_a_form_that_is_too_large_is_refused(browser: Browser) -> None:
    done = await browser.post("/theme", {"theme": "x" * (server.MOST_BODY + 1)})
    assert (done.status, done.headers["X-Frame-Options"]) == (413, "DENY")
