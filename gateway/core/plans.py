"""What a device is told of its plan, once the service has answered. A plan that has not changed costs no message.

A windowless part of the core: a mailbox, a plan and the time come in, effects go out.
"""

from collections.abc import Iterator

from gateway.core.device_state import DeviceState, PendingPlanCheck, PlanState, QueuedGet
from gateway.core.effects import Effect, PublishAck, PublishPlan
from gateway.core.outcomes import receipt, refusals
from gateway.errors import Code
from gateway.protocol.messages import Ack, Instant, Plan


def answered(
    box: DeviceState, plan: Plan, gets: list[QueuedGet], check: PendingPlanCheck | None, now: Instant
) -> Iterator[Effect]:
    """The service gave `plan`: who asked for it is answered."""
    memory = _memory(box)
    memory.digest, memory.asked = plan.digest, now.mono
    memory.readable, memory.files = plan.digest, plan.files
    if gets:
        yield from _answer_gets(box, memory, plan, gets, now)
    if check is not None:
        yield from _answer_check(box, memory, plan, check, now)


def unanswered(box: DeviceState, now: Instant) -> None:
    """A `have` could not be compared: the service is left alone for a while."""
    memory = _memory(box)
    memory.digest, memory.asked = None, now.mono


def _memory(box: DeviceState) -> PlanState:
    if box.plan is None:
        box.plan = PlanState()
    return box.plan


def _answer_gets(
    box: DeviceState, memory: PlanState, plan: Plan, gets: list[QueuedGet], now: Instant
) -> Iterator[Effect]:
    """Each get has its answer, whatever was published lately; one publication serves them all."""
    payload = box.fitting(plan)
    if payload is not None and any(item.get.have != plan.digest for item in gets):
        yield _publish(box, memory, plan, payload, now)
    for item in gets:
        if payload is not None or item.get.have == plan.digest:
            yield from receipt(box, item, now)
        else:
            memory.does_not_fit(plan.digest)
            yield from refusals(box, [item], Code.TOO_LARGE, _too_large(box, plan), now)


def _answer_check(
    box: DeviceState, memory: PlanState, plan: Plan, check: PendingPlanCheck, now: Instant
) -> Iterator[Effect]:
    if check.have == plan.digest or memory.just_published(plan.digest, now.mono):
        return
    payload = box.fitting(plan)
    if payload is not None:
        yield _publish(box, memory, plan, payload, now)
    elif memory.does_not_fit(plan.digest):
        ack = Ack(None, Code.TOO_LARGE, int(now.wall), _too_large(box, plan))
        yield PublishAck(check.ticket, ack, box.max_payload)


def _publish(box: DeviceState, memory: PlanState, plan: Plan, payload: bytes, now: Instant) -> Effect:
    memory.published, memory.published_at = plan.digest, now.mono
    memory.too_large = tuple(digest for digest in memory.too_large if digest != plan.digest)
    return PublishPlan(box.device, plan.digest, payload)


def _too_large(box: DeviceState, plan: Plan) -> str:
    return f"plan {plan.digest} does not fit max_payload {box.max_payload}"
