"""Mosquitto's acl_file: what the gateway and the operator may do, and an entry for each device. Text in, text out.

A device has an entry of its own (`user fleet/device` and its topics), and no `pattern` with %u serves for all: since
Mosquitto 2.1 %u matches one level of a topic, and the user name of a device has two (eclipse-mosquitto/mosquitto issue
3520). It must never write a line that gives a device the topics of another, and never change a line that is no
device's: those are an operator's.
"""

import re
from typing import Self

from gateway.protocol.topics import Channel

FROM_DEVICE = (Channel.HELLO, Channel.HEARTBEAT, Channel.GET, Channel.READ)
TO_DEVICE = (Channel.PLAN, Channel.ACK, Channel.BLOCK)

_HEAD = """\
# Who may do what, by MQTT user name; what is not allowed here is denied. Topics: {root}/FLEET/DEVICE/CHANNEL.
# `edge-gateway devices` adds and removes the entries of devices below (`user FLEET/DEVICE`). All other lines are yours:
# they stay as they are. This file is the whole of authentication between devices.

# The gateway reads what devices publish and answers them. On `dead` it publishes what it refused.
user gateway
topic read {root}/+/+/hello
topic read {root}/+/+/hb
topic read {root}/+/+/get
topic read {root}/+/+/read
topic write {root}/+/+/plan
topic write {root}/+/+/ack
topic write {root}/+/+/block
topic write {root}/+/+/dead
# Where `edge-gateway doctor` publishes to itself. Three levels: no topic of a device.
topic readwrite {root}/doctor/+

# A person or a tool that reads refused payloads, and the broker's own counters: dropped messages show nowhere else.
user operator
topic read {root}/+/+/dead
topic read $SYS/broker/#

"""
_ROOT = re.compile(r"^[ \t]*topic +read +(\S[^\n]*)/\+/\+/hb\s*$", re.MULTILINE)
_RIGHTS = [*(("write", channel) for channel in FROM_DEVICE), *(("read", channel) for channel in TO_DEVICE)]


class AclFile:
    """The lines of one file in their order. `root`: of the topics, "edge" or several levels.

    Raises ValueError for a root that would make a filter of more than its topics, or of another line.
    """

    def __init__(self, root: str) -> None:
        if not root.strip("/ ") or root != root.strip("/ ") or set(root) & set("+#") or not root.isprintable():
            raise ValueError(f"{root!r} is no root of topics")
        self.root = root
        # A device's lines by its user name, and between them the other lines by a number, in the order of the file.
        self._parts: dict[str | int, list[str]] = {}

    @classmethod
    def new(cls, root: str) -> Self:
        """A file without devices."""
        made = cls(root)
        made._parts = _parts(_HEAD.format(root=root))
        return made

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError where the gateway may not read heartbeats: then the topics' root is not known."""
        found = _ROOT.search(text)
        if found is None:
            raise ValueError("it has no line `topic read ROOT/+/+/hb` for the gateway")
        made = cls(found[1])
        made._parts = _parts(text)
        return made

    def __str__(self) -> str:
        return "".join(f"{line}\n" for lines in self._parts.values() for line in lines)

    def __contains__(self, user: str) -> bool:
        """Whether the device has its whole entry."""
        return set(self._entry(user)) <= {line.strip() for line in self._parts.get(user, ())}

    def users(self) -> list[str]:
        """The devices that have an entry, whole or not: `fleet/device` each."""
        return [user for user in self._parts if isinstance(user, str)]

    def grant(self, user: str) -> bool:
        """Give a device its entry. False where it has that already. Lines that were added to it by hand stay.

        Raises ValueError for a name that is not `fleet/device`, or could stand for others' topics in a filter.
        """
        if user.count("/") != 1 or user != user.strip("/ ") or set(user) & set("+#") or not user.isprintable():
            raise ValueError(f"{user!r} is no user name of a device")
        if user in self:
            return False
        known = self._parts.setdefault(user, [])
        entry = self._entry(user)
        known[:] = entry + [line for line in known if line.strip() not in entry]
        return True

    def revoke(self, user: str) -> bool:
        """Take a device's entry away, lines that were added to it by hand included. False where it has none."""
        return self._parts.pop(user, None) is not None

    def without_patterns(self) -> Self:
        """The same without the lines that served for all devices in the files of earlier versions."""
        served = {f"pattern {access} {self.root}/%u/{channel}" for access, channel in _RIGHTS}
        made = type(self)(self.root)
        made._parts = {
            part: [line for line in lines if line.strip() not in served] for part, lines in self._parts.items()
        }
        return made

    def others(self) -> list[str]:
        """The lines that an operator may have written: those of no device, and of its own lines what no entry has."""
        return [
            line.strip()
            for part, lines in self._parts.items()
            for line in lines
            if line.strip() and not (isinstance(part, str) and line.strip() in self._entry(part))
        ]

    def patterns(self) -> list[str]:
        """The lines with %u or %c that are left: since Mosquitto 2.1 each of these matches one level of a topic."""
        lines = (line.strip() for lines in self._parts.values() for line in lines)
        return [line for line in lines if line.startswith("pattern ") and ("%u" in line or "%c" in line)]

    def _entry(self, user: str) -> list[str]:
        return [f"user {user}", *(f"topic {access} {self.root}/{user}/{channel}" for access, channel in _RIGHTS)]


def _parts(text: str) -> dict[str | int, list[str]]:
    """Split a file where the lines of a device begin and end. Entries that stand twice for one device are joined.

    A line ends where it does for Mosquitto: at a newline alone. White space at its ends means nothing.
    """
    parts: dict[str | int, list[str]] = {}
    part: str | int = 0
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        word, _, rest = line.strip().partition(" ")
        if word == "user":
            # Only a device's user name has a slash.
            part = rest.strip() if "/" in rest else number
        if isinstance(part, str) and word not in ("user", "topic"):
            # It belongs to nobody, wherever it stands: a pattern holds for all, the rest is for people.
            parts[number] = [line]
        else:
            lines = parts.setdefault(part, [])
            if not (isinstance(part, str) and line in lines):
                lines.append(line)
    return parts
