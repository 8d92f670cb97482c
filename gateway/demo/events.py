"""What can be seen on the way of a message: a PUBLISH at the broker, a call between gateway and Edge Manager.

Values alone. Sizes are those of what was seen; nothing here may be estimated.
"""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.protocol.messages import Device
from gateway.protocol.topics import Channel


@dataclass(frozen=True, slots=True)
class Message:
    """A PUBLISH that the broker handed on. `at`: seconds since the demo began."""

    at: float
    device: Device
    channel: Channel
    topic: str
    payload: bytes

    @property
    def packet(self) -> int:
        """Bytes of the whole PUBLISH packet as a device sends or takes it: MQTT 3.1.1 with QoS 1 (there, 3.3)."""
        rest = 2 + len(self.topic.encode()) + 2 + len(self.payload)
        return 1 + _length_bytes(rest) + rest


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the gateway and its answer. `head`: bytes of the request line and headers."""

    at: float
    operation: str
    request: bytes
    head: int
    status: int
    answer: bytes

    @property
    def device(self) -> str:
        """DeviceName; empty where the request names none."""
        name = self.body.get("DeviceName", "")
        return name if isinstance(name, str) else ""

    @property
    def body(self) -> dict[str, Any]:
        """The request's JSON."""
        return _object(self.request)

    @property
    def answered(self) -> dict[str, Any]:
        """The answer's JSON."""
        return _object(self.answer)

    @property
    def samples(self) -> int:
        """How many samples of metrics a SendHeartbeat carries."""
        lists = [self.body.get("AgentMetrics"), *[each.get("ModelMetrics") for each in self.body.get("Models") or ()]]
        return sum(len(each) for each in lists if each)


Sighting: TypeAlias = Message | Call


def _length_bytes(rest: int) -> int:
    """Of MQTT's Remaining Length: seven bits a byte."""
    return max(1, (rest.bit_length() + 6) // 7)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
