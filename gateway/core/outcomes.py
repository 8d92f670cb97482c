"""The ends of a message: a receipt, or a refusal that the device hears and `dead` keeps. Settle is always the last."""

from collections.abc import Iterator

from gateway.core.device_state import DeviceState, Queued, QueuedGet
from gateway.core.effects import Acknowledge, DeadLetter, DeliveryToken, Effect, PublishAck
from gateway.errors import Code
from gateway.protocol.messages import Ack, Instant


def receipt(box: DeviceState, item: Queued, now: Instant) -> Iterator[Effect]:
    """The cloud accepted it: an ack where one was asked for."""
    seq = _seq(item)
    if seq is not None:
        yield PublishAck(item.ticket, Ack(seq, Code.ACCEPTED, int(now.wall)), box.max_payload)
    yield Acknowledge(item.ticket)


def refusal(
    ticket: DeliveryToken, code: Code, detail: str, now: Instant, seq: int | None = None, max_payload: int | None = None
) -> Iterator[Effect]:
    """An error is sent even where no seq was given, so that a person at the desk sees it."""
    yield PublishAck(ticket, Ack(seq, code, int(now.wall), detail), max_payload)
    yield DeadLetter(ticket, code, detail)
    yield Acknowledge(ticket)


def complaint(
    ticket: DeliveryToken, code: Code, detail: str, now: Instant, max_payload: int | None = None
) -> Iterator[Effect]:
    """An error about a message that is settled already."""
    yield PublishAck(ticket, Ack(None, code, int(now.wall), detail), max_payload)
    yield DeadLetter(ticket, code, detail)


def refusals(box: DeviceState, items: list[Queued], code: Code, detail: str, now: Instant) -> Iterator[Effect]:
    """The same refusal for each of a device's messages."""
    for item in items:
        yield from refusal(item.ticket, code, detail, now, _seq(item), box.max_payload)


def _seq(item: Queued) -> int | None:
    return item.get.seq if isinstance(item, QueuedGet) else item.heartbeat.seq
