"""Mosquitto's password_file: reads and writes it without mosquitto_passwd.

A line is `user:$7$iterations$salt$hash`: PBKDF2 with HMAC-SHA512, salt and hash in base64. It must never write a line
that Mosquitto would read as that of another user, and never keep or log a password.
"""

import base64
import hashlib
import hmac
import os
from typing import Self

ITERATIONS = 101
"""As mosquitto_passwd. It is low because a broker checks a password at each connect. For long random passwords it is
enough."""
SALT_BYTES = 12
"""As mosquitto_passwd 2.0. Mosquitto 2.0 reads no other length; 2.1 reads it too."""
SALTS = (SALT_BYTES, 64)
"""mosquitto_passwd 2.1 writes the longer salts. They are read here, and never written."""
HASH_BYTES = 64
MAX_BYTES = 65_535
"""Of a user name or a password in MQTT's CONNECT (a length of two bytes)."""


def hash_line(user: str, password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """One line of the file, without the line end.

    Raises ValueError if the file or an ACL pattern cannot hold the user name, or Mosquitto could not read the line.
    """
    _check_user(user)
    secret = password.encode()
    if not 1 <= len(secret) <= MAX_BYTES:
        raise ValueError(f"password of {user!r}: {len(secret)} bytes, must be 1 to {MAX_BYTES}")
    if len(salt) not in SALTS:
        raise ValueError(f"salt: {len(salt)} bytes, must be {' or '.join(map(str, SALTS))}")
    if iterations < 1:
        raise ValueError(f"iterations: {iterations}, must be 1 or more")
    digest = hashlib.pbkdf2_hmac("sha512", secret, salt, iterations, HASH_BYTES)
    return f"{user}:$7${iterations}${_base64(salt)}${_base64(digest)}"


def new_hash_line(user: str, password: str) -> str:
    """`hash_line` with a new random salt, which every version of Mosquitto reads."""
    return hash_line(user, password, os.urandom(SALT_BYTES))


class PasswordFile:
    """The lines of one file. Lines that are not changed stay as they are. Raises as `hash_line` does."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self.had_duplicates = False
        """Whether a user had several lines when the file was read: Mosquitto 2.1 does not load such a file."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """If a user has several lines, the last is kept."""
        passwords = cls()
        for number, each in enumerate(text.split("\n")):
            if each.strip():
                key = f"#{number}" if each.startswith("#") else each.partition(":")[0]
                passwords.had_duplicates |= key in passwords._lines
                passwords._lines[key] = each
        return passwords

    def __contains__(self, user: str) -> bool:
        return user in self._lines

    def __str__(self) -> str:
        return "".join(f"{each}\n" for each in self._lines.values())

    def users(self) -> list[str]:
        return [user for user in self._lines if not user.startswith("#")]

    def set(self, user: str, password: str) -> None:
        self._lines[user] = new_hash_line(user, password)

    def remove(self, user: str) -> bool:
        """False if the user has no line."""
        return self._lines.pop(user, None) is not None

    def matches(self, user: str, password: str) -> bool:
        """Whether that is the user's password. False if the hash has another format."""
        known = self._lines.get(user, "")
        try:
            _, kind, iterations, salt, _ = known.split("$")
            expected = hash_line(user, password, base64.b64decode(salt), int(iterations))
        except ValueError:
            return False
        return kind == "7" and hmac.compare_digest(expected.encode(), known.encode())


def _check_user(user: str) -> None:
    if not 1 <= len(user.encode()) <= MAX_BYTES:
        raise ValueError(f"user name: {len(user.encode())} bytes, must be 1 to {MAX_BYTES}")
    if user != user.strip() or user.startswith("#"):
        raise ValueError(f"user name {user!r}: Mosquitto strips spaces at the ends and takes a leading # for a comment")
    if wrong := sorted({c for c in user if c in ":+#" or not c.isprintable()}):
        raise ValueError(f"user name {user!r}: must not hold {', '.join(map(repr, wrong))}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
