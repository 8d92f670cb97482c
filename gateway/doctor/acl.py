"""Mosquitto's acl_file: who may read and write what. Pure: the text is handed in.

By the rules of mosquitto.conf(5): a user's own lines first, then the patterns; among each, what denies first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Access: TypeAlias = Literal["read", "write"]

_GRANTS = {"read": {"read"}, "write": {"write"}, "readwrite": {"read", "write"}, "deny": set[str]()}


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. `pattern`: it holds for everyone, with %u and %c filled in; else `user` is whose it is (None: those
    without a name). `grants`: what it allows; nothing: it denies."""

    filter: str
    grants: frozenset[str]
    user: str | None = None
    pattern: bool = False

    def covers(self, user: str | None, client_id: str, topic: str) -> bool:
        """Whether it says anything of this topic for this client."""
        if not self.pattern:
            return self.user == user and matches(self.filter, topic)
        if user is None and "%u" in self.filter:
            return False
        return matches(self.filter.replace("%c", client_id).replace("%u", user or ""), topic)


def read(text: str) -> tuple[Rule, ...]:
    """The rules of a file. Lines that say nothing of topics are left out."""
    rules = []
    user = None
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "user":
            user = rest.strip()
        elif word in ("topic", "pattern"):
            first, _, after = rest.strip().partition(" ")
            grants, found = (_GRANTS[first], after.strip()) if first in _GRANTS else ({"read", "write"}, rest.strip())
            rules.append(Rule(found, frozenset(grants), user, word == "pattern"))
    return tuple(rules)


def allowed(rules: Iterable[Rule], user: str | None, client_id: str, access: Access, topic: str) -> bool:
    """Whether a client of that name and id may `access` the topic."""
    said = [rule for rule in rules if rule.covers(user, client_id, topic)]
    for pattern in (False, True):
        mine = [rule for rule in said if rule.pattern is pattern]
        if any(not rule.grants for rule in mine):
            return False
        if any(access in rule.grants for rule in mine):
            return True
    return False


def matches(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT topic filter matches a topic."""
    if topic.startswith("$") != topic_filter.startswith("$"):
        return False
    levels, wanted = topic.split("/"), topic_filter.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(levels) == len(wanted) and all(want in ("+", level) for want, level in zip(wanted, levels, strict=True))
