"""Whether an ACL isolates devices, and what the result says where it does not."""

from collections.abc import Sequence

import pytest

from gateway.doctor.checks.isolation import SLOW_RELOAD_ENTRIES, AclQuestion, check_isolation
from gateway.doctor.parsers import acl_file
from gateway.doctor.result import CheckResult, Level

GATEWAY = """user gateway
topic readwrite edge/+/+/hello
topic read edge/+/+/hb
topic read edge/+/+/get
topic read edge/+/+/read
topic readwrite edge/+/+/live
topic write edge/+/+/plan
topic write edge/+/+/ack
topic write edge/+/+/block
topic write edge/+/+/dead
topic readwrite edge/doctor/+

user operator
topic read edge/+/+/dead
topic read $SYS/broker/#
"""
PATTERNS = """pattern write edge/%u/hello
pattern write edge/%u/hb
pattern write edge/%u/get
pattern write edge/%u/read
pattern read edge/%u/plan
pattern read edge/%u/ack
pattern read edge/%u/block
"""
DEVICE = "fleet-a/dev-1"


def entry(device: str = DEVICE, root: str = "edge") -> str:
    """As `edge-gateway devices` writes it."""
    up = [f"topic write {root}/{device}/{channel}" for channel in ("hello", "hb", "get", "read", "live")]
    down = [f"topic read {root}/{device}/{channel}" for channel in ("plan", "ack", "block")]
    return "\n".join([f"user {device}", *up, *down, ""])


ENTRIES = GATEWAY + entry()


def check(
    text: str,
    ids_are_names: bool = True,
    fleets: tuple[str, ...] = (),
    root: str = "edge",
    users: Sequence[str] = (),
    is_2_1: bool | None = None,
) -> CheckResult:
    return check_isolation(acl_file.parse(text), AclQuestion(root, "gateway", fleets, ids_are_names, users, is_2_1))


@pytest.mark.parametrize("fleets", [(), ("fleet-a", "fleet-b")])
@pytest.mark.parametrize("is_2_1", [None, False, True])
def test_entries_isolate_on_every_version(fleets: tuple[str, ...], is_2_1: bool | None) -> None:
    result = check(ENTRIES + entry("fleet-b/dev-1"), fleets=fleets, users=["gateway", DEVICE], is_2_1=is_2_1)
    assert result.level is Level.PASS
    assert check(GATEWAY, fleets=fleets, users=["gateway"], is_2_1=is_2_1).level is Level.PASS


@pytest.mark.parametrize(
    ("is_2_1", "level", "expected"),
    [
        (True, Level.FAIL, "matches one level since Mosquitto 2.1"),
        (False, Level.WARN, "which Mosquitto 2.1 denies"),
        (None, Level.WARN, "which Mosquitto 2.1 denies"),
    ],
)
@pytest.mark.parametrize("users", [(), ("gateway", DEVICE)])
def test_patterns_deny_devices_since_2_1(
    is_2_1: bool | None, level: Level, expected: str, users: tuple[str, ...]
) -> None:
    result = check(GATEWAY + PATTERNS, users=users, is_2_1=is_2_1)
    assert result.level is level
    assert expected in result.found
    assert "devices convert" in result.todo


def test_patterns_beside_entries_do_no_harm() -> None:
    assert check(ENTRIES + PATTERNS, users=[DEVICE]).level is Level.PASS


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ((DEVICE, "f/1"), "f/1 is without an entry in the acl_file"),
        (("f/1", "f/2"), "f/1, f/2 are without an entry"),
        (tuple(f"f/{number}" for number in range(1, 6)), "f/1, f/2, f/3 and 2 more are without an entry"),
    ],
)
@pytest.mark.parametrize("is_2_1", [None, False, True])
def test_devices_without_an_entry_are_named(users: tuple[str, ...], expected: str, is_2_1: bool | None) -> None:
    result = check(ENTRIES, users=users, is_2_1=is_2_1)
    assert result.level is Level.FAIL
    assert expected in result.found
    assert "devices convert" in result.todo
    assert "devices add" in result.todo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENTRIES + "pattern write edge/+/+/hb\n", "a device may write hb of another"),
        (ENTRIES + "pattern read #\n", "may read hello, hb, get, read, live, plan, ack, block, dead of another"),
        (ENTRIES + "user f/spy\ntopic read edge/+/+/plan\n", "f/spy may read plan of another"),
        (ENTRIES + "topic read edge/#\n", "fleet-a/dev-1 may read hello"),
        (ENTRIES + "topic write edge/fleet-a/dev-2/hb\n", "fleet-a/dev-1 may write hb of another (fleet-a/dev-2)"),
        (ENTRIES + "topic write edge/+/dev-1/hb\n", "may write hb of another (doctor-b/dev-1)"),
        (ENTRIES + "topic read edge/fleet-a/+/ack\n", "may read ack of another (fleet-a/b)"),
        (ENTRIES.replace("topic write edge/fleet-a/dev-1/hb\n", ""), "fleet-a/dev-1 may not write hb of its own"),
        (ENTRIES.replace("topic read edge/fleet-a/dev-1/plan\n", ""), "may not read plan of its own"),
        (ENTRIES.replace("topic read edge/+/+/get\n", ""), "gateway's user (gateway) may not read get"),
        (ENTRIES.replace("topic write edge/+/+/ack\n", ""), "gateway's user (gateway) may not write ack"),
        (
            ENTRIES.replace("user gateway", "user other"),
            "may not read hello, hb, get, read and write plan, ack, block, dead",
        ),
        (GATEWAY + PATTERNS.replace("pattern write edge/%u/hb\n", ""), "a device may not write hb of its own"),
        ("", "the gateway's user (gateway) may not"),
    ],
    ids=range(14),
)
def test_too_much_and_too_little_access_is_reported(text: str, expected: str) -> None:
    result = check(text, is_2_1=False)
    assert result.level is Level.FAIL
    assert expected in result.found


@pytest.mark.parametrize("channel", ["hello", "live"])
def test_a_gateway_that_cannot_delete_retained_messages_is_a_warning(channel: str) -> None:
    old = check(ENTRIES.replace(f"topic readwrite edge/+/+/{channel}", f"topic read edge/+/+/{channel}"))
    assert (old.level, f"(gateway) may not write {channel}" in old.found) == (Level.WARN, True)
    added = check(
        ENTRIES.replace(f"readwrite edge/+/+/{channel}", f"read edge/+/+/{channel}\ntopic write edge/+/+/{channel}")
    )
    assert added.level is Level.PASS


def test_a_site_that_was_made_before_live_is_a_warning() -> None:
    gateway, device = "topic readwrite edge/+/+/live\n", "topic write edge/fleet-a/dev-1/live\n"
    others = "".join(entry(f"fleet-b/dev-{number}").replace("/live", "/hb") for number in range(3))
    old = check(ENTRIES.replace(gateway, "").replace(device, ""), fleets=("fleet-a",))
    assert (old.level, "(gateway) may not read live" in old.found) == (Level.WARN, True)
    assert "`topic read edge/+/+/live`" in old.todo
    one = check(ENTRIES.replace(gateway, "topic read edge/fleet-a/+/live\n"), fleets=("fleet-a", "fleet-b"))
    assert "(gateway) may not read live" in one.found
    completed = check(ENTRIES.replace(device, "") + others)
    assert (completed.level, completed.found.split(" without")[0]) == (
        Level.WARN,
        "fleet-a/dev-1, fleet-b/dev-0, fleet-b/dev-1 and 1 more are",
    )
    assert "`edge-gateway devices init`" in completed.todo
    assert check(GATEWAY + PATTERNS, is_2_1=False).found.startswith("devices have access by a pattern")


def test_other_lines_of_an_entry_do_no_harm() -> None:
    more = "topic read log/fleet-a/dev-1\ntopic read edge/fleet-a\ntopic deny edge/#\ntopic read other/+/+/hb\n"
    assert check(ENTRIES + "user f/1\n" + entry("f/1") + more.replace("topic deny edge/#\n", "")).level is Level.PASS
    assert "may not" in check(ENTRIES + "user f/1\n" + entry("f/1") + more).found


def test_a_line_that_another_line_denies_gives_no_access() -> None:
    assert check(ENTRIES + "topic read edge/+/+/dead\ntopic deny edge/+/+/dead\n").level is Level.PASS


def test_a_file_for_another_root_is_reported() -> None:
    assert check(ENTRIES, root="site/edge").level is Level.FAIL
    assert check(ENTRIES.replace("edge/", "site/edge/"), root="site/edge").level is Level.PASS


def test_client_ids_isolate_only_where_they_are_user_names() -> None:
    text = GATEWAY + PATTERNS.replace("%u", "%c")
    assert check(text, ids_are_names=True).level is Level.WARN
    assert check(text, ids_are_names=False).level is Level.FAIL


@pytest.mark.parametrize("text", [GATEWAY + "pattern edge/%u/+\n", ENTRIES + "topic edge/fleet-a/dev-1/+\n"])
def test_a_device_that_writes_its_own_plan_is_a_warning(text: str) -> None:
    result = check(text)
    assert result.level is Level.WARN
    assert "plan, ack, block" in result.found or "which Mosquitto 2.1 denies" in result.found


@pytest.mark.parametrize(
    ("entries", "is_2_1", "level"),
    [
        (SLOW_RELOAD_ENTRIES, False, Level.PASS),
        (SLOW_RELOAD_ENTRIES + 1, False, Level.WARN),
        (SLOW_RELOAD_ENTRIES + 1, None, Level.WARN),
        (SLOW_RELOAD_ENTRIES + 1, True, Level.PASS),
    ],
)
def test_many_entries_make_reloads_of_2_0_slow(entries: int, is_2_1: bool | None, level: Level) -> None:
    names = [f"fleet/dev-{number:06}" for number in range(entries)]
    result = check(GATEWAY + "".join(map(entry, names)), users=names, is_2_1=is_2_1)
    assert result.level is level
    assert ("does not answer for about 5 s" in result.found) is (level is Level.WARN)
