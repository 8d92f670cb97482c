"""Mosquitto's acl_file: who may read and write what. Pure.

By the rules of mosquitto.conf(5): a user's own lines first, then the patterns; among each, what denies first.

What `%u` and `%c` match in a pattern depends on the version (tried with 2.0.11, 2.0.21 and 2.1.2). In 2.0 they are
replaced as text, so a user name `fleet/device` spans two levels of the topic. Since 2.1 they match one level that is
equal to the whole name: a name with a slash matches nowhere, no name matches the beginning of a level, and in a level
that holds more than `%u` they are plain text. A line that it cannot read ends Mosquitto 2.1 at a reload; 2.0 then
continues without any rule, so that everyone may read and write everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Access: TypeAlias = Literal["read", "write"]

_GRANTS = {
    "read": frozenset({"read"}),
    "write": frozenset({"write"}),
    "readwrite": frozenset({"read", "write"}),
    "deny": frozenset[str](),
}
_KEYWORDS = ("user", "topic", "pattern")


class Rule(NamedTuple):
    """One line. `grants`: what it allows; empty: it denies."""

    filter: str
    grants: frozenset[str]


@dataclass(frozen=True, slots=True)
class Acl:
    """The rules of a file: each user's own (None: of clients without a user name), and the patterns, for everyone.

    `mistakes`: the lines that no broker can read, as "line 3: ...".
    """

    users: Mapping[str | None, tuple[Rule, ...]] = field(default_factory=dict)
    patterns: tuple[Rule, ...] = ()
    mistakes: tuple[str, ...] = ()

    def allowed(self, user: str | None, client_id: str, access: Access, topic: str, one_level: bool) -> bool:
        """Whether a client of that user name and id may `access` the topic. `one_level`: as Mosquitto 2.1 does."""
        own = [rule.grants for rule in self.users.get(user, ()) if matches(rule.filter, topic)]
        common = [rule.grants for rule in self.patterns if _applies(rule.filter, topic, user, client_id, one_level)]
        for grants in (own, common):
            if not all(grants):
                return False
            if any(access in each for each in grants):
                return True
        return False


def parse(text: str) -> Acl:
    """The rules of a file. Blank lines and comments are ignored."""
    users: dict[str | None, list[Rule]] = {}
    patterns: list[Rule] = []
    mistakes = []
    current: list[Rule] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if mistake := _mistake(word, rest):
            mistakes.append(f"line {number}: {mistake}")
        elif word == "user":
            current = users.setdefault(rest, [])
        else:
            if word == "topic" and current is None:
                current = users.setdefault(None, [])
            rules = patterns if word == "pattern" or current is None else current
            rules.append(_parse_rule(rest))
    return Acl({user: tuple(rules) for user, rules in users.items()}, tuple(patterns), tuple(mistakes))


def _parse_rule(rest: str) -> Rule:
    first, space, after = rest.partition(" ")
    if space and first in _GRANTS:
        return Rule(after.strip(), _GRANTS[first])
    return Rule(rest, _GRANTS["readwrite"])


def _mistake(word: str, rest: str) -> str:
    """Why the broker cannot read this line; empty where it can."""
    if word not in _KEYWORDS:
        return f"unknown word {word[:20]!r}"
    if not rest:
        return f"{word} without a name" if word == "user" else f"{word} without a topic"
    if word == "user":
        return ""
    first, space, _ = rest.partition(" ")
    if space and first not in _GRANTS:
        return f"unknown access {first[:20]!r}"
    topic_filter = _parse_rule(rest).filter
    return "" if _is_filter(topic_filter) else f"{topic_filter[:40]!r} is not a topic filter"


def _is_filter(text: str) -> bool:
    if "+" not in text and "#" not in text:
        return True
    *head, last = text.split("/")
    return (last == "#" or "#" not in last) and all(
        level == "+" or ("+" not in level and "#" not in level) for level in [*head, "" if last == "#" else last]
    )


def matches(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT topic filter matches a topic."""
    return topic_filter == topic or _levels_match(topic_filter.split("/"), topic.split("/"))


def _applies(pattern: str, topic: str, user: str | None, client_id: str, one_level: bool) -> bool:
    """Whether a pattern matches a topic for this client."""
    if "%u" in pattern and user is None:
        return False
    if one_level:
        names = {"%u": user or "", "%c": client_id}
        return _levels_match([names.get(level, level) for level in pattern.split("/")], topic.split("/"))
    return matches(pattern.replace("%c", client_id).replace("%u", user or ""), topic)


def _levels_match(pattern: list[str], levels: list[str]) -> bool:
    if levels[0].startswith("$") != pattern[0].startswith("$"):
        return False
    if pattern[-1] == "#":
        pattern = pattern[:-1]
        levels = levels[: len(pattern)]
    pairs = zip(pattern, levels, strict=True)
    return len(levels) == len(pattern) and all(want in ("+", level) for want, level in pairs)
