"""The acl_file as Mosquitto reads it, and what the doctor makes of it."""

from collections.abc import Sequence

import pytest

from gateway.doctor import acl, release
from gateway.doctor.judge_acl import Question, isolation
from gateway.doctor.verdict import Level, Verdict

GATEWAY = """user gateway
topic read edge/+/+/hello
topic read edge/+/+/hb
topic read edge/+/+/get
topic read edge/+/+/read
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
    up = [f"topic write {root}/{device}/{channel}" for channel in ("hello", "hb", "get", "read")]
    down = [f"topic read {root}/{device}/{channel}" for channel in ("plan", "ack", "block")]
    return "\n".join([f"user {device}", *up, *down, ""])


ENTRIES = GATEWAY + entry()


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("edge/a/b/hb", "edge/a/b/hb", True),
        ("edge/+/+/hb", "edge/a/b/hb", True),
        ("edge/+/hb", "edge/a/b/hb", False),
        ("edge/#", "edge/a/b/hb", True),
        ("edge/a/b/hb/#", "edge/a/b/hb", True),
        ("#", "edge/a", True),
        ("#", "$SYS/broker/version", False),
        ("$SYS/#", "$SYS/broker/version", True),
        ("edge/a/b/hb", "edge/a/b", False),
        ("+/a", "/a", True),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert acl.matches(topic_filter, topic) is expected


@pytest.mark.parametrize(
    ("text", "user", "access", "expected"),
    [
        ("topic t", None, "write", True),
        ("topic t", "a", "write", False),
        ("user a\ntopic read t", "a", "read", True),
        ("user a\ntopic read t", "a", "write", False),
        ("user a\ntopic read t", "b", "read", False),
        ("user a\nuser b\ntopic x\nuser a\ntopic read t", "a", "read", True),
        ("pattern readwrite t", "b", "write", True),
        ("pattern %u", "t", "read", True),
        ("pattern %u", None, "read", False),
        ("pattern %c", "b", "read", False),
        ("pattern %c", None, "read", False),
        ("user a\ntopic t\ntopic deny t", "a", "read", False),
        ("user a\ntopic deny t\npattern t", "a", "read", False),
        ("pattern deny t\npattern t", "a", "read", False),
        ("# topic t\n\n  topic   read   t  ", None, "read", True),
    ],
)
@pytest.mark.parametrize("one_level", [False, True])
def test_a_rule_says_who_may_do_what(
    text: str, user: str | None, access: acl.Access, expected: bool, one_level: bool
) -> None:
    assert acl.read(text).allowed(user, "an-id", access, "t", one_level) is expected


@pytest.mark.parametrize(
    ("pattern", "user", "topic", "in_2_0", "in_2_1"),
    [
        ("p/%u/hb", "dev", "p/dev/hb", True, True),
        ("p/%u/hb", "dev", "p/de/hb", False, False),
        ("p/%u/hb", "de", "p/dev/hb", False, False),
        ("p/%u/hb", "fleet/dev", "p/fleet/dev/hb", True, False),
        ("p/%u/hb", "fleet/dev", "p/fleet/hb", False, False),
        ("p/x%u/hb", "dev", "p/xdev/hb", True, False),
        ("p/x%u/hb", "dev", "p/x%u/hb", False, True),
        ("p/%c/hb", "dev", "p/an/id/hb", True, False),
    ],
)
def test_a_name_in_a_pattern_is_one_level_since_2_1(
    pattern: str, user: str, topic: str, in_2_0: bool, in_2_1: bool
) -> None:
    """As 2.0.21 and 2.1.2 answered when they were asked."""
    rules = acl.read(f"pattern write {pattern}")
    assert rules.allowed(user, "an/id", "write", topic, one_level=False) is in_2_0
    assert rules.allowed(user, "an/id", "write", topic, one_level=True) is in_2_1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("topics read x", "unknown word 'topics'"),
        ("topic\tread\tx", "unknown word"),
        ("  # indented", "unknown word '#'"),
        ("topic", "topic without a topic"),
        ("user ", "user without a name"),
        ("topic frob x", "unknown access 'frob'"),
        ("topic read a/#/b", "no topic filter"),
        ("topic read a+/b", "no topic filter"),
        ("topic read a#", "no topic filter"),
        ("topic read x # comment", "no topic filter"),
        ("topic read", ""),
        ("topic read +/a/#", ""),
        ("  topic read x", ""),
        ("# comment", ""),
        ("user a b", ""),
    ],
)
def test_lines_that_no_broker_can_read_are_named(line: str, said: str) -> None:
    mistakes = acl.read(f"user a\n{line}\n").mistakes
    assert len(mistakes) == bool(said)
    assert all(each.startswith("line 2: ") and said in each for each in mistakes)


def judged(
    text: str,
    ids_are_names: bool = True,
    fleets: tuple[str, ...] = (),
    root: str = "edge",
    users: Sequence[str] = (),
    is_2_1: bool | None = None,
) -> Verdict:
    return isolation(acl.read(text), Question(root, "gateway", fleets, ids_are_names, users, is_2_1))


@pytest.mark.parametrize("fleets", [(), ("fleet-a", "fleet-b")])
@pytest.mark.parametrize("is_2_1", [None, False, True])
def test_entries_isolate_on_every_version(fleets: tuple[str, ...], is_2_1: bool | None) -> None:
    verdict = judged(ENTRIES + entry("fleet-b/dev-1"), fleets=fleets, users=["gateway", DEVICE], is_2_1=is_2_1)
    assert verdict.level is Level.PASS
    assert judged(GATEWAY, fleets=fleets, users=["gateway"], is_2_1=is_2_1).level is Level.PASS


@pytest.mark.parametrize(
    ("is_2_1", "level", "said"),
    [
        (True, Level.FAIL, "stands for one level since Mosquitto 2.1"),
        (False, Level.WARN, "which Mosquitto 2.1 denies"),
        (None, Level.WARN, "which Mosquitto 2.1 denies"),
    ],
)
@pytest.mark.parametrize("users", [(), ("gateway", DEVICE)])
def test_patterns_deny_devices_since_2_1(is_2_1: bool | None, level: Level, said: str, users: tuple[str, ...]) -> None:
    verdict = judged(GATEWAY + PATTERNS, users=users, is_2_1=is_2_1)
    assert verdict.level is level
    assert said in verdict.found
    assert "devices convert" in verdict.todo


def test_patterns_beside_entries_do_no_harm() -> None:
    assert judged(ENTRIES + PATTERNS, users=[DEVICE]).level is Level.PASS


@pytest.mark.parametrize(
    ("users", "said"),
    [
        ((DEVICE, "f/1"), "f/1 is without an entry in the acl_file"),
        (("f/1", "f/2"), "f/1, f/2 are without an entry"),
        (tuple(f"f/{number}" for number in range(1, 6)), "f/1, f/2, f/3 and 2 more are without an entry"),
    ],
)
@pytest.mark.parametrize("is_2_1", [None, False, True])
def test_devices_without_an_entry_are_named(users: tuple[str, ...], said: str, is_2_1: bool | None) -> None:
    verdict = judged(ENTRIES, users=users, is_2_1=is_2_1)
    assert verdict.level is Level.FAIL
    assert said in verdict.found
    assert "devices convert" in verdict.todo
    assert "devices add" in verdict.todo


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ENTRIES + "pattern write edge/+/+/hb\n", "a device may write hb of another"),
        (ENTRIES + "pattern read #\n", "may read hello, hb, get, read, plan, ack, block, dead of another"),
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
def test_what_a_device_or_the_gateway_may_or_may_not_is_reported(text: str, found: str) -> None:
    verdict = judged(text, is_2_1=False)
    assert verdict.level is Level.FAIL
    assert found in verdict.found


def test_lines_of_an_entry_that_reach_nobody_else_do_no_harm() -> None:
    more = "topic read log/fleet-a/dev-1\ntopic read edge/fleet-a\ntopic deny edge/#\ntopic read other/+/+/hb\n"
    assert judged(ENTRIES + "user f/1\n" + entry("f/1") + more.replace("topic deny edge/#\n", "")).level is Level.PASS
    assert "may not" in judged(ENTRIES + "user f/1\n" + entry("f/1") + more).found


def test_a_line_that_is_denied_again_reaches_nobody() -> None:
    assert judged(ENTRIES + "topic read edge/+/+/dead\ntopic deny edge/+/+/dead\n").level is Level.PASS


def test_a_file_for_another_root_is_reported() -> None:
    assert judged(ENTRIES, root="site/edge").level is Level.FAIL
    assert judged(ENTRIES.replace("edge/", "site/edge/"), root="site/edge").level is Level.PASS


def test_client_ids_isolate_only_where_nobody_chooses_them() -> None:
    text = GATEWAY + PATTERNS.replace("%u", "%c")
    assert judged(text, ids_are_names=True).level is Level.WARN
    assert judged(text, ids_are_names=False).level is Level.FAIL


@pytest.mark.parametrize("text", [GATEWAY + "pattern edge/%u/+\n", ENTRIES + "topic edge/fleet-a/dev-1/+\n"])
def test_a_device_that_writes_its_own_plan_is_a_warning(text: str) -> None:
    verdict = judged(text)
    assert verdict.level is Level.WARN
    assert "plan, ack, block" in verdict.found or "which Mosquitto 2.1 denies" in verdict.found


@pytest.mark.parametrize(
    ("entries", "is_2_1", "level"),
    [
        (release.ENTRIES_2_0, False, Level.PASS),
        (release.ENTRIES_2_0 + 1, False, Level.WARN),
        (release.ENTRIES_2_0 + 1, None, Level.WARN),
        (release.ENTRIES_2_0 + 1, True, Level.PASS),
    ],
)
def test_many_entries_make_2_0_deaf(entries: int, is_2_1: bool | None, level: Level) -> None:
    names = [f"fleet/dev-{number:06}" for number in range(entries)]
    verdict = judged(GATEWAY + "".join(map(entry, names)), users=names, is_2_1=is_2_1)
    assert verdict.level is level
    assert ("is deaf for about 5 s" in verdict.found) is (level is Level.WARN)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("mosquitto version 2.0.11", False),
        ("mosquitto version 2.1.2", True),
        ("mosquitto version 2.10.0", True),
        ("mosquitto version 3.0", True),
        ("another broker 2.1", None),
        ("", None),
    ],
)
def test_versions(version: str, expected: bool | None) -> None:
    assert release.is_2_1(version) is expected
