"""What a device may read of model files: blocks of the definitions of its own plan, within the protocol's limits.

A windowless part of the core. A read is settled at once: a device that misses blocks asks again.
"""

from collections.abc import Iterator

from gateway.effects import Effect, SendBlocks
from gateway.errors import Code
from gateway.mailbox import Mailbox, PendingRead
from gateway.messages import BLOCK_OVERHEAD, LARGEST_BLOCK, MOST_BLOCKS, Moment, Read
from gateway.replies import complaint

ASK_AGAIN = 1.0
"""Seconds after an answer of the service for which reads of other plans do not make it be asked: heartbeats wait behind
such a call."""


def fault(read: Read, max_payload: int | None) -> str | None:
    """What of a read breaks the protocol's limits."""
    if not 1 <= read.length <= LARGEST_BLOCK:
        return f"length: {read.length} where 1 to {LARGEST_BLOCK} bytes belong"
    if not 1 <= read.count <= MOST_BLOCKS:
        return f"count: {read.count} where 1 to {MOST_BLOCKS} blocks belong"
    if max_payload is not None and read.length + BLOCK_OVERHEAD > max_payload:
        return f"length: {read.length} and {BLOCK_OVERHEAD} bytes around it exceed max_payload {max_payload}"
    return None


def answerable(box: Mailbox, read: Read, now: Moment) -> bool:
    """Whether the service need not be asked for the plan that is read."""
    memory = box.plan
    if memory is None:
        return False
    return memory.readable == read.digest or (memory.digest is not None and now.mono - memory.asked < ASK_AGAIN)


def served(box: Mailbox, pending: PendingRead, now: Moment) -> Iterator[Effect]:
    """Answer a read by the plan that is known: blocks, or code 5."""
    ticket, read = pending.ticket, pending.read
    files = box.plan.files if box.plan is not None and box.plan.readable == read.digest else ()
    file = files[read.index] if read.index < len(files) else None
    if file is not None:
        yield SendBlocks(box.device, ticket, file, read)
    else:
        detail = f"no plan {read.digest} with a file {read.index} is known"
        yield from complaint(ticket, Code.UNKNOWN_PLAN, detail, now, box.max_payload)
