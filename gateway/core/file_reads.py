"""What a device may read of model files: blocks of its own plan's files, within the protocol's limits.

A read is acknowledged at once: a device that misses blocks asks again.
"""

from gateway.core.device_state import DeviceState, PendingRead
from gateway.core.effects import Effects, SendBlocks
from gateway.errors import Code
from gateway.protocol import MAX_BLOCK_BYTES, MAX_BLOCKS, Read

ASK_AGAIN = 1.0
"""Seconds after a call that a read caused, in which no other read causes one: heartbeats wait behind that call."""
TOTAL_BYTES = 5
"""Of a file's size in a block, at most: it is not known when a read is checked."""
EXPIRY_BYTES = 5
"""Of the packet of a block, beside topic and payload: its message expiry interval (MQTT 5, 3.3.2.3.3)."""


def limit_violation(read: Read, max_payload: int | None, room: int) -> str | None:
    """The limit of the protocol that a read breaks, as text; None: it breaks none. `room`: bytes that the broker's
    largest packet leaves for the payload, without properties."""
    room -= EXPIRY_BYTES
    if not 1 <= read.length <= MAX_BLOCK_BYTES:
        return f"length: {read.length} where 1 to {MAX_BLOCK_BYTES} bytes belong"
    if not 1 <= read.count <= MAX_BLOCKS:
        return f"count: {read.count} where 1 to {MAX_BLOCKS} blocks belong"
    overhead = block_overhead(read)
    if max_payload is not None and overhead + read.length > max_payload:
        return f"length: {read.length} and {overhead} bytes around it exceed max_payload {max_payload}"
    if overhead + read.length > room:
        return f"length: {read.length} and {overhead} bytes around it exceed the {room} that the broker's packets take"
    return None


def block_overhead(read: Read) -> int:
    """Bytes around the data of a block at most: the array's head, four uints and the head of the bin."""
    last = read.offset + read.length * (read.count - 1)
    head = 2 if read.length < 1 << 8 else 3 if read.length < 1 << 16 else 5
    return 1 + sum(map(_uint_bytes, (read.digest, read.index, last))) + TOTAL_BYTES + head


def _uint_bytes(number: int) -> int:
    """Of a uint in msgpack's shortest form."""
    if number < 128:
        return 1
    return 1 + next((size for size in (1, 2, 4) if number < 1 << 8 * size), 8)


def can_answer(state: DeviceState, read: Read, now: float) -> bool:
    """Whether the service need not be asked for the plan that is read."""
    plan = state.plan
    if plan is None:
        return False
    return plan.readable == read.digest or (plan.digest is not None and now - plan.asked_for_read < ASK_AGAIN)


def serve(effects: Effects, state: DeviceState, pending: PendingRead) -> None:
    """Answer a read by the plan that is known: blocks, or code 5."""
    read = pending.read
    files = state.plan.files if state.plan is not None and state.plan.readable == read.digest else ()
    file = files[read.index] if read.index < len(files) else None
    if file is not None:
        effects.append(SendBlocks(state.device, pending.delivery, file, read))
    else:
        detail = f"no plan {read.digest} with a file {read.index} is known"
        effects.report_error(pending.delivery, Code.UNKNOWN_PLAN, detail, state.max_payload)
