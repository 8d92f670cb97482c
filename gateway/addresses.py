"""How the addresses of a name are tried, by all that connect."""

from ipaddress import ip_address

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds until the next address of a name is tried beside those that have not answered (RFC 8305)."""


def attempt_delay(host: str) -> float | None:
    """asyncio's `happy_eyeballs_delay`. None: `host` is an address, so there is no other one to be tried.

    Where such an attempt is cancelled as it succeeds, asyncio leaves its socket open until it is collected.
    """
    try:
        ip_address(host)
    except ValueError:
        return HAPPY_EYEBALLS_DELAY
    return None
