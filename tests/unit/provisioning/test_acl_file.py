"""Mosquitto's acl_file: entries are added and removed, and no other line changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.provisioning.acl_file import AclFile

ENTRY = """\
user f/a
topic write edge/f/a/hello
topic write edge/f/a/hb
topic write edge/f/a/get
topic write edge/f/a/read
topic write edge/f/a/live
topic read edge/f/a/plan
topic read edge/f/a/ack
topic read edge/f/a/block
"""
OTHERS = "# mine\n\nuser gateway\ntopic read edge/+/+/hb\n\nuser tool\n# why\ntopic read x/#\npattern read y/%c\n"


def test_an_entry_is_added_and_removed() -> None:
    acl = AclFile.parse(OTHERS)
    assert [acl.grant("f/a"), acl.grant("f/a"), "f/a" in acl, acl.users()] == [True, False, True, ["f/a"]]
    assert str(acl) == OTHERS + ENTRY
    assert [acl.revoke("f/a"), acl.revoke("f/a"), "f/a" in acl] == [True, False, False]
    assert str(acl) == OTHERS


def test_a_new_file_is_for_its_root() -> None:
    acl = AclFile.new("site-7/edge")
    acl.grant("f/a")
    assert AclFile.parse(str(acl)).root == "site-7/edge"
    lines = [line.split(" ", 2) for line in str(acl).splitlines() if line.startswith("topic")]
    assert {filter_.startswith("site-7/edge/") for _, _, filter_ in lines} == {True, False}
    others = [filter_ for _, _, filter_ in lines if not filter_.startswith("site-7/edge/")]
    assert others == ["$SYS/broker/publish/messages/dropped", "$SYS/broker/#"]


def test_lines_between_and_after_entries_stay_when_entries_are_removed() -> None:
    """A comment, a pattern, another user: the lines of a device end where its topics end."""
    b = "# of b\nuser f/b\ntopic read z\npattern read y/%u\ntopic write edge/f/b/hb\n"
    acl = AclFile.parse(f"{OTHERS}{ENTRY}{b}user last\ntopic read l\n")
    assert acl.users() == ["f/a", "f/b"]
    acl.revoke("f/a")
    acl.revoke("f/b")
    assert str(acl) == OTHERS + "# of b\npattern read y/%u\nuser last\ntopic read l\n"


def test_an_entry_is_completed_and_what_was_added_by_hand_stays() -> None:
    acl = AclFile.parse(OTHERS + "user f/a\ntopic read extra\ntopic write edge/f/a/hb\nuser f/a\ntopic read extra2\n")
    assert "f/a" not in acl
    assert acl.grant("f/a")
    assert str(acl) == OTHERS + ENTRY + "topic read extra\ntopic read extra2\n"


def test_the_lines_of_earlier_versions_go_and_others_stay() -> None:
    acl = AclFile.parse(OTHERS + "pattern write edge/%u/hb\npattern read edge/%u/ack\npattern write edge/%u/x\n")
    assert str(acl.without_patterns()) == OTHERS + "pattern write edge/%u/x\n"
    assert acl.without_patterns().patterns() == ["pattern read y/%c", "pattern write edge/%u/x"]


@pytest.mark.parametrize("text", ["", "user gateway\n", "# topic read edge/+/+/hb\n", "topic read /+/+/hb\n"])
def test_a_file_that_does_not_say_the_root(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)root"):
        AclFile.parse(text)


@pytest.mark.parametrize("root", ["", "/", "a/", " a", "a/#", "+", "a\nuser x"])
def test_a_root_that_would_be_more_than_one(root: str) -> None:
    with pytest.raises(ValueError, match="not a root of topics"):
        AclFile.new(root)


LINES = st.lists(
    st.sampled_from(
        ["user t", "user f/a", "user f/b", "topic read t/1", "pattern read p/%u", "# c", "", "topic read edge/+/+/hb"]
    )
)


@given(LINES, st.lists(st.tuples(st.booleans(), st.sampled_from(["f/a", "f/b", "g/c"]))))
def test_whatever_is_done_no_other_user_gains_or_loses_a_line(lines: list[str], steps: list[tuple[bool, str]]) -> None:
    """As Mosquitto reads the file: a topic line is of the user above it, a pattern of everybody."""
    text = "".join(f"{line}\n" for line in ["user gateway", "topic read edge/+/+/hb", *lines])
    acl = AclFile.parse(text)
    for adds, user in steps:
        acl.grant(user) if adds else acl.revoke(user)
    before, after = rights(text), rights(str(acl))
    for user in {*before, *after} - {"f/a", "f/b", "g/c"}:
        assert after.get(user) == before.get(user)
    for user in ("f/a", "f/b", "g/c"):
        last = [adds for adds, each in steps if each == user][-1:]
        if last == [True]:
            assert AclFile.parse(str(acl)).grant(user) is False
        elif last == [False]:
            assert user not in after


def rights(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    user = ""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
        elif word in ("topic", "pattern"):
            found.setdefault(user if word == "topic" else "%", set()).add(rest)
    return found


@pytest.mark.parametrize("user", ["f/+", "#/a", "f", "f/a/b", "f/a\ntopic read #", "/a", "f/ ", "f/"])
def test_a_name_with_wildcards_or_other_levels_gets_no_entry(user: str) -> None:
    acl = AclFile.parse(OTHERS)
    with pytest.raises(ValueError, match="not the user name of a device"):
        acl.grant(user)
    assert str(acl) == OTHERS


def test_lines_end_where_they_do_for_mosquitto() -> None:
    """At a newline alone: what else Python takes for the end of a line would make a comment a rule."""
    text = OTHERS.replace("# why", "# a\x0ctopic readwrite #\u2028topic readwrite #\x85")
    assert str(AclFile.parse(text)) == text


def test_a_file_with_carriage_returns_is_read_as_mosquitto_reads_it() -> None:
    text = (OTHERS + ENTRY).replace("\n", "\r\n")
    acl = AclFile.parse(text)
    assert (acl.root, "f/a" in acl, acl.grant("f/a"), str(acl)) == ("edge", True, False, text)
    assert acl.revoke("f/a")
    assert str(acl) == OTHERS.replace("\n", "\r\n")
