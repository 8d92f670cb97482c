"""Mosquitto's acl_file: rights of the gateway and the operator, and one entry for each device. Text in, text out.

Each device has its own entry (`user fleet/device` and its topics) instead of one `pattern` with %u for all: since
Mosquitto 2.1 %u matches one level of a topic, and the user name of a device has two (eclipse-mosquitto/mosquitto issue
3520). It must never give a device the topics of another device, and never change lines of an operator.
"""

import re
from typing import Self

from gateway.protocol import Channel

FROM_DEVICE = (Channel.HELLO, Channel.HEARTBEAT, Channel.GET, Channel.READ, Channel.LIVE)
TO_DEVICE = (Channel.PLAN, Channel.ACK, Channel.BLOCK)

_HEAD = """\
# Rights of MQTT users. What is not allowed here is denied. Topics: {root}/FLEET/DEVICE/CHANNEL.
# `edge-gateway devices` adds and removes the entries of devices below (`user FLEET/DEVICE`). All other lines are yours:
# they stay as they are. Only this file separates the devices from each other.

# The gateway reads what devices publish and answers them. On `dead` it publishes rejected payloads. It deletes what the
# broker keeps for devices that are not registered any more: hello, live and plan.
user gateway
topic readwrite {root}/+/+/hello
topic read {root}/+/+/hb
topic read {root}/+/+/get
topic read {root}/+/+/read
topic readwrite {root}/+/+/live
topic write {root}/+/+/plan
topic write {root}/+/+/ack
topic write {root}/+/+/block
topic write {root}/+/+/dead
# How many messages the broker dropped: the gateway logs it and counts it in its metrics.
topic read $SYS/broker/publish/messages/dropped
# `edge-gateway doctor` publishes to itself here. Three levels: no topic of a device.
topic readwrite {root}/doctor/+

# A person or a tool that reads rejected payloads, and the broker's counters: only these show dropped messages.
user operator
topic read {root}/+/+/dead
topic read $SYS/broker/#

"""
_ROOT = re.compile(r"^[ \t]*topic +read +(\S[^\n]*)/\+/\+/hb\s*$", re.MULTILINE)
_RIGHTS = [*(("write", channel) for channel in FROM_DEVICE), *(("read", channel) for channel in TO_DEVICE)]


class AclFile:
    """The lines of one file in their order. `root`: the first level or levels of all topics, such as "edge".

    Raises ValueError if the root has wildcards, a line end, or slashes or spaces at its ends.
    """

    def __init__(self, root: str) -> None:
        if not root.strip("/ ") or root != root.strip("/ ") or set(root) & set("+#") or not root.isprintable():
            raise ValueError(f"{root!r} is not a root of topics: levels as site-1/edge, without + and #")
        self.root = root
        # In the order of the file: the lines of a device under its user name, other lines under a number.
        self._parts: dict[str | int, list[str]] = {}

    @classmethod
    def new(cls, root: str) -> Self:
        """A file without devices."""
        acl = cls(root)
        acl._parts = _split_entries(_HEAD.format(root=root))
        return acl

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError if no line lets the gateway read heartbeats: then the root is unknown."""
        match = _ROOT.search(text)
        if match is None:
            raise ValueError("it has no line `topic read ROOT/+/+/hb` for the gateway")
        acl = cls(match[1])
        acl._parts = _split_entries(text)
        return acl

    def __str__(self) -> str:
        return "".join(f"{line}\n" for lines in self._parts.values() for line in lines)

    def __contains__(self, user: str) -> bool:
        """Whether the device has its complete entry."""
        return set(self._entry(user)) <= {line.strip() for line in self._parts.get(user, ())}

    def users(self) -> list[str]:
        """User names of the devices that have an entry, complete or not."""
        return [user for user in self._parts if isinstance(user, str)]

    def grant(self, user: str) -> bool:
        """Add or complete a device's entry. False if it is complete already. Lines that were added by hand stay.

        Raises ValueError for a name that is not `fleet/device`, or has wildcards.
        """
        if user.count("/") != 1 or user != user.strip("/ ") or set(user) & set("+#") or not user.isprintable():
            raise ValueError(f"{user!r} is not the user name of a device")
        if user in self:
            return False
        lines = self._parts.setdefault(user, [])
        entry = self._entry(user)
        lines[:] = entry + [line for line in lines if line.strip() not in entry]
        return True

    def revoke(self, user: str) -> bool:
        """Remove a device's entry, with the lines that were added by hand. False if it has none."""
        return self._parts.pop(user, None) is not None

    def without_patterns(self) -> Self:
        """A copy without the `pattern` lines for all devices, which earlier versions shipped."""
        shipped = {f"pattern {access} {self.root}/%u/{channel}" for access, channel in _RIGHTS}
        acl = type(self)(self.root)
        for part, lines in self._parts.items():
            acl._parts[part] = [line for line in lines if line.strip() not in shipped]
        return acl

    def operator_lines(self) -> list[str]:
        """The lines that belong to no entry of a device: an operator may have written them."""
        return [
            line.strip()
            for part, lines in self._parts.items()
            for line in lines
            if line.strip() and not (isinstance(part, str) and line.strip() in self._entry(part))
        ]

    def patterns(self) -> list[str]:
        """The `pattern` lines with %u or %c: since Mosquitto 2.1 each of these matches one level of a topic."""
        lines = (line.strip() for lines in self._parts.values() for line in lines)
        return [line for line in lines if line.startswith("pattern ") and ("%u" in line or "%c" in line)]

    def _entry(self, user: str) -> list[str]:
        return [f"user {user}", *(f"topic {access} {self.root}/{user}/{channel}" for access, channel in _RIGHTS)]


def _split_entries(text: str) -> dict[str | int, list[str]]:
    """The lines of each device, and the lines between. Two entries of one device are joined.

    As for Mosquitto, only a newline ends a line, and white space at its ends has no meaning.
    """
    parts: dict[str | int, list[str]] = {}
    part: str | int = 0
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        word, _, rest = line.strip().partition(" ")
        if word == "user":
            # Only a device's user name has a slash.
            part = rest.strip() if "/" in rest else number
        if isinstance(part, str) and word not in ("user", "topic"):
            # It belongs to no user: a pattern is for all users, other lines are comments.
            parts[number] = [line]
        else:
            lines = parts.setdefault(part, [])
            if not (isinstance(part, str) and line in lines):
                lines.append(line)
    return parts
