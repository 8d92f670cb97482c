"""The acl_file as Mosquitto reads it, and what the doctor makes of it."""

import pytest

from gateway.demo.mosquitto import SHIPPED
from gateway.doctor import acl
from gateway.doctor.judge_acl import isolation
from gateway.doctor.verdict import Level, Verdict

SHIPPED_ACL = (SHIPPED / "acl").read_text("utf-8")
DEVICES = "pattern write edge/%u/+\npattern read edge/%u/+\n"
GATEWAY = "user gateway\ntopic edge/+/+/+\n"


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
def test_a_rule_says_who_may_do_what(text: str, user: str | None, access: acl.Access, expected: bool) -> None:
    assert acl.allowed(acl.read(text), user, "an-id", access, "t") is expected


def judged(text: str, ids_are_names: bool = True, fleets: tuple[str, ...] = (), root: str = "edge") -> Verdict:
    return isolation(acl.read(text), root, "gateway", fleets, ids_are_names)


@pytest.mark.parametrize("fleets", [(), ("fleet-a", "fleet-b")])
def test_the_shipped_file_isolates(fleets: tuple[str, ...]) -> None:
    assert judged(SHIPPED_ACL, fleets=fleets).level is Level.PASS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SHIPPED_ACL + "pattern write edge/+/+/hb\n", "may write hb of another"),
        (SHIPPED_ACL + "pattern read #\n", "may read hello, hb, get, read, plan, ack, block, dead of another"),
        (SHIPPED_ACL + "user fleet-a/spy\ntopic read edge/+/+/plan\n", "may read plan of another"),
        (SHIPPED_ACL.replace("pattern write edge/%u/hb\n", ""), "may not write hb of its own"),
        (SHIPPED_ACL.replace("pattern read edge/%u/plan\n", ""), "may not read plan of its own"),
        (SHIPPED_ACL.replace("topic read edge/+/+/get\n", ""), "gateway's user (gateway) may not read get"),
        (SHIPPED_ACL.replace("topic write edge/+/+/ack\n", ""), "gateway's user (gateway) may not write ack"),
        (
            SHIPPED_ACL.replace("user gateway", "user other"),
            "may not read hello, hb, get, read and write plan, ack, block, dead",
        ),
        ("", "may not read plan, ack, block and write hello, hb, get, read of its own"),
    ],
    ids=range(9),
)
def test_what_a_device_or_the_gateway_may_or_may_not_is_told(text: str, found: str) -> None:
    verdict = judged(text)
    assert verdict.level is Level.FAIL
    assert found in verdict.found


def test_a_file_for_another_root_is_told() -> None:
    assert judged(SHIPPED_ACL, root="site/edge").level is Level.FAIL


def test_client_ids_isolate_only_where_nobody_chooses_them() -> None:
    text = DEVICES.replace("%u", "%c") + GATEWAY
    assert judged(text, ids_are_names=True).level is not Level.FAIL
    assert judged(text, ids_are_names=False).level is Level.FAIL


def test_a_device_that_writes_its_own_plan_is_a_warning() -> None:
    verdict = judged(DEVICES + GATEWAY)
    assert verdict.level is Level.WARN
    assert "plan, ack, block" in verdict.found
