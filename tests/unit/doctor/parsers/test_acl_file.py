"""The acl_file as Mosquitto reads it."""

import pytest

from gateway.doctor.parsers import acl_file


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
    assert acl_file.matches(topic_filter, topic) is expected


@pytest.mark.parametrize(
    ("rules", "user", "access", "expected"),
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
def test_rules_allow_and_deny(
    rules: str, user: str | None, access: acl_file.Access, expected: bool, one_level: bool
) -> None:
    assert acl_file.parse(rules).allowed(user, "an-id", access, "t", one_level) is expected


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
def test_a_user_name_in_a_pattern_is_one_level_since_2_1(
    pattern: str, user: str, topic: str, in_2_0: bool, in_2_1: bool
) -> None:
    """As tried with 2.0.21 and 2.1.2."""
    rules = acl_file.parse(f"pattern write {pattern}")
    assert rules.allowed(user, "an/id", "write", topic, one_level=False) is in_2_0
    assert rules.allowed(user, "an/id", "write", topic, one_level=True) is in_2_1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("topics read x", "unknown word 'topics'"),
        ("topic\tread\tx", "unknown word"),
        ("  # indented", "unknown word '#'"),
        ("topic", "topic without a topic"),
        ("user ", "user without a name"),
        ("topic frob x", "unknown access 'frob'"),
        ("topic read a/#/b", "not a topic filter"),
        ("topic read a+/b", "not a topic filter"),
        ("topic read a#", "not a topic filter"),
        ("topic read x # comment", "not a topic filter"),
        ("topic read", ""),
        ("topic read +/a/#", ""),
        ("  topic read x", ""),
        ("# comment", ""),
        ("user a b", ""),
    ],
)
def test_lines_that_no_broker_can_read_are_mistakes(line: str, text: str) -> None:
    mistakes = acl_file.parse(f"user a\n{line}\n").mistakes
    assert len(mistakes) == bool(text)
    assert all(each.startswith("line 2: ") and text in each for each in mistakes)
