"""How a heartbeat gets into its mailbox: by the layout that it brings, or once the hello of its tag is known.

A windowless part of the core: mailboxes, hellos and the time come in, effects go out.
"""

from collections.abc import Iterator

from gateway.core.device_state import DeviceState
from gateway.core.effects import Effect, SaveHellos
from gateway.core.hellos import HelloTracker
from gateway.core.merging import QueuedHeartbeat, check
from gateway.core.outcomes import refusals
from gateway.errors import Code, MessageError
from gateway.protocol.messages import HelloRecord, Instant, Layout


def admitted(box: DeviceState, hellos: HelloTracker, item: QueuedHeartbeat, now: Instant) -> Iterator[Effect]:
    """A heartbeat came: it waits for its call, or for its hello, or is refused."""
    source = item.heartbeat.source
    if isinstance(source, Layout):
        yield from _checked(box, item, hellos.shared(source), now)
    elif record := box.record(source):
        yield from _dated(box, item, record, now)
    elif hellos.too_many(box, now.mono):
        yield from _unknown(box, item, now)
    else:
        box.put(item)
        yield from hellos.ask(box)


def _dated(box: DeviceState, item: QueuedHeartbeat, record: HelloRecord, now: Instant) -> Iterator[Effect]:
    """The tag is known: so are the layout and, from the message itself where there is no clock, the epoch."""
    item.record = record
    time = item.heartbeat.time
    if time is not None and record.hello.epoch is None and time > item.arrived:
        # Kept as the earliest epoch, it would date all that follows under this tag before 1970 too.
        yield from refusals(box, [item], Code.REFUSED, f"time: {time} s ago was before 1970", now)
        return
    if time is not None and record.imply(item.arrived - time):
        yield SaveHellos(box.device, box.hellos)
    yield from _checked(box, item, record.hello.layout, now)


def _checked(box: DeviceState, item: QueuedHeartbeat, layout: Layout, now: Instant) -> Iterator[Effect]:
    try:
        check(item, layout)
    except MessageError as error:
        yield from refusals(box, [item], error.code, error.detail, now)
    else:
        item.layout = layout
        box.put(item)


def checked_again(box: DeviceState, batch: list[QueuedHeartbeat], now: Instant) -> Iterator[Effect]:
    """What waited may be dated otherwise than when it came; what cannot be so is refused, and taken out of `batch`."""
    for item in [item for item in batch if item.redated]:
        try:
            check(item, item.layout)  # type: ignore[arg-type]  # in a batch, each has one
        except MessageError as error:
            batch.remove(item)
            box.singly = max(0, box.singly - 1)
            yield from refusals(box, [item], error.code, error.detail, now)


def hello_came(box: DeviceState, hellos: HelloTracker, now: Instant) -> Iterator[Effect]:
    """What waits is gone through in its order; a heartbeat whose tag is known by now gets its layout."""
    items = list(box.waiting or ())
    box.keep([])
    for item in items:
        record = None
        if isinstance(item, QueuedHeartbeat) and item.layout is None:
            record = box.record(item.heartbeat.source)  # type: ignore[arg-type]  # without a layout, it named a tag
        if isinstance(item, QueuedHeartbeat) and record is not None:
            yield from _dated(box, item, record, now)
        else:
            box.put(item)
    if not box.without_layout():
        hellos.end(box)


def hello_overdue(box: DeviceState, hellos: HelloTracker, now: Instant) -> Iterator[Effect]:
    """The wait is over: plans need no limits then, heartbeats of unknown tags are refused."""
    unknown = box.without_layout()
    if unknown and box.limits_known:
        hellos.end(box)
        box.keep(box.understood())
        for item in unknown:
            yield from _unknown(box, item, now)
    elif not unknown:
        hellos.end(box)
    box.hello_absent = True


def _unknown(box: DeviceState, item: QueuedHeartbeat, now: Instant) -> Iterator[Effect]:
    yield from refusals(box, [item], Code.UNKNOWN_TAG, f"no hello of tag {item.heartbeat.source}", now)
