"""The broker's URL: host, port, TLS, user name and password.

It must never show a password: not in `repr`, not in `str`, not in the text of an error.
"""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""The schemes and their default ports, as IANA registered them."""

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODE = "a character like / ? # @ : % inside the user name or password is written percent-encoded"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """`tls`: whether the scheme is mqtts. User name and password are decoded."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `mqtt[s]://[user[:password]@]host[:port]`.

        Raises ValueError; its text holds no part of the URL: in a mistyped URL any part may be the password.
        """
        parts = _split(url)
        user, password = _credentials(parts)
        return cls(parts.hostname or "", _port(parts), parts.scheme == "mqtts", user, password)

    def __str__(self) -> str:
        user = "" if self.username is None else self.username + ("" if self.password is None else ":***") + "@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{host}:{self.port}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text repeats what may be the password
        parts = None
    if parts is None or any(char.isspace() or not char.isprintable() for char in url):
        raise ValueError(f"it cannot be read as a URL; {_ENCODE}")
    if parts.scheme not in PORTS:
        raise ValueError("it does not begin with mqtt:// or mqtts://")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"something follows the host and port; {_ENCODE}")
    if not parts.hostname:
        raise ValueError("the host is missing")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:  # its text repeats what may be the password
        port = 0
    if port == 0:
        raise ValueError(f"the port is not a number from 1 to 65535; {_ENCODE}")
    return port


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    user, password = _decoded(parts.username), _decoded(parts.password)
    if parts.netloc.count("@") > 1:
        raise ValueError(f"there is more than one @; {_ENCODE}")
    if password is not None and not user:
        raise ValueError("there is a password but no user name")
    return user or None, password


def _decoded(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        decoded = "\0"
    if "\0" in decoded or _BROKEN_ESCAPE.search(text):
        raise ValueError("the user name or password holds a %-sequence that is not UTF-8 text; a % itself is %25")
    return decoded
