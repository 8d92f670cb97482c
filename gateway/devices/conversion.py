"""Which files a mosquitto.conf names for users and their rights, and how it names another acl_file.

It must never change more of a configuration than that line.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.devices import files
from gateway.errors import SiteError


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """`conf`: the file that names the acl_file `acl`; `passwords`: the password_files of the whole configuration."""

    conf: Path
    acl: Path
    passwords: tuple[Path, ...]


def find(conf: Path) -> BrokerFiles:
    """Look in `conf` and in what it includes. Raises SiteError where that names no acl_file or several, OSError."""
    texts = list(_texts(conf))
    found = [(path, Path(name)) for path, text in texts for name in _line("acl_file").findall(text)]
    if len(found) != 1:
        named = ", ".join(f"{acl} in {path}" for path, acl in found) or "none"
        raise SiteError(f"{conf} must name one acl_file, and names {named}")
    passwords = tuple(Path(name) for _, text in texts for name in _line("password_file").findall(text))
    return BrokerFiles(*found[0], passwords)


def point_to(found: BrokerFiles, acl: Path) -> None:
    """Have the configuration name another acl_file. Raises OSError."""
    path = found.conf.resolve()
    changed = _line("acl_file").sub(lambda _: f"acl_file {acl}", path.read_text())
    files.write(path, changed.encode(), stat.S_IMODE(path.stat().st_mode))


def _line(option: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*{option}[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)


def _texts(conf: Path) -> Iterator[tuple[Path, str]]:
    text = conf.read_text()
    yield conf, text
    for folder in _line("include_dir").findall(text):
        for included in sorted((conf.parent / folder).glob("*.conf")):
            yield from _texts(included)
