"""Judgement on the ACL: a device reaches its own topics and no other's, and the gateway what it needs. Pure.

It asks the rules as the broker would, for each device that the files name and for two that nobody has. An entry as
`edge-gateway devices` writes it is compared as a whole, so that 100,000 of them take a second.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from gateway.doctor.acl import Access, Acl
from gateway.doctor.release import ENTRIES_2_0, deaf_seconds
from gateway.doctor.verdict import Verdict, failed, passed, warned
from gateway.protocol.topics import Channel
from gateway.provisioning.acl_file import FROM_DEVICE, TO_DEVICE
from gateway.provisioning.device_names import devices_of_users

A, B = "doctor-a/a", "doctor-b/b"
Rights: TypeAlias = tuple[tuple[tuple[Channel, ...], Access], ...]
"""Channels, and what one may do to them."""

ACCESSES: tuple[Access, ...] = ("read", "write")
OWN: Rights = ((FROM_DEVICE, "write"), (TO_DEVICE, "read"))
GATEWAYS: Rights = ((FROM_DEVICE, "read"), ((*TO_DEVICE, Channel.DEAD), "write"))
ENTRY = frozenset((channel.value, frozenset((access,))) for channels, access in OWN for channel in channels)
"""Channels and grants of a device's entry."""
CHECK = "isolation"
CONVERT = "edge-gateway devices convert --conf /etc/mosquitto/mosquitto.conf, then reload the broker"
TAKE_OUT = (
    "take such lines out of the acl_file and reload the broker; `edge-gateway devices convert` writes what each device "
    "needs"
)
NAMED = 3
"""So many devices are named, of many."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whom the ACL must serve. `gateway`: its user name. `ids_are_names`: a device's client id is its user name.

    `users`: those that the broker has passwords of. `is_2_1`: the broker is Mosquitto 2.1 or later; None: not known.
    """

    root: str
    gateway: str | None = None
    fleets: tuple[str, ...] = ()
    ids_are_names: bool = True
    users: Sequence[str] = ()
    is_2_1: bool | None = None

    @property
    def readings(self) -> tuple[bool, ...]:
        """The ways in which this broker may read patterns: whether %u stands for one level."""
        return (False, True) if self.is_2_1 is None else (self.is_2_1,)

    def topic(self, device: str, channel: Channel) -> str:
        return f"{self.root}/{device}/{channel}"


def isolation(acl: Acl, question: Question) -> Verdict:
    """The worst of what is found, alone."""
    devices = sorted(map(str, devices_of_users(user for user in (*acl.users, *question.users) if user)))
    odd = [user for user in devices if not _is_entry(acl, question.root, user)]
    for user in (A, *odd):
        if found := _reach(acl, question, user):
            return failed(CHECK, found, TAKE_OUT)
    for fleet in question.fleets or ("doctor-b",):
        if found := _refused(acl, question, f"{fleet}/b", GATEWAYS, who=question.gateway or ""):
            todo = f"give this user its lines in the acl_file, for the root {question.root}"
            return failed(CHECK, f"the gateway's user ({question.gateway}) may not {found}", todo)
    asked = odd if devices or not acl.patterns else [A]
    entries = len([user for user in devices if user in acl.users])
    return _own(acl, question, asked) or _doubts(acl, question, asked, entries) or _passed(devices, asked)


def unruled() -> Verdict:
    """There is no ACL."""
    todo = "acl_file /etc/edge-gateway/broker/acl, which edge-gateway devices writes"
    return failed(CHECK, "no acl_file: every user may read and write everything", todo)


def _passed(devices: Sequence[str], asked: Sequence[str]) -> Verdict:
    if not devices and not asked:
        return passed(CHECK, "the gateway reaches what it needs; no device has an entry yet")
    return passed(CHECK, "a device reaches its own topics alone, the gateway what it needs")


def _own(acl: Acl, question: Question, devices: Iterable[str]) -> Verdict | None:
    """What devices may not do to their own topics, however this broker reads patterns."""
    lacking = {}
    for user in devices:
        refused = [_refused(acl, question, user, OWN, one_level=one_level) for one_level in question.readings]
        if all(refused):
            lacking[user] = refused[0]
    if not lacking:
        return None
    user, refused_first = next(iter(lacking.items()))
    if empty := [each for each in lacking if not acl.users.get(each)]:
        why = "; %u in a pattern stands for one level since Mosquitto 2.1" if _has_names(acl) else ""
        found = (
            f"{_named(empty)} without an entry in the acl_file{why}"
            if user != A
            else f"a device may not {refused_first} of its own{why}"
        )
        return failed(CHECK, found, f"{CONVERT}; or `edge-gateway devices add` for each again")
    found = f"{user} may not {refused_first} of its own"
    if len(lacking) > 1:
        found += f", nor may {len(lacking) - 1:,} others all that they need"
    return failed(CHECK, found, f"is the acl_file for the root {question.root}? Then {CONVERT}")


def _doubts(acl: Acl, question: Question, devices: Sequence[str], entries: int) -> Verdict | None:
    """What holds today, or in one version of Mosquitto."""
    if question.is_2_1 is not True and any(_refused(acl, question, user, OWN, one_level=True) for user in devices):
        return warned(CHECK, "devices are let through by a pattern with %u, which Mosquitto 2.1 denies them", CONVERT)
    for user in dict.fromkeys((*devices, *([A] if acl.patterns else ()))):
        if forged := _forges(acl, question, user):
            todo = "in the acl_file, let devices write hello, hb, get and read alone"
            who = "a device" if user == A else user
            return warned(CHECK, f"{who} may write {forged} of its own, which is the gateway's to write", todo)
    if entries > ENTRIES_2_0 and question.is_2_1 is not True:
        found = f"{entries:,} devices: Mosquitto 2.0 is deaf for about {deaf_seconds(entries):.0f} s at each reload"
        return warned(CHECK, found, "take Mosquitto 2.1 for so many, and add devices many at a time")
    return None


def _is_entry(acl: Acl, root: str, user: str) -> bool:
    """Whether the user has the lines that `edge-gateway devices` writes, and no others."""
    prefix = f"{root}/{user}/"
    return {(rule.filter.removeprefix(prefix), rule.grants) for rule in acl.users.get(user, ())} == ENTRY


def _has_names(acl: Acl) -> bool:
    return any("%u" in rule.filter for rule in acl.patterns)


def _named(users: Sequence[str]) -> str:
    more = f" and {len(users) - NAMED:,} more" if len(users) > NAMED else ""
    return ", ".join(users[:NAMED]) + more + (" is" if len(users) == 1 else " are")


def _reach(acl: Acl, question: Question, user: str) -> str:
    """What the device may do to another's topics; empty: nothing."""
    for rule in (*acl.users.get(user, ()), *(acl.patterns if user == A else ())):
        for client_id in {user, user if question.ids_are_names else B}:
            filled = rule.filter.replace("%c", client_id).replace("%u", user)
            other = _another(filled, question.root, user) if rule.grants else None
            if other is not None and (found := _allowed(acl, question, user, client_id, other)):
                return f"{'a device' if user == A else user} may {found} of another ({other})"
    return ""


def _another(topic_filter: str, root: str, user: str) -> str | None:
    """A device that the filter covers and that is not this one; None: there is none."""
    head, levels = root.split("/"), topic_filter.split("/")
    size = len(head) + 3
    if levels[-1] == "#":
        levels = [*levels[:-1], *["+"] * size][:size]
    if len(levels) != size or any(want not in ("+", level) for want, level in zip(levels, head, strict=False)):
        return None
    fleet, device, _ = levels[len(head) :]
    own_fleet, own_device = user.split("/", 1)
    if fleet == "+":
        fleet = "doctor-b" if own_fleet != "doctor-b" else "doctor-a"
    if device == "+":
        device = "b" if own_device != "b" else "a"
    return f"{fleet}/{device}" if (fleet, device) != (own_fleet, own_device) else None


def _allowed(acl: Acl, question: Question, user: str, client_id: str, other: str) -> str:
    return _listed(
        (access, channel)
        for channel, access in product(Channel, ACCESSES)
        if any(acl.allowed(user, client_id, access, question.topic(other, channel), each) for each in question.readings)
    )


def _refused(
    acl: Acl, question: Question, device: str, rights: Rights, who: str | None = None, one_level: bool = False
) -> str:
    """What `who` (None: the device itself) may not do to the device's channels."""
    user = device if who is None else who
    return _listed(
        (access, channel)
        for channels, access in rights
        for channel in channels
        if not acl.allowed(user, user, access, question.topic(device, channel), one_level)
    )


def _forges(acl: Acl, question: Question, user: str) -> str:
    one_level = question.is_2_1 is True
    return ", ".join(
        channel for channel in TO_DEVICE if acl.allowed(user, user, "write", question.topic(user, channel), one_level)
    )


def _listed(found: Iterable[tuple[Access, Channel]]) -> str:
    """ "read hb, plan and write hb"."""
    pairs = list(found)
    parts = [
        f"{access} {', '.join(channel for said, channel in pairs if said == access)}"
        for access in ACCESSES
        if any(said == access for said, _ in pairs)
    ]
    return " and ".join(parts)
