"""Reads the broker's own files. Decides nothing."""

from collections.abc import Iterator
from pathlib import Path

from gateway.doctor import acl, conf
from gateway.doctor.acl import Rule
from gateway.doctor.conf import Conf
from gateway.doctor.facts import Fault
from gateway.errors import ConfigError


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


def read_acl(path: str) -> tuple[Rule, ...] | Fault:
    """The rules of an acl_file, or why it cannot be read from here."""
    try:
        return acl.read(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return Fault(f"{path} cannot be read from here ({error})")
