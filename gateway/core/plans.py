"""What a device gets of its plan, once the service has answered. A plan that has not changed costs no message."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.device_state import DeviceState, PendingPlanCheck, PlanState, QueuedGet
from gateway.core.effects import (
    DeleteRetained,
    DeliveryToken,
    Effects,
    PublishAck,
    PublishPlan,
    QueuedRequest,
    SaveRegistration,
)
from gateway.errors import Code
from gateway.protocol import Ack, Channel, Plan

REFUSED_FOR = 3600.0
"""Seconds for which a plan is not published again after the broker closed each connection because of it."""
SUSPECTED_FOR = 300.0
"""The same, where the broker gave no reason: it may have been the network."""


class _Answer(NamedTuple):
    """The service's answer. `payload`: for this device. `obstacle`: why it cannot be published; None: it can."""

    state: DeviceState
    known: PlanState
    plan: Plan
    payload: bytes
    obstacle: str | None


def on_plan(
    effects: Effects,
    state: DeviceState,
    plan: Plan,
    gets: Sequence[QueuedGet],
    check: PendingPlanCheck | None,
    room: int,
) -> PlanState:
    """The service's answer, for the requests and the `have` that asked for it; what is known of the plan now.

    `room`: as Engine.set_room.
    """
    known = state.plan = state.plan or PlanState()
    known.digest, known.asked, known.version = plan.digest, effects.now.mono, state.version
    known.readable, known.files = plan.digest, plan.files
    payload = state.plan_payload(plan)
    answer = _Answer(state, known, plan, payload, _obstacle(state, known, plan, payload, room, effects.now.mono))
    if gets:
        _answer_gets(effects, answer, gets)
    if check is not None:
        _answer_check(effects, answer, check)
    return known


def replace_plan(effects: Effects, state: DeviceState, plan: Plan, room: int) -> None:
    """Publish the service's plan, whatever the device has: the broker has that of an earlier device of its name.

    Where it cannot be published, that one is deleted all the same.
    """
    known = state.plan or PlanState()
    payload = state.plan_payload(plan)
    answer = _Answer(state, known, plan, payload, _obstacle(state, known, plan, payload, room, effects.now.mono))
    if not known.just_published(plan.digest, effects.now.mono):
        if answer.obstacle is None:
            _publish(effects, answer, None)
        else:
            effects.append(DeleteRetained(state.device))
    state.replace_plan = False
    effects.append(SaveRegistration(state.device, state.since))


def on_plan_unavailable(state: DeviceState, now: float) -> None:
    """A `have` could not be compared: the service is not asked again for plan_ttl seconds, or until the device has
    another version."""
    known = state.plan = state.plan or PlanState()
    known.digest, known.asked, known.version = None, now, state.version


def on_plan_published(effects: Effects, state: DeviceState, published: PublishPlan) -> None:
    """The broker has a plan."""
    _end_gets(effects, state, published.digest, published.gets, None)


def on_plan_refused(effects: Effects, state: DeviceState, refused: PublishPlan, why: str, rest: float) -> None:
    """The broker did not take a plan, which is not published again for `rest` seconds."""
    known = state.plan = state.plan or PlanState()
    detail = f"plan {refused.digest}: {why}"
    if rest:
        known.refused = (refused.digest, effects.now.mono + rest, detail)
    is_new = known.note_too_large(refused.digest)
    if refused.gets:
        _end_gets(effects, state, refused.digest, refused.gets, detail)
    elif is_new and refused.delivery is not None:
        _report(effects, state, refused.delivery, detail)


def _obstacle(state: DeviceState, known: PlanState, plan: Plan, payload: bytes, room: int, now: float) -> str | None:
    """Why the plan cannot be published; None: it can."""
    if state.max_payload is not None and len(payload) > state.max_payload:
        return f"plan {plan.digest} does not fit max_payload {state.max_payload}"
    if len(payload) > state.payload_room(Channel.PLAN, room):
        return f"plan {plan.digest} of {len(payload)} bytes does not fit the broker's largest packet"
    if known.refused is not None:
        digest, until, detail = known.refused
        if digest == plan.digest and now < until:
            return detail
    return None


def _answer_gets(effects: Effects, answer: _Answer, gets: Sequence[QueuedGet]) -> None:
    """Each get has its answer, whatever was published lately; one publication is for all of them."""
    state, known, plan, _, obstacle = answer
    asking = [item for item in gets if item.get.have != plan.digest]
    if asking and obstacle is None:
        _publish(effects, answer, asking[0].delivery, gets)
        return
    if asking:
        known.note_too_large(plan.digest)
    _end_gets(effects, state, plan.digest, gets, obstacle)


def _end_gets(
    effects: Effects, state: DeviceState, digest: int, gets: Sequence[QueuedRequest], obstacle: str | None
) -> None:
    """The broker has their plan. `obstacle`: why it does not; that is an error for those that do not have it."""
    for item in gets:
        if obstacle is None or item.get.have == digest:
            effects.accept(item.delivery, item.seq, state.max_payload)
        else:
            effects.reject([item], Code.TOO_LARGE, obstacle, state.max_payload)


def _answer_check(effects: Effects, answer: _Answer, check: PendingPlanCheck) -> None:
    state, known, plan, _, obstacle = answer
    if check.have == plan.digest or known.just_published(plan.digest, effects.now.mono):
        return
    if obstacle is None:
        _publish(effects, answer, check.delivery)
    elif known.note_too_large(plan.digest):
        _report(effects, state, check.delivery, obstacle)


def _publish(effects: Effects, answer: _Answer, delivery: DeliveryToken | None, gets: Sequence[QueuedGet] = ()) -> None:
    state, known, plan, payload, _ = answer
    known.published, known.published_at = plan.digest, effects.now.mono
    known.too_large = tuple(digest for digest in known.too_large if digest != plan.digest)
    effects.append(PublishPlan(state.device, plan.digest, payload, delivery, gets))


def _report(effects: Effects, state: DeviceState, delivery: DeliveryToken, detail: str) -> None:
    """Code 6, beside the answer that the message itself gets."""
    effects.append(PublishAck(delivery, Ack(None, Code.TOO_LARGE, int(effects.now.wall), detail), state.max_payload))
