"""Mosquitto's password_file: its users, and the lines that no broker can read. Pure. It keeps no password.

Mosquitto 2.0 ignores a line that it cannot read, and of a user with two lines it takes the last; 2.1 ends at a reload,
and does not start. Both ignore a line without a colon.
"""

import re
from dataclasses import dataclass

_SALT_2_0, _SALT_2_1, _HASH = r"[\w+/]{16}", r"[\w+/]{86}==", r"[\w+/]{86}=="
"""12, 64 and 64 bytes in base64: the only lengths that were read when tried with 2.0.21 and 2.1.2."""
_HASHED = re.compile(rf"\$(?:6|7\$[1-9]\d{{0,9}})\$(?:{_SALT_2_0}|(?P<long>{_SALT_2_1}))\${_HASH}(?![\w+/=])", re.ASCII)
_ARGON2 = "$argon2"
"""The beginning of a hash that only a broker with Argon2 reads."""


@dataclass(frozen=True, slots=True)
class PasswordUsers:
    """`users`: in the order of the file. `mistakes`: as "line 3: ...". `long_salts`: users that only 2.1 reads."""

    users: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    long_salts: tuple[str, ...] = ()


def parse(text: str) -> PasswordUsers:
    first: dict[str, int] = {}
    mistakes = []
    long_salts = []
    for number, line in enumerate(text.split("\n"), 1):
        user, colon, hashed = line.strip().partition(":")
        if not colon or user.startswith("#"):
            continue
        found = _HASHED.match(hashed)
        if not user:
            mistakes.append(f"line {number}: no user name")
        elif user in first:
            mistakes.append(f"line {number}: {user} a second time (first in line {first[user]})")
        elif found is None and not hashed.startswith(_ARGON2):
            mistakes.append(f"line {number}: the password of {user} is not a hash that Mosquitto reads")
        elif found is not None and found["long"]:
            long_salts.append(user)
        first.setdefault(user, number)
    return PasswordUsers(tuple(filter(None, first)), tuple(mistakes), tuple(long_salts))
