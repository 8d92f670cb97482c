"""What an operator may decide in the quiet room, and what the protocol page decides there. Values only."""

from dataclasses import dataclass

UNREGISTERED_AT_MOST = 60.0
"""Seconds for which "not registered" is believed, whatever CacheTTL says."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide something here; times in seconds."""

    ask_registration: bool = True
    registered_values: frozenset[str] = frozenset({"registered", "true"})
    plan_ttl: float = 30.0
    hello_wait: float = 5.0
    merge_heartbeats: int = 100
    merge_bytes: int = 262_144
