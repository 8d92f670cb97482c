"""Check of what a reload (SIGHUP) does to the broker: each `devices add` needs one. Pure.

Each hazard was tried: start, break the file, SIGHUP. What ends Mosquitto 2.1.2 leaves 2.0.11 and 2.0.21 running: with
no ACL at all, so that everyone may read and write everything; with no user who may connect; or as it was before. The
same is true of the plugins of 2.1 that read these files. A mistake in mosquitto.conf ends neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from gateway.doctor.result import CheckResult, Level, passed, unknown

CHECK = "reload"
READ, EXECUTE = 4, 1
"""Bits of a mode."""
SHOWN = 3
"""Problems that a result names at most."""
USER_FILES = ("acl_file", "password_file")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine. `group`: its own; `groups`: all of them."""

    name: str
    number: int
    group: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class FileAccess:
    """Owner, group and mode of a file or folder."""

    owner: int
    group: int
    mode: int


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """A file of mosquitto.conf. `problem`: why it cannot be read ("is missing"). `unseen`: why the doctor cannot know.

    `link`: it is a symbolic link. `folders`: those above it. `mistakes`: lines that a broker cannot read.
    `long_salts`: users whose password only Mosquitto 2.1 reads.
    """

    option: str
    path: str
    problem: str = ""
    unseen: str = ""
    link: bool = False
    access: FileAccess = FileAccess(0, 0, 0)
    folders: tuple[FileAccess, ...] = ()
    mistakes: tuple[str, ...] = ()
    long_salts: tuple[str, ...] = ()


class ReloadEffect(Enum):
    """What happens at a reload: of Mosquitto 2.0, of 2.1, and of one of them. The worst is first."""

    ACCESS_FOR_ALL = (
        "the next reload lets everyone read and write everything",
        "the next reload ends the broker",
        "the next reload ends Mosquitto 2.1, and with 2.0 lets everyone read and write everything",
    )
    ACCESS_FOR_NONE = (
        "the next reload lets nobody connect",
        "the next reload ends the broker",
        "the next reload ends Mosquitto 2.1, and with 2.0 lets nobody connect",
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
    effect: ReloadEffect
    found: str
    todo: str


def check_reload(files: Sequence[BrokerFile], account: Account | None, group: str, is_2_1: bool | None) -> CheckResult:
    """`account`: the broker's, None: not known; `group`: the name of its group. `is_2_1` None: not known."""
    problems = [problem for file in files for problem in _problems(file, account, group, is_2_1)]
    if not problems:
        if unseen := [file.unseen for file in files if file.unseen]:
            return unknown(CHECK, unseen[0], "run this as root on the broker's machine")
        return passed(CHECK, f"the broker can read its {len(files)} files at a reload")
    problems.sort(key=lambda each: list(ReloadEffect).index(each.effect))
    worst = problems[0]
    more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
    found = f"{worst.effect.for_version(is_2_1)}: {'; '.join(each.found for each in problems[:SHOWN])}{more}"
    todos = dict.fromkeys(each.todo for each in problems[:SHOWN])
    return CheckResult(CHECK, _level(worst.effect, is_2_1), found, "; ".join(todos))


def _level(effect: ReloadEffect, is_2_1: bool | None) -> Level:
    if effect is ReloadEffect.WARNS or (effect is ReloadEffect.ENDS and is_2_1 is False):
        return Level.WARN
    return Level.FAIL


def _problems(file: BrokerFile, account: Account | None, group: str, is_2_1: bool | None) -> Iterator[Problem]:
    name = f"{file.option} {file.path}"
    effects = {"acl_file": ReloadEffect.ACCESS_FOR_ALL, "password_file": ReloadEffect.ACCESS_FOR_NONE}
    absent = effects.get(file.option, ReloadEffect.ENDS)
    if file.problem:
        yield Problem(absent, f"{name} {file.problem}", "edge-gateway devices init makes what is missing")
        return
    if file.link and file.option in USER_FILES:
        yield Problem(ReloadEffect.ENDS, f"{name} is a symbolic link", "name the file itself in mosquitto.conf")
    if account is not None and file.access.mode and not _may_read(account, file):
        yield Problem(absent, f"{name} cannot be read by {account.name}", f"chown {account.name}:{group} {file.path}")
    for mistake in file.mistakes:
        effect = ReloadEffect.ACCESS_FOR_ALL if file.option == "acl_file" else ReloadEffect.ENDS
        yield Problem(effect, f"{file.path} {mistake}", "correct these lines, or remove them")
    if is_2_1 is False and file.long_salts:
        user = file.long_salts[0]
        found = f"{file.path}: the password of {user} is written as Mosquitto 2.1 does, and 2.0 ignores it"
        yield Problem(ReloadEffect.ENDS, found, "set it with the broker's own mosquitto_passwd")
    yield from _warnings(name, file, account, group)


def _warnings(name: str, file: BrokerFile, account: Account | None, group: str) -> Iterator[Problem]:
    """Of files with passwords, rules or a private key. Mosquitto 2.1 warns of public files, and of other owners."""
    if file.option not in (*USER_FILES, "keyfile"):
        return
    if file.access.mode & READ:
        yield Problem(ReloadEffect.WARNS, f"{name} can be read by everyone on this machine", f"chmod 0600 {file.path}")
    if account is None or account.number == 0 or file.option not in USER_FILES or not _may_read(account, file):
        return
    if (file.access.owner, file.access.group) != (account.number, account.group):
        found = f"{name} belongs to another account or group than the broker's ({account.name})"
        yield Problem(ReloadEffect.WARNS, found, f"chown {account.name}:{group} {file.path}")


def _may_read(account: Account, file: BrokerFile) -> bool:
    return _may(READ, account, file.access) and all(_may(EXECUTE, account, each) for each in file.folders)


def _may(bit: int, account: Account, access: FileAccess) -> bool:
    if account.number == 0:
        return True
    if access.owner == account.number:
        return bool(access.mode & bit << 6)
    if access.group in account.groups:
        return bool(access.mode & bit << 3)
    return bool(access.mode & bit)
