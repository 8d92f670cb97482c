"""Reads the broker's files. Decides nothing."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.checks.reload import Account, BrokerFile, FileAccess
from gateway.doctor.parsers import acl_file, mosquitto_conf, password_file
from gateway.doctor.parsers.acl_file import Acl
from gateway.doctor.parsers.mosquitto_conf import MosquittoConf
from gateway.doctor.parsers.password_file import PasswordUsers
from gateway.doctor.result import ProbeFailure
from gateway.errors import ConfigError, explain

DEFAULT_ACCOUNT = "mosquitto"
TLS_OPTIONS = ("cafile", "certfile", "keyfile", "crlfile")


def read_conf(path: Path) -> MosquittoConf:
    """With the files of each `include_dir` in its place. Raises ConfigError where one cannot be read."""
    try:
        return mosquitto_conf.parse(_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"--conf {explain(error, path)}"]) from error


def _lines(path: Path) -> Iterator[str]:
    for line in path.read_text("utf-8").splitlines():
        name, _, folder = line.strip().partition(" ")
        if name == "include_dir":
            for included in sorted((path.parent / folder.strip()).glob("*.conf")):
                yield from _lines(included)
        else:
            yield line


def read_acl(path: str) -> Acl | ProbeFailure:
    """The rules of an acl_file, or why it cannot be read from here."""
    text = _read_text(path)
    return text if isinstance(text, ProbeFailure) else acl_file.parse(text)


def read_password_file(path: str) -> PasswordUsers | ProbeFailure:
    """The users of a password_file, or why it cannot be read from here."""
    text = _read_text(path)
    return text if isinstance(text, ProbeFailure) else password_file.parse(text)


def read_secret(path: Path) -> str | None:
    """The first line of a file; None where it cannot be read."""
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _read_text(path: str) -> str | ProbeFailure:
    """Bytes that are not UTF-8 are replaced: the broker cannot read such a line either."""
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError as error:
        return ProbeFailure(f"{path} cannot be read from here ({error.strerror or error})")


def broker_account(conf: MosquittoConf) -> Account | None:
    """The account under which the broker runs. None: only root can know, or this machine has no such account."""
    if os.geteuid() != 0:
        return None  # a broker that another user starts keeps that user's account
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


def read_reloaded_files(
    conf: MosquittoConf, acl: Acl | ProbeFailure | None, users: PasswordUsers | ProbeFailure | None
) -> list[BrokerFile]:
    """Each file that the broker reads at a reload. `acl`, `users`: the only such file, where it was read already."""
    files = []
    for option, known, read in (("password_file", users, read_password_file), ("acl_file", acl, read_acl)):
        files += [_inspect(option, path, known or read(path)) for path in conf.paths(option)]
    files += [_inspect(option, path, _pem(path)) for option in TLS_OPTIONS for path in conf.paths(option)]
    return files


def _pem(path: str) -> PasswordUsers | ProbeFailure:
    text = _read_text(path)
    if isinstance(text, ProbeFailure):
        return text
    return PasswordUsers(mistakes=() if "-----BEGIN " in text else ("holds no PEM",))


def _inspect(option: str, path: str, content: Acl | PasswordUsers | ProbeFailure) -> BrokerFile:
    file = Path(path)
    try:
        link, status = file.is_symlink(), file.stat()
        folders = tuple(_access(each.stat()) for each in file.resolve().parents)
    except FileNotFoundError:
        here = file.is_absolute() and file.parent.is_dir()  # else it is another machine that has this file
        return BrokerFile(option, path, "is missing" if here else "", "" if here else f"{path} is not on this machine")
    except OSError as error:
        return BrokerFile(option, path, unseen=f"{path} cannot be seen from here ({error.strerror})")
    if not stat.S_ISREG(status.st_mode):
        return BrokerFile(option, path, problem="is not a file", link=link)
    if isinstance(content, ProbeFailure):
        return BrokerFile(option, path, unseen=content.detail, link=link, access=_access(status), folders=folders)
    salts = content.long_salts if isinstance(content, PasswordUsers) else ()
    return BrokerFile(option, path, "", "", link, _access(status), folders, content.mistakes, salts)


def _access(status: os.stat_result) -> FileAccess:
    return FileAccess(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
