"""Passwords as they are stored: hashes by scrypt, with their salt and parameters. It must never keep a password."""

import base64
import hashlib
import hmac
import secrets

LEAST = 12
"""Characters of a new password."""
MOST = 1024
"""Bytes of a password: more are never hashed."""
_COST, _BLOCK, _PARALLEL = 2**15, 8, 3
_MEMORY = 64 * 1024 * 1024
"""Bytes that a hash may take; these parameters take half of it."""
_LENGTH = 32
NOBODY = f"scrypt${_COST}${_BLOCK}${_PARALLEL}${'A' * 24}${'A' * 44}"
"""In place of the hash of a name that is unknown: no password fits, and to find that out takes as long."""


def hash_password(password: str) -> str:
    """Takes about a quarter of a second, and 32 MiB of memory."""
    salt = secrets.token_bytes(18)
    return (
        f"scrypt${_COST}${_BLOCK}${_PARALLEL}${_text(salt)}${_text(_scrypt(password, salt, _COST, _BLOCK, _PARALLEL))}"
    )


def is_password(password: str, stored: str) -> bool:
    """Whether `stored` is a hash of it. Takes as long as `hash_password`."""
    _, cost, block, parallel, salt, expected = stored.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, base64.b64decode(expected))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    given = password.encode()[: MOST + 1]
    return hashlib.scrypt(given, salt=salt, n=cost, r=block, p=parallel, maxmem=_MEMORY, dklen=_LENGTH)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
