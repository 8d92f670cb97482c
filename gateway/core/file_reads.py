"""What a device may read of model files: blocks of the definitions of its own plan, within the protocol's limits.

A windowless part of the core. A read is settled at once: a device that misses blocks asks again.
"""

from collections.abc import Iterator

from gateway.core.device_state import DeviceState, PendingRead
from gateway.core.effects import Effect, SendBlocks
from gateway.core.outcomes import complaint
from gateway.errors import Code
from gateway.protocol.messages import LARGEST_BLOCK, MOST_BLOCKS, Instant, Read

ASK_AGAIN = 1.0
"""Seconds after an answer that the service gave for a read's sake for which no other read makes it be asked: heartbeats
wait behind such a call."""
TOTAL_BYTES = 5
"""Of a file's size in a block's head, at most; it is not known yet where a read is judged."""


def fault(read: Read, max_payload: int | None) -> str | None:
    """What of a read breaks the protocol's limits."""
    if not 1 <= read.length <= LARGEST_BLOCK:
        return f"length: {read.length} where 1 to {LARGEST_BLOCK} bytes belong"
    if not 1 <= read.count <= MOST_BLOCKS:
        return f"count: {read.count} where 1 to {MOST_BLOCKS} blocks belong"
    head = around(read)
    if max_payload is not None and head + read.length > max_payload:
        return f"length: {read.length} and {head} bytes around it exceed max_payload {max_payload}"
    return None


def around(read: Read) -> int:
    """Bytes around the data of a block at most: the array's head, four uints and the head of the bin."""
    last = read.offset + read.length * (read.count - 1)
    head = 2 if read.length < 1 << 8 else 3 if read.length < 1 << 16 else 5
    return 1 + sum(map(_uint_bytes, (read.digest, read.index, last))) + TOTAL_BYTES + head


def _uint_bytes(number: int) -> int:
    """Of a uint in msgpack's shortest form."""
    if number < 128:
        return 1
    return 1 + next((size for size in (1, 2, 4) if number < 1 << 8 * size), 8)


def answerable(box: DeviceState, read: Read, now: Instant) -> bool:
    """Whether the service need not be asked for the plan that is read."""
    memory = box.plan
    if memory is None:
        return False
    return memory.readable == read.digest or (memory.digest is not None and now.mono - memory.sought < ASK_AGAIN)


def sought(box: DeviceState, pending: PendingRead, now: Instant) -> Iterator[Effect]:
    """The service was asked for the read's sake, and has answered."""
    if box.plan is not None:
        box.plan.sought = now.mono
    yield from served(box, pending, now)


def served(box: DeviceState, pending: PendingRead, now: Instant) -> Iterator[Effect]:
    """Answer a read by the plan that is known: blocks, or code 5."""
    ticket, read = pending.ticket, pending.read
    files = box.plan.files if box.plan is not None and box.plan.readable == read.digest else ()
    file = files[read.index] if read.index < len(files) else None
    if file is not None:
        yield SendBlocks(box.device, ticket, file, read)
    else:
        detail = f"no plan {read.digest} with a file {read.index} is known"
        yield from complaint(ticket, Code.UNKNOWN_PLAN, detail, now, box.max_payload)
