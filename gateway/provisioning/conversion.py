"""Finds the acl_file and the password_files in a mosquitto.conf, and changes the path of the acl_file.

It must never change anything else of a configuration.
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


def find_broker_files(conf: Path) -> BrokerFiles:
    """Read `conf` and the files that it includes.

    Raises OSError, and ProvisioningError if they name no acl_file or several, or have relative paths.
    """
    texts = list(_read_all(conf))
    found = [(path, acl) for path, text in texts for acl in _values("acl_file", text)]
    if len(found) != 1:
        named = ", ".join(f"{acl} in {path}" for path, acl in found) or "none"
        raise ProvisioningError(f"{conf} must name one acl_file, and names {named}")
    passwords = tuple(path for _, text in texts for path in _values("password_file", text))
    for path in (found[0][1], *passwords):
        if not path.is_absolute():
            why = "where that is depends on the folder in which the broker runs"
            raise ProvisioningError(f"{conf} names {path}: {why}")
    return BrokerFiles(*found[0], passwords)


def set_acl_file(files: BrokerFiles, acl: Path) -> None:
    """Change the path of the acl_file. The configuration file keeps its owner and mode. Raises OSError."""
    path = files.conf.resolve()
    status = path.stat()
    changed = _line_pattern("acl_file").sub(lambda line: line[1] + os.fsencode(acl), path.read_bytes())
    atomic_files.write(path, changed, stat.S_IMODE(status.st_mode), status)


def _line_pattern(option: str) -> re.Pattern[bytes]:
    return re.compile(rb"^([ \t]*%s[ \t]+)(\S.*?)(?=[ \t\r]*$)" % option.encode(), re.MULTILINE)


def _values(option: str, text: bytes) -> list[Path]:
    return [Path(os.fsdecode(value)) for _, value in _line_pattern(option).findall(text)]


def _read_all(conf: Path) -> Iterator[tuple[Path, bytes]]:
    text = conf.read_bytes()
    yield conf, text
    for folder in _values("include_dir", text):
        for included in sorted((conf.parent / folder).glob("*.conf")):
            yield from _read_all(included)
