"""Which files a mosquitto.conf names for users and their rights, and how it names another acl_file.

It must never change more of a configuration than that line.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ProvisioningError
from gateway.provisioning import atomic_files


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """`conf`: the file that names the acl_file `acl`; `passwords`: the password_files of the whole configuration."""

    conf: Path
    acl: Path
    passwords: tuple[Path, ...]


def find(conf: Path) -> BrokerFiles:
    """Look in `conf` and in what it includes.

    Raises OSError, and SiteError where that names no acl_file or several, or names files by relative paths.
    """
    texts = list(_texts(conf))
    found = [(path, acl) for path, text in texts for acl in _named("acl_file", text)]
    if len(found) != 1:
        named = ", ".join(f"{acl} in {path}" for path, acl in found) or "none"
        raise ProvisioningError(f"{conf} must name one acl_file, and names {named}")
    passwords = tuple(path for _, text in texts for path in _named("password_file", text))
    for path in (found[0][1], *passwords):
        if not path.is_absolute():
            raise ProvisioningError(
                f"{conf} names {path}: where that is depends on the folder in which the broker runs"
            )
    return BrokerFiles(*found[0], passwords)


def point_to(found: BrokerFiles, acl: Path) -> None:
    """Have the configuration name another acl_file. The file keeps its owner and mode. Raises OSError."""
    path = found.conf.resolve()
    status = path.stat()
    changed = _line("acl_file").sub(lambda line: line[1] + os.fsencode(acl), path.read_bytes())
    atomic_files.write(path, changed, stat.S_IMODE(status.st_mode), status)


def _line(option: str) -> re.Pattern[bytes]:
    return re.compile(rb"^([ \t]*%s[ \t]+)(\S.*?)(?=[ \t\r]*$)" % option.encode(), re.MULTILINE)


def _named(option: str, text: bytes) -> list[Path]:
    return [Path(os.fsdecode(value)) for _, value in _line(option).findall(text)]


def _texts(conf: Path) -> Iterator[tuple[Path, bytes]]:
    text = conf.read_bytes()
    yield conf, text
    for folder in _named("include_dir", text):
        for included in sorted((conf.parent / folder).glob("*.conf")):
            yield from _texts(included)
