"""Judgement on what a reload (SIGHUP) does to the broker: each `devices add` asks for one. Pure.

Each hazard was tried: start, break the file, SIGHUP. What ends Mosquitto 2.1.2 leaves 2.0.11 and 2.0.21 running: with
no ACL at all, so that everyone may read and write everything; with nobody who is let in; or as it was before. The same
holds for the plugins of 2.1 that read these files. A mistake in mosquitto.conf ends neither.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from gateway.doctor.facts import Access, Account, BrokerFile
from gateway.doctor.verdict import Level, Verdict, passed, unknown

CHECK = "reload"
READ, ENTER = 4, 1
"""Bits of a mode."""
SHOWN = 3
"""So many problems are named, of many."""
LISTS = ("acl_file", "password_file")


class Effect(Enum):
    """What comes of it at a reload: of Mosquitto 2.0, 2.1 and one of them. The worst is first."""

    OPENS = (
        "the next reload lets everyone read and write everything",
        "the next reload ends the broker",
        "the next reload ends Mosquitto 2.1, and has 2.0 let everyone read and write everything",
    )
    LOCKS = (
        "the next reload lets nobody in",
        "the next reload ends the broker",
        "the next reload ends Mosquitto 2.1, and has 2.0 let nobody in",
    )
    ENDS = (
        "Mosquitto 2.1 would end at a reload; 2.0 logs it",
        "the next reload ends the broker",
        "the next reload ends Mosquitto 2.1",
    )
    WARNS = ("a reload works, but",) * 3

    def for_version(self, is_2_1: bool | None) -> str:
        in_2_0, in_2_1, in_one = self.value
        return in_one if is_2_1 is None else in_2_1 if is_2_1 else in_2_0


class Problem(NamedTuple):
    """One thing that is not right with one file."""

    effect: Effect
    found: str
    todo: str


def reload(files: Sequence[BrokerFile], account: Account | None, group: str, is_2_1: bool | None) -> Verdict:
    """`account`: the broker's, None: not known; `group`: the name of its group. `is_2_1` None: not known."""
    problems = [problem for file in files for problem in _problems(file, account, group, is_2_1)]
    if not problems:
        if unseen := [file.unseen for file in files if file.unseen]:
            return unknown(CHECK, unseen[0], "run this as root on the broker's machine")
        return passed(CHECK, f"the broker can read its {len(files)} files again")
    problems.sort(key=lambda each: list(Effect).index(each.effect))
    worst = problems[0]
    more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
    found = f"{worst.effect.for_version(is_2_1)}: {'; '.join(each.found for each in problems[:SHOWN])}{more}"
    todos = dict.fromkeys(each.todo for each in problems[:SHOWN])
    return Verdict(CHECK, _level(worst.effect, is_2_1), found, "; ".join(todos))


def _level(effect: Effect, is_2_1: bool | None) -> Level:
    if effect is Effect.WARNS or (effect is Effect.ENDS and is_2_1 is False):
        return Level.WARN
    return Level.FAIL


def _problems(file: BrokerFile, account: Account | None, group: str, is_2_1: bool | None) -> Iterator[Problem]:
    name = f"{file.option} {file.path}"
    absent = {"acl_file": Effect.OPENS, "password_file": Effect.LOCKS}.get(file.option, Effect.ENDS)
    if file.fault:
        yield Problem(absent, f"{name} {file.fault}", "edge-gateway devices init makes what is missing")
        return
    if file.link and file.option in LISTS:
        yield Problem(Effect.ENDS, f"{name} is a symbolic link", "name the file itself in mosquitto.conf")
    if account is not None and file.access.mode and not _may_read(account, file):
        yield Problem(absent, f"{name} cannot be read by {account.name}", f"chown {account.name}:{group} {file.path}")
    for mistake in file.mistakes:
        effect = Effect.OPENS if file.option == "acl_file" else Effect.ENDS
        yield Problem(effect, f"{file.path} {mistake}", "correct these lines, or take them out")
    if is_2_1 is False and file.long_salts:
        found = (
            f"{file.path}: the password of {file.long_salts[0]} is written as Mosquitto 2.1 does, and 2.0 leaves it out"
        )
        yield Problem(Effect.ENDS, found, "set it anew with the broker's own mosquitto_passwd")
    yield from _warnings(name, file, account, group)


def _warnings(name: str, file: BrokerFile, account: Account | None, group: str) -> Iterator[Problem]:
    """Of files with passwords, rules or a private key. Mosquitto 2.1 warns of the world, and of other owners."""
    if file.option not in (*LISTS, "keyfile"):
        return
    if file.access.mode & READ:
        yield Problem(Effect.WARNS, f"{name} can be read by everyone on this machine", f"chmod 0600 {file.path}")
    if account is None or account.number == 0 or file.option not in LISTS or not _may_read(account, file):
        return
    if (file.access.owner, file.access.group) != (account.number, account.group):
        found = f"{name} belongs to another account or group than the broker's ({account.name})"
        yield Problem(Effect.WARNS, found, f"chown {account.name}:{group} {file.path}")


def _may_read(account: Account, file: BrokerFile) -> bool:
    return _may(READ, account, file.access) and all(_may(ENTER, account, each) for each in file.folders)


def _may(bit: int, account: Account, access: Access) -> bool:
    if account.number == 0:
        return True
    if access.owner == account.number:
        return bool(access.mode & bit << 6)
    if access.group in account.groups:
        return bool(access.mode & bit << 3)
    return bool(access.mode & bit)
