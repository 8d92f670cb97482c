"""Reads the broker's own files. Decides nothing."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor import acl, conf, logins
from gateway.doctor.acl import Acl
from gateway.doctor.conf import Conf
from gateway.doctor.facts import Access, Account, BrokerFile, Fault
from gateway.doctor.logins import Logins
from gateway.errors import ConfigError

DEFAULT_ACCOUNT = "mosquitto"
TLS = ("cafile", "certfile", "keyfile", "crlfile")


def read_conf(path: Path) -> Conf:
    """With the files of each `include_dir` in its place. Raises ConfigError where one cannot be read."""
    try:
        return conf.read(_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"--conf {path}: cannot be read ({error})"]) from error


def _lines(path: Path) -> Iterator[str]:
    for line in path.read_text("utf-8").splitlines():
        name, _, folder = line.strip().partition(" ")
        if name == "include_dir":
            for included in sorted((path.parent / folder.strip()).glob("*.conf")):
                yield from _lines(included)
        else:
            yield line


def read_acl(path: str) -> Acl | Fault:
    """The rules of an acl_file, or why it cannot be read from here."""
    text = _text(path)
    return text if isinstance(text, Fault) else acl.read(text)


def read_logins(path: str) -> Logins | Fault:
    """The users of a password_file, or why it cannot be read from here."""
    text = _text(path)
    return text if isinstance(text, Fault) else logins.read(text)


def read_secret(path: Path) -> str | None:
    """The first line of a file; None where it cannot be read."""
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _text(path: str) -> str | Fault:
    """What is not UTF-8 is replaced: the broker cannot read such a line either."""
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError as error:
        return Fault(f"{path} cannot be read from here ({error.strerror or error})")


def account(conf: Conf) -> Account | None:
    """The account that the broker steps down to. None: only root can know, or this machine has no such account."""
    if os.geteuid() != 0:
        return None  # nor does a broker that somebody else starts step down to it
    try:
        entry = pwd.getpwnam(conf.options.get("user", DEFAULT_ACCOUNT))
    except KeyError:
        return None
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def group_name(number: int) -> str:
    """The name of a group; its number where it has none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def read_again(conf: Conf, rules: Acl | Fault | None, users: Logins | Fault | None) -> list[BrokerFile]:
    """Each file that the broker reads again at a reload. `rules`, `users`: what was read already, of the only one."""
    found = []
    for option in ("password_file", "acl_file"):
        known = users if option == "password_file" else rules
        for path in conf.paths(option):
            content = known if known is not None else (read_logins if option == "password_file" else read_acl)(path)
            found.append(_look(option, path, content))
    found += [_look(option, path, _pem(path)) for option in TLS for path in conf.paths(option)]
    return found


def _pem(path: str) -> Logins | Fault:
    text = _text(path)
    if isinstance(text, Fault):
        return text
    return Logins(mistakes=() if "-----BEGIN " in text else ("holds no PEM",))


def _look(option: str, path: str, content: Acl | Logins | Fault) -> BrokerFile:
    file = Path(path)
    try:
        link, found = file.is_symlink(), file.stat()
        folders = tuple(_access(each.stat()) for each in file.resolve().parents)
    except FileNotFoundError:
        here = file.is_absolute() and file.parent.is_dir()  # else it is another machine that has this file
        return BrokerFile(option, path, "is missing" if here else "", "" if here else f"{path} is not on this machine")
    except OSError as error:
        return BrokerFile(option, path, unseen=f"{path} cannot be seen from here ({error.strerror})")
    if not stat.S_ISREG(found.st_mode):
        return BrokerFile(option, path, fault="is no file", link=link)
    if isinstance(content, Fault):
        return BrokerFile(option, path, unseen=content.detail, link=link, access=_access(found), folders=folders)
    salts = content.long_salts if isinstance(content, Logins) else ()
    return BrokerFile(option, path, "", "", link, _access(found), folders, content.mistakes, salts)


def _access(found: os.stat_result) -> Access:
    return Access(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
