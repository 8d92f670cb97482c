"""What the demo observes: a PUBLISH at the broker, or a call from the gateway to the Edge Manager. Pure.

It also decodes what the gateway publishes, with the SDK's decoder. A size must never be an estimate.
"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from device_sdk.agent import unpack
from gateway.protocol import Channel, Device


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """A PUBLISH from the broker. `at`: seconds since the demo began."""

    at: float
    device: Device
    channel: Channel
    topic: str
    payload: bytes

    @property
    def device_name(self) -> str:
        return self.device.name

    @property
    def packet_bytes(self) -> int:
        """The size of the device's whole PUBLISH packet in MQTT 3.1.1 with QoS 1 (section 3.3)."""
        rest = 2 + len(self.topic.encode()) + 2 + len(self.payload)
        return 1 + _length_bytes(rest) + rest


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A call and its response. `head_bytes`: size of the request line and headers."""

    at: float
    operation: str
    request: bytes
    head_bytes: int
    status: int
    response: bytes

    @property
    def device_name(self) -> str:
        """DeviceName; empty if the request has none."""
        name = self.request_json.get("DeviceName", "")
        return name if isinstance(name, str) else ""

    @property
    def request_json(self) -> dict[str, Any]:
        return _json_object(self.request)

    @property
    def response_json(self) -> dict[str, Any]:
        return _json_object(self.response)

    @property
    def samples(self) -> int:
        """The number of samples in a SendHeartbeat."""
        models = self.request_json.get("Models") or ()
        lists = [self.request_json.get("AgentMetrics"), *[each.get("ModelMetrics") for each in models]]
        return sum(len(each) for each in lists if each)


Event: TypeAlias = PublishEvent | CallEvent


class BlockRange(NamedTuple):
    """The position of a block in a model file, in bytes."""

    offset: int
    total: int
    length: int

    @property
    def end(self) -> int:
        """The offset of the next block."""
        return self.offset + self.length


def decode_plan(payload: bytes) -> tuple[int, list[Any]]:
    """(digest, deployments). Raises ValueError."""
    digest, deployments = _decode_array(payload, 2)[:2]
    return digest, deployments


def decode_ack(payload: bytes) -> tuple[int | None, int, str | None]:
    """(seq, code, detail). Raises ValueError."""
    seq, code, _, *more = _decode_array(payload, 3)
    return seq, code, more[0] if more else None


def decode_block(payload: bytes) -> BlockRange:
    """Raises ValueError."""
    _, _, offset, total, data = _decode_array(payload, 5)[:5]
    return BlockRange(offset, total, len(data))


def _decode_array(payload: bytes, min_length: int) -> list[Any]:
    try:
        value = unpack(payload)
    except IndexError as error:
        raise ValueError("cut short") from error
    if not isinstance(value, (list, tuple)) or len(value) < min_length:
        raise ValueError(f"not an array of {min_length} or more")
    return list(value)


def _length_bytes(rest: int) -> int:
    """The size of MQTT's Remaining Length: seven bits a byte."""
    return max(1, (rest.bit_length() + 6) // 7)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
