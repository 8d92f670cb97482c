"""How a heartbeat gets into its device's queue: with a layout of its own, or once the hello of its tag is known."""

from dataclasses import replace

from gateway.core.device_state import DeviceState
from gateway.core.effects import Effects, SaveHellos
from gateway.core.hellos import HelloTracker
from gateway.core.merging import QueuedHeartbeat, check_heartbeat, drop_long, is_large
from gateway.errors import Code, MessageError
from gateway.protocol import LIVENESS, HelloRecord, Layout


def accept_heartbeat(effects: Effects, state: DeviceState, hellos: HelloTracker, item: QueuedHeartbeat) -> None:
    """A new heartbeat: it waits for its call or for its hello, or is rejected."""
    source = item.heartbeat.source
    if isinstance(source, Layout):
        if source is LIVENESS and state.newest is not None:
            source = replace(source, agent_version=state.newest.hello.layout.agent_version)
        _enqueue_checked(effects, state, item, hellos.intern_layout(source))
    elif record := state.record(source):
        _enqueue_tagged(effects, state, item, record)
    elif hellos.is_absent(state.device, source, effects.now.mono) or hellos.over_unknown_limit(state, effects.now.mono):
        _reject_unknown(effects, state, item)
    else:
        state.enqueue(item)
        hellos.request(effects, state)


def _enqueue_tagged(effects: Effects, state: DeviceState, item: QueuedHeartbeat, record: HelloRecord) -> None:
    """The tag is known: so are the layout and the epoch, which without a clock the message itself implies."""
    item.record = record
    if item.dropped:
        item.restore_content()
    time = item.heartbeat.time
    if time is not None and (record.hello.epoch is None or record.inferred_epoch is not None):
        if time > item.arrived:
            # Kept as the earliest epoch, it would date all that follows under this tag before 1970 too.
            effects.reject([item], Code.REFUSED, f"time: {time} s ago was before 1970", state.max_payload)
            return
        if record.infer_epoch(item.arrived - time, effects.now):
            effects.append(SaveHellos(state.device, state.hellos))
    _enqueue_checked(effects, state, item, record.hello.layout)


def _enqueue_checked(effects: Effects, state: DeviceState, item: QueuedHeartbeat, layout: Layout) -> None:
    try:
        check_heartbeat(item, layout)
    except MessageError as error:
        effects.reject([item], error.code, error.detail, state.max_payload)
    else:
        item.layout = layout
        state.enqueue(item)


def revalidate(effects: Effects, state: DeviceState, batch: list[QueuedHeartbeat]) -> None:
    """Check again what is dated by another epoch than on arrival; what is rejected is taken out of `batch`."""
    for item in batch[:]:
        if item.record is None or item.record.epoch == item.epoch:
            continue
        try:
            check_heartbeat(item, item.layout)  # type: ignore[arg-type]  # in a batch, each has one
        except MessageError as error:
            batch.remove(item)
            state.split_remaining = max(0, state.split_remaining - 1)
            effects.reject([item], error.code, error.detail, state.max_payload)


def on_hello(effects: Effects, state: DeviceState, hellos: HelloTracker) -> None:
    """A hello came: heartbeats whose tag is known by now get their layout; all keep their order."""
    items = state.waiting or ()
    state.waiting = None
    for item in items:
        record = None
        if isinstance(item, QueuedHeartbeat) and item.layout is None:
            record = state.record(item.heartbeat.source)  # type: ignore[arg-type]  # without a layout, it names a tag
            if record is not None:
                _enqueue_tagged(effects, state, item, record)
                drop_long([item])
        if record is None:
            state.enqueue(item)
    if not state.awaiting_hello():
        hellos.end_wait(state)


def on_hellos_replaced(effects: Effects, state: DeviceState, before: tuple[HelloRecord, ...]) -> None:
    """Reject what waits under a large layout that is not one of the last few any more.

    It would keep in memory what is not counted. Under a smaller one it is sent, as it was promised to be.
    """
    kept = [id(record) for record in state.hellos]
    if not any(id(record) not in kept and is_large(record.hello.layout) for record in before):
        return
    items, state.waiting = state.waiting or (), None
    state.retry_batch_size = 0  # it would count others in place of those that are rejected
    for item in items:
        record = item.record if isinstance(item, QueuedHeartbeat) else None
        if record is None or id(record) in kept or not is_large(record.hello.layout):
            state.enqueue(item)
        else:
            effects.reject([item], Code.UNKNOWN_TAG, f"hello of tag {record.hello.tag}: replaced", state.max_payload)


def on_hello_timeout(effects: Effects, state: DeviceState, hellos: HelloTracker) -> None:
    """The wait ended: plans need no limits now, and heartbeats of unknown tags are rejected."""
    unknown = state.awaiting_hello()
    if unknown and state.limits_known:
        hellos.end_wait(state)
        tags = {item.heartbeat.source for item in unknown}
        hellos.note_absent(state.device, tags, effects.now.mono)  # type: ignore[arg-type]  # without a layout: tags
        state.replace_waiting(
            item for item in state.waiting or () if not isinstance(item, QueuedHeartbeat) or item.layout is not None
        )
        for item in unknown:
            _reject_unknown(effects, state, item)
    elif not unknown:
        hellos.end_wait(state)
    state.hello_absent = True


def _reject_unknown(effects: Effects, state: DeviceState, item: QueuedHeartbeat) -> None:
    effects.reject([item], Code.UNKNOWN_TAG, f"no hello of tag {item.heartbeat.source}", state.max_payload)
