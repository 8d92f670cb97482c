"""What a device gets of its plan, once the service has answered. A plan that has not changed costs no message."""

from gateway.core.device_state import DeviceState, PendingPlanCheck, PlanState, QueuedGet
from gateway.core.effects import Effects, PublishAck, PublishPlan
from gateway.errors import Code
from gateway.protocol import Ack, Plan


def on_plan(
    effects: Effects, state: DeviceState, plan: Plan, gets: list[QueuedGet], check: PendingPlanCheck | None
) -> PlanState:
    """The service's answer, for the requests and the `have` that asked for it; what is known of the plan now."""
    known = state.plan = state.plan or PlanState()
    known.digest, known.asked = plan.digest, effects.now.mono
    known.readable, known.files = plan.digest, plan.files
    if gets:
        _answer_gets(effects, state, known, plan, gets)
    if check is not None:
        _answer_check(effects, state, known, plan, check)
    return known


def on_plan_unavailable(state: DeviceState, now: float) -> None:
    """A `have` could not be compared: the service is not asked again for plan_ttl seconds."""
    known = state.plan = state.plan or PlanState()
    known.digest, known.asked = None, now


def _answer_gets(effects: Effects, state: DeviceState, known: PlanState, plan: Plan, gets: list[QueuedGet]) -> None:
    """Each get has its answer, whatever was published lately; one publication is for all of them."""
    payload = state.plan_payload(plan)
    if payload is not None and any(item.get.have != plan.digest for item in gets):
        _publish(effects, state, known, plan, payload)
    for item in gets:
        if payload is not None or item.get.have == plan.digest:
            effects.accept(item.delivery, item.seq, state.max_payload)
        else:
            known.note_too_large(plan.digest)
            effects.reject([item], Code.TOO_LARGE, _too_large(state, plan), state.max_payload)


def _answer_check(effects: Effects, state: DeviceState, known: PlanState, plan: Plan, check: PendingPlanCheck) -> None:
    if check.have == plan.digest or known.just_published(plan.digest, effects.now.mono):
        return
    payload = state.plan_payload(plan)
    if payload is not None:
        _publish(effects, state, known, plan, payload)
    elif known.note_too_large(plan.digest):
        ack = Ack(None, Code.TOO_LARGE, int(effects.now.wall), _too_large(state, plan))
        effects.append(PublishAck(check.delivery, ack, state.max_payload))


def _publish(effects: Effects, state: DeviceState, known: PlanState, plan: Plan, payload: bytes) -> None:
    known.published, known.published_at = plan.digest, effects.now.mono
    known.too_large = tuple(digest for digest in known.too_large if digest != plan.digest)
    effects.append(PublishPlan(state.device, plan.digest, payload))


def _too_large(state: DeviceState, plan: Plan) -> str:
    return f"plan {plan.digest} does not fit max_payload {state.max_payload}"
