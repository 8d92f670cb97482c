"""How the addresses of a name are tried, by all that connect."""

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds until the next address of a name is tried beside those that have not answered (RFC 8305)."""
