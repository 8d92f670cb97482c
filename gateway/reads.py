"""What a device may read of model files: blocks of the definitions of its own plan, within the protocol's limits.

A windowless part of the core. A read is settled at once: a device that misses blocks asks again.
"""

from collections.abc import Iterator

from gateway.effects import Effect, SendBlocks
from gateway.errors import Code
from gateway.mailbox import Mailbox, PendingRead
from gateway.messages import BLOCK_OVERHEAD, Moment, Read
from gateway.replies import complaint

LONGEST = 65_536
"""Bytes of a block at most."""
MOST = 64
"""Blocks of one read at most."""


def fault(read: Read, max_payload: int | None) -> str | None:
    """What of a read breaks the protocol's limits."""
    if not 1 <= read.length <= LONGEST:
        return f"length: {read.length} where 1 to {LONGEST} bytes belong"
    if not 1 <= read.count <= MOST:
        return f"count: {read.count} where 1 to {MOST} blocks belong"
    if max_payload is not None and read.length + BLOCK_OVERHEAD > max_payload:
        return f"length: {read.length} and {BLOCK_OVERHEAD} bytes around it exceed max_payload {max_payload}"
    return None


def knows(box: Mailbox, read: Read) -> bool:
    """Whether the service need not be asked for the plan that is read."""
    return box.plan is not None and box.plan.readable == read.digest


def served(box: Mailbox, pending: PendingRead, now: Moment) -> Iterator[Effect]:
    """Answer a read by the plan that is known: blocks, or code 5."""
    ticket, read = pending.ticket, pending.read
    files = box.plan.files if box.plan is not None and knows(box, read) else ()
    file = files[read.index] if read.index < len(files) else None
    if file is not None:
        yield SendBlocks(box.device, ticket, file, read)
    else:
        detail = f"no plan {read.digest} with a file {read.index} is known"
        yield from complaint(ticket, Code.UNKNOWN_PLAN, detail, now, box.max_payload)
