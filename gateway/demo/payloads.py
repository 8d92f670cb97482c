"""What the gateway tells devices, read by the SDK's own reader: plans, acks and blocks.

Pure. Raises ValueError where a payload is not of the protocol.
"""

from typing import Any, NamedTuple

from device_sdk.agent import unpack


class Block(NamedTuple):
    """A piece of a model file; all in bytes."""

    offset: int
    total: int
    length: int

    @property
    def end(self) -> int:
        """Where the next block begins."""
        return self.offset + self.length


def plan(payload: bytes) -> tuple[int, list[Any]]:
    """(digest, deployments)."""
    digest, deployments = _array(payload, 2)[:2]
    return digest, deployments


def ack(payload: bytes) -> tuple[int | None, int, str | None]:
    """(seq, code, detail)."""
    seq, code, _, *more = _array(payload, 3)
    return seq, code, more[0] if more else None


def block(payload: bytes) -> Block:
    """Where it belongs; its bytes are left alone."""
    _, _, offset, total, data = _array(payload, 5)[:5]
    return Block(offset, total, len(data))


def _array(payload: bytes, least: int) -> list[Any]:
    try:
        value = unpack(payload)
    except IndexError as error:
        raise ValueError("cut short") from error
    if not isinstance(value, (list, tuple)) or len(value) < least:
        raise ValueError(f"an array of {least} belongs here")
    return list(value)
