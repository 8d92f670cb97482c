"""The ends of a message: a receipt, or a refusal that the device hears and `dead` keeps. Settle is always the last."""

from collections.abc import Iterator

from gateway.core.device_state import Mailbox, Waiting, WaitingGet
from gateway.core.effects import Bury, Effect, Reply, Settle, Ticket
from gateway.errors import Code
from gateway.protocol.messages import Ack, Moment


def receipt(box: Mailbox, item: Waiting, now: Moment) -> Iterator[Effect]:
    """The cloud accepted it: an ack where one was asked for."""
    seq = _seq(item)
    if seq is not None:
        yield Reply(item.ticket, Ack(seq, Code.ACCEPTED, int(now.wall)), box.max_payload)
    yield Settle(item.ticket)


def refusal(
    ticket: Ticket, code: Code, detail: str, now: Moment, seq: int | None = None, max_payload: int | None = None
) -> Iterator[Effect]:
    """An error is sent even where no seq was given, so that a person at the desk sees it."""
    yield Reply(ticket, Ack(seq, code, int(now.wall), detail), max_payload)
    yield Bury(ticket, code, detail)
    yield Settle(ticket)


def complaint(ticket: Ticket, code: Code, detail: str, now: Moment, max_payload: int | None = None) -> Iterator[Effect]:
    """An error about a message that is settled already."""
    yield Reply(ticket, Ack(None, code, int(now.wall), detail), max_payload)
    yield Bury(ticket, code, detail)


def refusals(box: Mailbox, items: list[Waiting], code: Code, detail: str, now: Moment) -> Iterator[Effect]:
    """The same refusal for each of a device's messages."""
    for item in items:
        yield from refusal(item.ticket, code, detail, now, _seq(item), box.max_payload)


def _seq(item: Waiting) -> int | None:
    return item.get.seq if isinstance(item, WaitingGet) else item.heartbeat.seq
