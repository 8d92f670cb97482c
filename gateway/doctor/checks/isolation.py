"""Check of the ACL: a device reaches its own topics and no other's, and the gateway what it needs. Pure.

It applies the rules as the broker does, for each device that the files name and for two that do not exist. An entry
as `edge-gateway devices` writes it is compared as a whole, so that 100,000 of them take a second.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from gateway.doctor.parsers.acl_file import Access, Acl
from gateway.doctor.result import CheckResult, failed, passed, warned
from gateway.protocol import Channel
from gateway.provisioning import FROM_DEVICE, TO_DEVICE, devices_of_users

A, B = "doctor-a/a", "doctor-b/b"
Rights: TypeAlias = tuple[tuple[tuple[Channel, ...], Access], ...]
"""Channels, and the access to them."""

ACCESSES: tuple[Access, ...] = ("read", "write")
NEEDED = tuple(channel for channel in FROM_DEVICE if channel is not Channel.LIVE)
OWN: Rights = ((NEEDED, "write"), (TO_DEVICE, "read"))
GATEWAY: Rights = ((NEEDED, "read"), ((*TO_DEVICE, Channel.DEAD), "write"))
OWN_LIVE: Rights = (((Channel.LIVE,), "write"),)
GATEWAY_LIVE: Rights = (((Channel.LIVE,), "read"),)
"""A site without these works: it does not show that a device is gone. Entries of earlier versions have none."""
GATEWAY_RETAINED: Rights = (((Channel.HELLO, Channel.LIVE), "write"),)
"""Without these, what the broker keeps for a device stays when it is deregistered."""
OLD_ENTRY = frozenset((channel.value, frozenset((access,))) for channels, access in OWN for channel in channels)
ENTRY = OLD_ENTRY | {(Channel.LIVE.value, frozenset(("write",)))}
"""Channels and grants of a device's entry."""
CHECK = "isolation"
CONVERT = "edge-gateway devices convert --conf /etc/mosquitto/mosquitto.conf, then reload the broker"
REMOVE_LINES = (
    "remove such lines from the acl_file and reload the broker; `edge-gateway devices convert` writes what each device "
    "needs"
)
NAMED = 3
"""Devices that a result names at most."""
SLOW_RELOAD_ENTRIES = 20_000
"""Devices from which on a reload of Mosquitto 2.0, which reads its acl_file in quadratic time, takes long."""


@dataclass(frozen=True, slots=True)
class AclQuestion:
    """Who needs access. `gateway`: its user name. `ids_are_names`: a device's client id is its user name.

    `users`: those in the password_file. `is_2_1`: the broker is Mosquitto 2.1 or later; None: not known.
    """

    root: str
    gateway: str | None = None
    fleets: tuple[str, ...] = ()
    ids_are_names: bool = True
    users: Sequence[str] = ()
    is_2_1: bool | None = None

    @property
    def readings(self) -> tuple[bool, ...]:
        """How this broker may read patterns: whether %u matches one level."""
        return (False, True) if self.is_2_1 is None else (self.is_2_1,)

    def topic(self, device: str, channel: Channel) -> str:
        return f"{self.root}/{device}/{channel}"


def check_isolation(acl: Acl, question: AclQuestion) -> CheckResult:
    """The worst problem alone."""
    devices = sorted(map(str, devices_of_users(user for user in (*acl.users, *question.users) if user)))
    entry_of = {user: _entry(acl, question.root, user) for user in devices}
    others = [user for user in devices if entry_of[user] not in (ENTRY, OLD_ENTRY)]
    for user in (A, *others):
        if found := _foreign_access(acl, question, user):
            return failed(CHECK, found, REMOVE_LINES)
    for fleet in question.fleets or ("doctor-b",):
        if found := _denied(acl, question, f"{fleet}/b", GATEWAY, who=question.gateway or ""):
            todo = f"give this user its lines in the acl_file, for the root {question.root}"
            return failed(CHECK, f"the gateway's user ({question.gateway}) may not {found}", todo)
    asked = others if devices or not acl.patterns else [A]
    entries = len([user for user in devices if user in acl.users])
    old = [user for user in devices if entry_of[user] != ENTRY and user in acl.users]
    return (
        _check_own(acl, question, asked)
        or _warnings(acl, question, asked, entries)
        or _check_live(acl, question, old)
        or _passed(devices, asked)
    )


def no_acl_file() -> CheckResult:
    todo = "acl_file /etc/edge-gateway/broker/acl, which `edge-gateway devices` writes"
    return failed(CHECK, "no acl_file: every user may read and write everything", todo)


def _passed(devices: Sequence[str], asked: Sequence[str]) -> CheckResult:
    if not devices and not asked:
        return passed(CHECK, "the gateway reaches what it needs; no device has an entry yet")
    return passed(CHECK, "a device reaches its own topics alone, the gateway what it needs")


def _check_own(acl: Acl, question: AclQuestion, devices: Iterable[str]) -> CheckResult | None:
    """What devices may not do on their own topics, however this broker reads patterns."""
    denied = {}
    for user in devices:
        results = [_denied(acl, question, user, OWN, one_level=one_level) for one_level in question.readings]
        if all(results):
            denied[user] = results[0]
    if not denied:
        return None
    user, access = next(iter(denied.items()))
    if empty := [each for each in denied if not acl.users.get(each)]:
        by_pattern = any("%u" in rule.filter for rule in acl.patterns)
        why = "; %u in a pattern matches one level since Mosquitto 2.1" if by_pattern else ""
        found = (
            f"{_named(empty)} without an entry in the acl_file"
            if user != A
            else f"a device may not {access} of its own"
        )
        return failed(CHECK, found + why, f"{CONVERT}; or `edge-gateway devices add` for each")
    found = f"{user} may not {access} of its own"
    if len(denied) > 1:
        found += f", nor may {len(denied) - 1:,} others all that they need"
    return failed(CHECK, found, f"is the acl_file for the root {question.root}? Then {CONVERT}")


def _warnings(acl: Acl, question: AclQuestion, devices: Sequence[str], entries: int) -> CheckResult | None:
    """What works today, or in one version of Mosquitto."""
    if question.is_2_1 is not True and any(_denied(acl, question, user, OWN, one_level=True) for user in devices):
        return warned(CHECK, "devices have access by a pattern with %u, which Mosquitto 2.1 denies", CONVERT)
    for user in dict.fromkeys((*devices, *([A] if acl.patterns else ()))):
        if channels := _gateway_channels(acl, question, user):
            todo = "in the acl_file, let devices write hello, hb, get, read and live alone"
            who = "a device" if user == A else user
            return warned(CHECK, f"{who} may write {channels} of its own, which only the gateway should write", todo)
    if entries > SLOW_RELOAD_ENTRIES and question.is_2_1 is not True:
        seconds = 12.3 * (entries / 30_000) ** 2  # 10,000 took 1.3 s, 30,000 took 12 to 16 s
        found = f"{entries:,} devices: Mosquitto 2.0 does not answer for about {seconds:.0f} s at each reload"
        return warned(CHECK, found, "take Mosquitto 2.1 for so many, and add devices many at a time")
    return None


def _check_live(acl: Acl, question: AclQuestion, devices: Iterable[str]) -> CheckResult | None:
    """Whether `live` passes. `devices`: those whose entry may lack it."""
    fleets = question.fleets or ("doctor-b",)
    if any(_denied(acl, question, f"{fleet}/b", GATEWAY_LIVE, who=question.gateway or "") for fleet in fleets):
        found = f"the gateway's user ({question.gateway}) may not read live: nobody learns that a device is gone"
        todo = f"add `topic read {question.root}/+/+/live` to its lines in the acl_file, and reload the broker"
        return warned(CHECK, found, todo)
    for fleet in fleets:
        if found := _denied(acl, question, f"{fleet}/b", GATEWAY_RETAINED, who=question.gateway or ""):
            found = (
                f"the gateway's user ({question.gateway}) may not {found}: a removed device's retained messages stay"
            )
            todo = f"add `topic write {question.root}/+/+/hello` and the same for live to its lines in the acl_file"
            return warned(CHECK, found, f"{todo}, and reload the broker")
    denied = [user for user in devices if _denied(acl, question, user, OWN_LIVE, one_level=question.is_2_1 is True)]
    if not denied:
        return None
    found = f"{_named(denied)} without `live` in the acl_file: nobody learns that such a device is gone"
    return warned(CHECK, found, "`edge-gateway devices init` completes the entries; then reload the broker")


def _entry(acl: Acl, root: str, user: str) -> set[tuple[str, frozenset[str]]]:
    """Channels and grants of the user's lines."""
    prefix = f"{root}/{user}/"
    return {(rule.filter.removeprefix(prefix), rule.grants) for rule in acl.users.get(user, ())}


def _named(users: Sequence[str]) -> str:
    more = f" and {len(users) - NAMED:,} more" if len(users) > NAMED else ""
    return ", ".join(users[:NAMED]) + more + (" is" if len(users) == 1 else " are")


def _foreign_access(acl: Acl, question: AclQuestion, user: str) -> str:
    """What the device may do on another's topics; empty: nothing."""
    for rule in (*acl.users.get(user, ()), *(acl.patterns if user == A else ())):
        for client_id in {user, user if question.ids_are_names else B}:
            filled = rule.filter.replace("%c", client_id).replace("%u", user)
            other = _other_device(filled, question.root, user) if rule.grants else None
            if other is not None and (found := _allowed(acl, question, user, client_id, other)):
                return f"{'a device' if user == A else user} may {found} of another ({other})"
    return ""


def _other_device(topic_filter: str, root: str, user: str) -> str | None:
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


def _allowed(acl: Acl, question: AclQuestion, user: str, client_id: str, other: str) -> str:
    return _list_access(
        (access, channel)
        for channel, access in product(Channel, ACCESSES)
        if any(acl.allowed(user, client_id, access, question.topic(other, channel), each) for each in question.readings)
    )


def _denied(
    acl: Acl, question: AclQuestion, device: str, rights: Rights, who: str | None = None, one_level: bool = False
) -> str:
    """What `who` (None: the device itself) may not do on the device's channels."""
    user = device if who is None else who
    return _list_access(
        (access, channel)
        for channels, access in rights
        for channel in channels
        if not acl.allowed(user, user, access, question.topic(device, channel), one_level)
    )


def _gateway_channels(acl: Acl, question: AclQuestion, user: str) -> str:
    """The channels from the gateway that the device may write."""
    one_level = question.is_2_1 is True
    topics = {channel: question.topic(user, channel) for channel in TO_DEVICE}
    return ", ".join(each for each, topic in topics.items() if acl.allowed(user, user, "write", topic, one_level))


def _list_access(pairs: Iterable[tuple[Access, Channel]]) -> str:
    """ "read hb, plan and write hb"."""
    listed = list(pairs)
    parts = [
        f"{access} {', '.join(channel for each, channel in listed if each == access)}"
        for access in ACCESSES
        if any(each == access for each, _ in listed)
    ]
    return " and ".join(parts)
