"""Judgement on the ACL: a device reaches its own topics and no other's, and the gateway what it needs. Pure.

It asks the rules as the broker would, for two devices that nobody has and for those that the file names.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TypeAlias

from gateway.doctor.acl import Access, Rule, allowed
from gateway.doctor.verdict import Verdict, failed, passed, warned
from gateway.messages import Device
from gateway.topics import Channel, Topics

A, B = "doctor-a/a", "doctor-b/b"
UP = (Channel.HELLO, Channel.HEARTBEAT, Channel.GET, Channel.READ)
DOWN = (Channel.PLAN, Channel.ACK, Channel.BLOCK)
Rights: TypeAlias = tuple[tuple[tuple[Channel, ...], Access], ...]
"""Channels, and what one may do to them."""

ACCESSES: tuple[Access, ...] = ("read", "write")
OWN: Rights = ((UP, "write"), (DOWN, "read"))
GATEWAYS: Rights = ((UP, "read"), ((*DOWN, Channel.DEAD), "write"))
CHECK = "isolation"


def isolation(
    rules: Sequence[Rule], root: str, gateway: str | None, fleets: tuple[str, ...], ids_are_names: bool
) -> Verdict:
    """`gateway`: its user name; `ids_are_names`: a device's client id is its user name, whatever it says."""
    topics = Topics(root)
    named = {rule.user for rule in rules if rule.user is not None and "/" in rule.user}
    for user in [A, *sorted(named)]:
        if told := _reaches(rules, topics, user, B if user != B else A, ids_are_names):
            todo = "in the acl_file, let every line for devices begin with pattern and its topic with {root}/%u/"
            return failed(CHECK, f"a device may {told} of another", todo)
    if told := _refused(rules, topics, A, OWN):
        return failed(CHECK, f"a device may not {told} of its own", f"is the acl_file for the root {root}?")
    for fleet in fleets or ("doctor-b",):
        user = f"{fleet}/b"
        if told := _refused(rules, topics, user, GATEWAYS, who=gateway or ""):
            todo = f"give this user its lines in the acl_file, for the root {root}"
            return failed(CHECK, f"the gateway's user ({gateway}) may not {told}", todo)
    if told := _forges(rules, topics):
        todo = "in the acl_file, let devices write hello, hb, get and read alone"
        return warned(CHECK, f"a device may write {told} of its own, which is the gateway's to write", todo)
    return passed(CHECK, "a device reaches its own topics alone, the gateway what it needs")


def unruled() -> Verdict:
    """There is no ACL."""
    return failed(CHECK, "no acl_file: every user may read and write everything", "acl_file with the shipped lines")


def _topic(topics: Topics, user: str, channel: Channel) -> str:
    return topics.format(Device(*user.split("/", 1)), channel)


def _reaches(rules: Iterable[Rule], topics: Topics, user: str, other: str, ids_are_names: bool) -> str:
    client_id = user if ids_are_names else other
    return _told(
        (access, channel)
        for channel, access in product(Channel, ACCESSES)
        if allowed(rules, user, client_id, access, _topic(topics, other, channel))
    )


def _refused(
    rules: Iterable[Rule],
    topics: Topics,
    device: str,
    rights: Rights,
    who: str | None = None,
) -> str:
    """What `who` (None: the device itself) may not do to the device's channels."""
    user = device if who is None else who
    return _told(
        (access, channel)
        for channels, access in rights
        for channel in channels
        if not allowed(rules, user, user, access, _topic(topics, device, channel))
    )


def _forges(rules: Iterable[Rule], topics: Topics) -> str:
    return ", ".join(channel for channel in DOWN if allowed(rules, A, A, "write", _topic(topics, A, channel)))


def _told(found: Iterable[tuple[Access, Channel]]) -> str:
    """ "read hb, plan and write hb"."""
    pairs = list(found)
    parts = [
        f"{access} {', '.join(channel for said, channel in pairs if said == access)}"
        for access in ACCESSES
        if any(said == access for said, _ in pairs)
    ]
    return " and ".join(parts)
