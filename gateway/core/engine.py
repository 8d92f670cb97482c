"""The quiet room: what a message or an answer means, as a list of effects. Mailboxes, registration, merging, plans.

No network, no clock, no log, no randomness, and not one await: nouns and the time come in, effects go out. Every ticket
that comes in is settled exactly once, last of its effects. A device has one call in flight; its calls keep their order.
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from gateway.core import admission, file_reads
from gateway.core.device_state import DeviceState, InFlight, PendingPlanCheck, PendingRead, PlanState, Queued, QueuedGet
from gateway.core.effects import Acknowledge, CallService, DeliveryToken, Effect, SaveHellos
from gateway.core.hellos import HelloTracker
from gateway.core.merging import QueuedHeartbeat, merged
from gateway.core.outcomes import complaint, receipt, refusal, refusals
from gateway.core.plans import answered, unanswered
from gateway.core.policy import UNREGISTERED_AT_MOST, Policy
from gateway.core.scheduler import CallScheduler
from gateway.errors import Code, MessageError
from gateway.protocol.messages import Device, Get, Heartbeat, Hello, HelloRecord, Instant, Plan, Read
from gateway.protocol.service_calls import (
    Accepted,
    Cancelled,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Registration,
    Rejected,
    RetryLater,
)

__all__ = ["Answer", "Engine", "Message", "Policy"]

Message: TypeAlias = Hello | Heartbeat | Get | Read
Answer: TypeAlias = Registration | Plan | None


class Engine:
    """One for a gateway. Each method returns the effects that follow, to be carried out in their order."""

    def __init__(self, rules: Policy) -> None:
        self._rules = rules
        self._boxes: dict[Device, DeviceState] = {}
        self._hellos = HelloTracker(rules.hello_wait)
        self._line = CallScheduler()
        self._session = 0  # the connection with which the broker's session began
        self._repeated = range(0)  # connections of which the broker delivers again what was not settled
        self._stopped = False

    def __repr__(self) -> str:
        busy = sum(1 for box in self._boxes.values() if box.in_flight or box.waiting)
        return f"<Core: {len(self._boxes)} devices, {busy} busy, {len(self._hellos)} awaiting a hello>"

    @property
    def devices(self) -> int:
        """How many devices were heard of."""
        return len(self._boxes)

    @property
    def in_line(self) -> int:
        """How many devices wait for room among the calls."""
        return len(self._line)

    def recall(self, device: Device, hellos: Iterable[HelloRecord]) -> None:
        """What an earlier life of the gateway remembered, newest last."""
        self._hellos.recall(self._box(device), hellos)

    def stop(self) -> None:
        """No effect from now on: what is not settled, the broker will deliver again."""
        self._stopped = True

    # What devices say

    def refuse(
        self, ticket: DeliveryToken, error: MessageError, now: Instant, device: Device | None = None, told: bool = True
    ) -> list[Effect]:
        """A payload or a topic that could not be understood; `device` where its topic was. `told`: by an ack."""
        box = self._boxes.get(device) if device else None
        limit = box.max_payload if box else None
        effects = [] if self._stopped else [*refusal(ticket, error.code, error.detail, now, error.seq, limit)]
        return effects if told else effects[1:]

    def receive(self, device: Device, message: Message, ticket: DeliveryToken, now: Instant) -> list[Effect]:
        """A message that was understood."""
        if self._stopped:
            return []
        box = self._box(device)
        if isinstance(message, Heartbeat):
            item = QueuedHeartbeat(ticket, message, int(now.wall))
            return [*admission.admitted(box, self._hellos, item, now), *self._advance(box, now)]
        if isinstance(message, Hello):
            return list(self._hello(box, message, ticket, now))
        if isinstance(message, Read):
            return list(self._read(box, message, ticket, now))
        box.put(QueuedGet(ticket, message))
        return list(self._advance(box, now))

    def _read(self, box: DeviceState, read: Read, ticket: DeliveryToken, now: Instant) -> Iterator[Effect]:
        if (fault := file_reads.fault(read, box.max_payload)) is not None:
            yield from refusal(ticket, Code.REFUSED, fault, now, max_payload=box.max_payload)
            return
        yield Acknowledge(ticket)
        pending = PendingRead(read, ticket)
        if file_reads.answerable(box, read, now):
            yield from file_reads.served(box, pending, now)
        else:
            box.read = pending  # in place of an older one: the device has asked anew
            yield from self._advance(box, now)

    def unreadable(self, device: Device, ticket: DeliveryToken, code: Code, detail: str, now: Instant) -> list[Effect]:
        """The file of a SendBlocks cannot be had."""
        return [] if self._stopped else [*complaint(ticket, code, detail, now, self._box(device).max_payload)]

    def _box(self, device: Device) -> DeviceState:
        box = self._boxes.get(device)
        if box is None:
            box = self._boxes[device] = DeviceState(device)
        return box

    # Hellos

    def _hello(self, box: DeviceState, hello: Hello, ticket: DeliveryToken, now: Instant) -> Iterator[Effect]:
        if self._hellos.learn(box, hello):
            yield SaveHellos(box.device, box.hellos)
        yield Acknowledge(ticket)
        if box.hello_wait is not None:
            yield from admission.hello_came(box, self._hellos, now)
            yield from self._advance(box, now)

    def hello_asked(self, device: Device, now: Instant) -> None:
        """The broker confirmed the subscription that brings the device's retained hello."""
        self._hellos.asked(self._box(device), now.mono)

    def deadline(self) -> float | None:
        """When `tick` is due next, on the monotonic clock."""
        return self._hellos.deadline()

    def tick(self, now: Instant, pressed: bool = False) -> list[Effect]:
        """End the waits for hellos that are over: plans need no limits then, heartbeats of unknown tags are refused.

        `pressed`: what others sent waits behind them, so they end as soon as the broker had time to answer.
        """
        if self._stopped:
            return []
        effects: list[Effect] = []
        for box in self._hellos.overdue(now.mono, pressed):
            effects += admission.hello_overdue(box, self._hellos, now)
            effects += self._advance(box, now)
        return effects

    # The next call

    def _advance(
        self, box: DeviceState, now: Instant, registered: bool = False, turn: bool = False
    ) -> Iterator[Effect]:
        """Start the next call of a device, if none is in flight, there is one to start, and room for it."""
        if box.in_flight is not None or box.held or not box.busy or not self._line.admits(box, turn):
            return
        if box.check is not None:
            yield from self._check_plan(box, box.check, now)
        if box.in_flight is None and box.read is not None:
            pending, box.read = box.read, None
            if file_reads.answerable(box, pending.read, now):
                yield from file_reads.served(box, pending, now)
            else:
                yield self._ask(box, InFlight(GetDeployments(box.device, patient=False), read=pending))
        if box.in_flight is not None or not box.waiting:
            return
        head = box.waiting[0]
        if isinstance(head, QueuedHeartbeat) and head.layout is None:
            return  # its hello is on the way
        if self._rules.ask_registration and not registered and now.mono >= box.registered_until:
            yield from self._check_registration(box, now)
        elif isinstance(head, QueuedHeartbeat):
            yield from self._send_heartbeats(box, now)
        elif box.limits_known:
            gets = box.leading_gets()
            box.drop(len(gets))
            yield self._ask(box, InFlight(GetDeployments(box.device, patient=True), gets=gets))
        else:
            yield from self._hellos.ask(box)

    def _check_registration(self, box: DeviceState, now: Instant) -> Iterator[Effect]:
        if now.mono < box.unregistered_until:
            yield from self._not_registered(box, now)
        else:
            yield self._ask(box, InFlight(GetDeviceRegistration(box.device)))

    def _not_registered(self, box: DeviceState, now: Instant) -> Iterator[Effect]:
        self._hellos.end(box)
        yield from refusals(box, box.empty(), Code.NOT_REGISTERED, f"{box.device} is not registered", now)

    def _send_heartbeats(self, box: DeviceState, now: Instant) -> Iterator[Effect]:
        batch = box.batch(self._rules.merge_heartbeats, self._rules.merge_bytes)
        yield from admission.checked_again(box, batch, now)
        if batch:
            yield self._ask(box, InFlight(merged(box.device, batch), heartbeats=batch))
        else:
            yield from self._advance(box, now, turn=True)

    def _ask(self, box: DeviceState, flight: InFlight) -> Effect:
        box.in_flight = flight
        self._line.began()
        return CallService(flight.call)

    def _serve(self, now: Instant) -> Iterator[Effect]:
        """Room for those in line."""
        while (box := self._line.next()) is not None:
            yield from self._advance(box, now, turn=True)

    def widen(self, window: int, now: Instant) -> list[Effect]:
        """So many calls may be under way at once from now on."""
        self._line.window = window
        return [] if self._stopped else list(self._serve(now))

    def again(self, device: Device, now: Instant) -> list[Effect]:
        """The call that was postponed for the device's own sake is due."""
        box = self._boxes[device]
        box.held = False
        return [] if self._stopped else list(self._advance(box, now))

    def _check_plan(self, box: DeviceState, plan_check: PendingPlanCheck, now: Instant) -> Iterator[Effect]:
        if not box.limits_known:
            yield from self._hellos.ask(box)
            return
        box.check = None
        memory = box.plan or PlanState()
        if memory.must_ask(plan_check.have, now.mono, self._rules.plan_ttl):
            yield self._ask(box, InFlight(GetDeployments(box.device, patient=False), check=plan_check))

    # What the service answered

    def resolve(self, device: Device, outcome: Outcome[Answer], now: Instant) -> list[Effect]:
        """The outcome of the call that was asked for last for `device`."""
        box = self._boxes[device]
        flight, box.in_flight = box.in_flight, None
        if flight is not None:
            self._line.ended()
        if self._stopped or flight is None:
            return []
        return [*self._resolve(box, flight, outcome, now), *self._serve(now)]

    def _resolve(self, box: DeviceState, flight: InFlight, outcome: Outcome[Answer], now: Instant) -> Iterator[Effect]:
        if isinstance(outcome, Accepted):
            yield from self._accepted(box, flight, outcome.answer, now)
        elif flight.check is not None or flight.read is not None:
            unanswered(box, now)
        elif isinstance(outcome, Cancelled):
            yield from self._back_to_wait(box, flight.items)
            return  # nobody waits for an answer any more
        elif isinstance(outcome, RetryLater):
            box.held, box.again = outcome.alone, len(flight.heartbeats) if outcome.alone else 0
            yield from self._back_to_wait(box, flight.items)
        elif isinstance(outcome, Rejected) and len(flight.heartbeats) > 1:
            box.singly = len(flight.heartbeats)
            yield from self._back_to_wait(box, flight.items)
        else:
            box.singly = max(0, box.singly - len(flight.heartbeats))
            code = Code.REFUSED if isinstance(outcome, Rejected) else Code.GAVE_UP
            yield from refusals(box, flight.items or box.empty(), code, outcome.detail, now)
        yield from self._advance(box, now)

    def _accepted(self, box: DeviceState, flight: InFlight, answer: Answer, now: Instant) -> Iterator[Effect]:
        if isinstance(answer, Plan):
            yield from answered(box, answer, flight.gets, flight.check, now)
            if flight.read is not None:
                yield from file_reads.sought(box, flight.read, now)
        elif isinstance(answer, Registration):
            yield from self._registration(box, answer, now)
        box.singly = max(0, box.singly - len(flight.heartbeats))
        for item in flight.heartbeats:
            yield from receipt(box, item, now)
            if item.heartbeat.have is not None:
                box.check = PendingPlanCheck(item.heartbeat.have, item.ticket)

    def _registration(self, box: DeviceState, answer: Registration, now: Instant) -> Iterator[Effect]:
        if answer.word.casefold() in self._rules.registered_values:
            box.registered_until = now.mono + answer.ttl
            yield from self._advance(box, now, registered=True, turn=True)
        else:
            box.unregistered_until = now.mono + min(answer.ttl, UNREGISTERED_AT_MOST)
            yield from self._not_registered(box, now)

    def _back_to_wait(self, box: DeviceState, items: list[Queued]) -> Iterator[Effect]:
        """To the head of what waits, but for what the broker delivers again anyway."""
        yield from (Acknowledge(item.ticket) for item in box.back(items, self._repeated))

    def reconnected(self, connection: int, resumed: bool) -> list[Effect]:
        """A new connection to the broker stands. `resumed`: it kept the session.

        Then it delivers again what was not settled of this session, and what waits of that is forgotten. What came
        before the session began is nowhere else, and kept.
        """
        if self._stopped:
            return []
        effects: list[Effect] = []
        self._session = self._session if resumed else connection
        self._repeated = range(self._session, connection)
        for box in self._boxes.values() if resumed else ():
            effects += self._back_to_wait(box, box.empty())
        return [*effects, *self._hellos.ask_again()]
