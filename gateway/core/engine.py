"""Sans-I/O core: each message or service answer becomes a list of effects for the dispatcher to execute in order.

No network, clock, log or randomness: messages, answers and the time are passed in. Each delivery is acknowledged once,
by the last effect of its message. A device has one call in flight, so its calls keep their order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

from gateway.core import admission, file_reads
from gateway.core.clock import MAX_DRIFT, WallClock
from gateway.core.device_state import (
    NEVER,
    DeviceState,
    InFlight,
    PendingPlanCheck,
    PendingRead,
    PlanState,
    QueuedGet,
    QueuedMessage,
)
from gateway.core.effects import Acknowledge, CallService, DeliveryToken, Effects, PublishPlan, ReportClock, SaveHellos
from gateway.core.hellos import HelloTracker
from gateway.core.merging import KEPT_DECODED, QueuedHeartbeat, drop_long, merge
from gateway.core.plans import on_plan, on_plan_published, on_plan_refused, on_plan_unavailable, replace_plan
from gateway.core.registration import RegistrationCheck
from gateway.core.scheduler import CallScheduler
from gateway.errors import Code, FileError, LimitError, MessageError
from gateway.protocol import (
    LIVENESS,
    Accepted,
    CallFailure,
    Cancelled,
    Channel,
    Device,
    DeviceMessage,
    DeviceVersion,
    GetDeployments,
    GetDeviceRegistration,
    Heartbeat,
    Hello,
    HelloRecord,
    Instant,
    Outcome,
    Plan,
    Read,
    Registration,
    Rejected,
    RetryLater,
    decode_heartbeat,
)

MOST_EXAMINED = 1000
"""Devices that one `check_registrations` looks at: a fraction of a millisecond of the loop."""
NO_LIMIT = 1 << 28
"""Bytes: more than a packet of MQTT can have."""

Answer: TypeAlias = Registration | Plan | DeviceVersion | None
"""To GetDeviceRegistration, GetDeployments or SendHeartbeat."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide something here; times in seconds. `fleets`: those of this gateway; empty: all."""

    ask_registration: bool = True
    registered_values: frozenset[str] = frozenset({"registered", "true"})
    fleets: frozenset[str] = frozenset()
    plan_ttl: float = 30.0
    hello_wait: float = 5.0
    merge_heartbeats: int = 100
    merge_bytes: int = 262_144


class HeldMessage(NamedTuple):
    """It came while the wall clock was wrong. `arrived`: on the monotonic clock; `take` is given that as Unix time."""

    delivery: DeliveryToken
    arrived: float
    take: Callable[[Effects, float], None]


class Engine:
    """One for a gateway. Each method returns the effects that follow, to be executed in their order."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._states: dict[Device, DeviceState] = {}
        self._hellos = HelloTracker(policy.hello_wait)
        self._registration = RegistrationCheck(policy.ask_registration, policy.registered_values, self._hellos)
        self._scheduler = CallScheduler()
        self._session = 0  # the connection with which the broker's session began
        self._redelivered = range(0)  # connections of which the broker delivers again what was not acknowledged
        self._room = NO_LIMIT
        self._stopped = False
        self._clock = WallClock()
        self._held: list[HeldMessage] = []
        self._unchecked: list[DeviceState] = []  # of the round of `check_registrations`

    def __repr__(self) -> str:
        busy = sum(1 for state in self._states.values() if state.in_flight or state.waiting)
        return f"<Engine: {len(self._states)} devices, {busy} busy, {len(self._hellos)} awaiting a hello>"

    @property
    def devices(self) -> int:
        return len(self._states)

    @property
    def waiting_devices(self) -> int:
        """How many devices wait for a free slot among the calls."""
        return len(self._scheduler.queue)

    def restore_hellos(self, device: Device, hellos: Iterable[HelloRecord]) -> None:
        """What an earlier run of the gateway saved, newest last. Before any message."""
        self._hellos.restore(self._state(device), hellos)

    def restore_registration(self, device: Device, since: float) -> None:
        """What an earlier run of the gateway saved. Before any message."""
        self._state(device).since = since

    @property
    def clock_is_wrong(self) -> bool:
        """Whether nothing can be dated, and messages wait until the wall clock is right."""
        return self._clock.wrong

    def hellos(self) -> dict[Device, tuple[HelloRecord, ...]]:
        """Of all devices, newest last: what `restore_hellos` takes."""
        return {device: state.hellos for device, state in self._states.items() if state.newest is not None}

    def stop(self) -> None:
        """No effect from now on: what is not acknowledged, the broker will deliver again."""
        self._stopped = True

    def _state(self, device: Device) -> DeviceState:
        state = self._states.get(device)
        if state is None:
            state = self._states[device] = DeviceState(device)
        return state

    def set_room(self, room: int) -> None:
        """Bytes that the topic below the root and the payload of a publication may have together, by the broker's
        largest packet."""
        self._room = room

    # Messages of devices

    def receive(self, device: Device, message: DeviceMessage, delivery: DeliveryToken, now: Instant) -> Effects:
        effects = self._effects_at(now)
        if self._stopped:
            return effects
        if self._clock.wrong and not isinstance(message, Hello):
            take = partial(self._receive, device, message, delivery)
            long = len(delivery.payload) > KEPT_DECODED
            if long and isinstance(message, Heartbeat) and message.source is not LIVENESS:
                take = partial(self._receive_again, device, delivery)
            self._held.append(HeldMessage(delivery, now.mono, take))
        else:
            self._receive(device, message, delivery, effects, effects.now.wall)
        return effects

    def _receive(
        self, device: Device, message: DeviceMessage, delivery: DeliveryToken, effects: Effects, arrived: float
    ) -> None:
        state = self._states.get(device) or self._state(device)
        state.ended = False
        if isinstance(message, Heartbeat):
            item = QueuedHeartbeat(delivery, message, int(arrived))
            admission.accept_heartbeat(effects, state, self._hellos, item)
            self._start_next_call(effects, state)
            if len(delivery.payload) > KEPT_DECODED:
                item.drop_content()
        elif isinstance(message, Hello):
            self._receive_hello(effects, state, message, delivery)
        elif isinstance(message, Read):
            self._receive_read(effects, state, message, delivery)
        else:
            state.enqueue(QueuedGet(delivery, message))
            self._start_next_call(effects, state)

    def _receive_again(self, device: Device, delivery: DeliveryToken, effects: Effects, arrived: float) -> None:
        """A heartbeat that was held as its payload, which takes less memory."""
        self._receive(device, decode_heartbeat(delivery.payload), delivery, effects, arrived)

    def reject(self, delivery: DeliveryToken, error: MessageError, now: Instant, device: Device | None) -> Effects:
        """A payload or topic that could not be decoded; `device` where its topic could."""
        effects = self._effects_at(now)
        if self._stopped:
            return effects
        if self._clock.wrong:  # an ack says what time it is
            self._held.append(
                HeldMessage(delivery, now.mono, lambda later, _: self._reject(later, delivery, error, device))
            )
        else:
            self._reject(effects, delivery, error, device)
        return effects

    def report(
        self, delivery: DeliveryToken, error: MessageError, now: Instant, device: Device | None, count: int = 1
    ) -> Effects:
        """As `reject`, without the acknowledgement, for `count` messages that were rejected alike; at once also while
        the clock is wrong."""
        effects = self._effects_at(now)
        if not self._stopped:
            self._report(effects, delivery, error, device, count)
        return effects

    def _reject(self, effects: Effects, delivery: DeliveryToken, error: MessageError, device: Device | None) -> None:
        self._report(effects, delivery, error, device)
        effects.append(Acknowledge(delivery))

    def _report(
        self, effects: Effects, delivery: DeliveryToken, error: MessageError, device: Device | None, count: int = 1
    ) -> None:
        state = self._states.get(device) if device else None
        limit = state.max_payload if state else None
        effects.report_error(delivery, error.code, error.detail, limit, error.seq, count)

    def _receive_read(self, effects: Effects, state: DeviceState, read: Read, delivery: DeliveryToken) -> None:
        room = state.payload_room(Channel.BLOCK, self._room)
        violation = file_reads.limit_violation(read, state.max_payload, room)
        if violation is not None:
            effects.report_error(delivery, Code.REFUSED, violation, state.max_payload)
        effects.append(Acknowledge(delivery))
        if violation is not None:
            return
        pending = PendingRead(read, delivery)
        if file_reads.can_answer(state, read, effects.now.mono):
            file_reads.serve(effects, state, pending)
        else:
            state.read = pending  # it replaces an older one: the device has asked again
            self._start_next_call(effects, state)

    def file_unavailable(self, device: Device, delivery: DeliveryToken, error: FileError, now: Instant) -> Effects:
        """The file of a SendBlocks cannot be read."""
        effects = self._effects_at(now)
        if not self._stopped:
            effects.report_error(delivery, error.code, error.detail, self._state(device).max_payload)
        return effects

    def plan_published(self, published: PublishPlan, now: Instant) -> Effects:
        """The broker has a plan."""
        effects = self._effects_at(now)
        if not self._stopped:
            on_plan_published(effects, self._state(published.device), published)
        return effects

    def plan_refused(self, refused: PublishPlan, why: str, rest: float, now: Instant) -> Effects:
        """The broker did not take a plan, which is not published again for `rest` seconds (0: by its own time)."""
        effects = self._effects_at(now)
        if not self._stopped:
            on_plan_refused(effects, self._state(refused.device), refused, why, rest)
        return effects

    # Hellos

    def _receive_hello(self, effects: Effects, state: DeviceState, hello: Hello, delivery: DeliveryToken) -> None:
        before = state.hellos
        if self._hellos.learn(state, hello):
            effects.append(SaveHellos(state.device, state.hellos))
            admission.on_hellos_replaced(effects, state, before)
        effects.append(Acknowledge(delivery))
        if state.hello_suback is not None:
            admission.on_hello(effects, state, self._hellos)
            self._start_next_call(effects, state)

    def hello_lookup_started(self, device: Device, now: Instant) -> None:
        """The broker confirmed the subscription that brings the device's retained hello."""
        self._hellos.lookup_started(self._state(device), now.mono)

    def deadline(self) -> float | None:
        """When `tick` is due next, on the monotonic clock."""
        return self._hellos.deadline()

    def tick(self, now: Instant, under_pressure: bool = False) -> Effects:
        """End the waits for hellos that are over: plans need no limits then, heartbeats of unknown tags are rejected.

        `under_pressure`: messages of others wait behind them, so they end as soon as a retained hello would be here.
        """
        effects = self._effects_at(now)
        for state in () if self._stopped else self._hellos.overdue(now.mono, under_pressure):
            admission.on_hello_timeout(effects, state, self._hellos)
            self._start_next_call(effects, state)
        return effects

    def check_registrations(self, now: Instant, most: int) -> Effects:
        """Ask the service for at most so many devices that send nothing, whose registration is not known any more.

        One that was deregistered, or is another one of that name, is found so before its successor connects.
        """
        effects = self._effects_at(now)
        if self._stopped or not self._registration.enabled:
            return effects
        if not self._unchecked:
            fleets = self._policy.fleets
            self._unchecked = [each for each in self._states.values() if not fleets or each.device.fleet in fleets]
        asked = 0
        for _ in range(min(MOST_EXAMINED, len(self._unchecked))):
            if asked == most or self._scheduler.queue or self._scheduler.in_flight >= self._scheduler.limit:
                break
            state = self._unchecked.pop()
            if self._registration.is_due(state, now.mono):
                self._call(effects, state, InFlight(GetDeviceRegistration(state.device)))
                asked += 1
        return effects

    # The next call

    def _start_next_call(
        self, effects: Effects, state: DeviceState, registered: bool = False, has_slot: bool = False
    ) -> None:
        """Start the next call of a device, if none is in flight, there is one to start, and a slot is free."""
        if state.in_flight is not None or state.backing_off:
            return
        if not (state.waiting or state.plan_check is not None or state.read is not None):
            return
        if not self._scheduler.may_start(state, has_slot):
            return
        if state.plan_check is not None:
            self._check_plan(effects, state, state.plan_check)
        if state.in_flight is None and state.read is not None:
            pending, state.read = state.read, None
            if file_reads.can_answer(state, pending.read, effects.now.mono):
                file_reads.serve(effects, state, pending)
            else:
                self._call(effects, state, InFlight(GetDeployments(state.device, retryable=False), read=pending))
        if state.in_flight is not None or not state.waiting:
            return
        head = state.waiting[0]
        if isinstance(head, QueuedHeartbeat) and head.layout is None:
            return  # its hello is awaited
        if self._registration.enabled and not registered and effects.now.mono >= state.registered_until:
            flight = self._registration.start(effects, state)
            if flight is not None:
                self._call(effects, state, flight)
        elif isinstance(head, QueuedHeartbeat):
            self._send_heartbeats(effects, state)
        elif state.limits_known:
            gets = state.take_gets()
            self._call(effects, state, InFlight(GetDeployments(state.device, retryable=True), gets=gets))
        else:
            self._hellos.request(effects, state)

    def _send_heartbeats(self, effects: Effects, state: DeviceState) -> None:
        batch = state.take_batch(self._policy.merge_heartbeats, self._policy.merge_bytes)
        admission.revalidate(effects, state, batch)
        if batch:
            call = merge(state.device, batch)
            drop_long(batch)
            self._call(effects, state, InFlight(call, heartbeats=batch))
        else:
            self._start_next_call(effects, state, has_slot=True)

    def _check_plan(self, effects: Effects, state: DeviceState, check: PendingPlanCheck) -> None:
        if not state.limits_known:
            self._hellos.request(effects, state)
            return
        state.plan_check = None
        known = state.plan or PlanState()
        if known.must_ask(check.have, effects.now.mono, self._policy.plan_ttl, state.version):
            self._call(effects, state, InFlight(GetDeployments(state.device, retryable=False), plan_check=check))

    def _replace_plan(self, effects: Effects, state: DeviceState) -> None:
        """As soon as the limits are known. Where the call fails, after the next answer to GetDeviceRegistration, or
        with a heartbeat after `plan_ttl`."""
        if state.limits_known:
            self._call(effects, state, InFlight(GetDeployments(state.device, retryable=False), replaces_plan=True))
        else:
            self._hellos.request(effects, state)

    def _call(self, effects: Effects, state: DeviceState, flight: InFlight) -> None:
        state.in_flight = flight
        self._scheduler.in_flight += 1
        effects.append(CallService(flight.call))

    def _fill_free_slots(self, effects: Effects) -> None:
        while (state := self._scheduler.next()) is not None:
            self._start_next_call(effects, state, has_slot=True)

    def set_concurrency(self, limit: int, now: Instant) -> Effects:
        """So many calls may be in flight at once from now on."""
        effects = self._effects_at(now)
        self._scheduler.limit = limit
        if not self._stopped:
            self._fill_free_slots(effects)
        return effects

    def retry_due(self, device: Device, now: Instant) -> Effects:
        """The wait after RetryLater(only_this_device=True) is over."""
        effects = self._effects_at(now)
        state = self._states[device]
        state.backing_off = False
        if not self._stopped:
            self._start_next_call(effects, state)
        return effects

    # Answers of the service

    def resolve(self, device: Device, outcome: Outcome[Answer], now: Instant) -> Effects:
        """The outcome of the last CallService of `device`."""
        effects = self._effects_at(now)
        state = self._states[device]
        flight, state.in_flight = state.in_flight, None
        if flight is not None:
            self._scheduler.in_flight -= 1
        if self._stopped or flight is None:
            return effects
        if isinstance(outcome, Accepted):
            self._accepted(effects, state, flight, outcome.answer)
        else:
            self._failed(effects, state, flight, outcome)
        if self._scheduler.queue:
            self._fill_free_slots(effects)
        return effects

    def _accepted(self, effects: Effects, state: DeviceState, flight: InFlight, answer: Answer) -> None:
        if isinstance(answer, Plan):
            known = on_plan(effects, state, answer, flight.gets, flight.plan_check, self._room)
            if state.replace_plan:
                replace_plan(effects, state, answer, self._room)
            if flight.read is not None:
                known.asked_for_read = effects.now.mono
                file_reads.serve(effects, state, flight.read)
        elif isinstance(answer, Registration):
            if self._registration.on_answer(effects, state, answer):
                self._start_next_call(effects, state, registered=True, has_slot=True)
                if state.replace_plan and state.in_flight is None:
                    self._replace_plan(effects, state)
        else:
            self._registration.on_version(effects, state, answer)
        state.split_remaining = max(0, state.split_remaining - len(flight.heartbeats))
        max_payload = state.newest.hello.max_payload if state.newest else None
        for item in flight.heartbeats:
            *_, have, _, seq = item.heartbeat
            effects.accept(item.delivery, seq, max_payload)
            if have is not None:
                state.plan_check = PendingPlanCheck(have, item.delivery)
        if state.replace_plan and flight.heartbeats:
            kept = state.plan
            if kept is None or effects.now.mono - kept.asked >= self._policy.plan_ttl:
                self._replace_plan(effects, state)
        self._start_next_call(effects, state)

    def _failed(self, effects: Effects, state: DeviceState, flight: InFlight, outcome: CallFailure) -> None:
        if flight.plan_check is not None or flight.read is not None or flight.replaces_plan:
            on_plan_unavailable(state, effects.now.mono)
        elif isinstance(outcome, Cancelled):
            self._requeue(effects, state, flight.items)
            return  # the gateway stops
        elif isinstance(outcome, RetryLater):
            state.backing_off = outcome.only_this_device
            state.retry_batch_size = len(flight.heartbeats) if outcome.only_this_device else 0
            self._requeue(effects, state, flight.items)
        elif isinstance(outcome, Rejected) and len(flight.heartbeats) > 1:
            state.split_remaining = len(flight.heartbeats)
            self._requeue(effects, state, flight.items)
        elif isinstance(outcome, Rejected) and self._registration.may_have_ended(state, effects.now.mono):
            state.registered_until = NEVER  # asked now: the device may have been deregistered
            self._requeue(effects, state, flight.items)
        else:
            state.split_remaining = max(0, state.split_remaining - len(flight.heartbeats))
            code = Code.REFUSED if isinstance(outcome, Rejected) else Code.GAVE_UP
            items = flight.items or state.take_all()
            effects.reject(items, code, outcome.detail, state.max_payload)
        self._start_next_call(effects, state)

    def _requeue(self, effects: Effects, state: DeviceState, items: list[QueuedMessage]) -> None:
        """They wait again; those that the broker delivers again anyway are acknowledged."""
        dropped = state.requeue(items, self._redelivered)
        effects += [Acknowledge(item.delivery) for item in dropped]

    def reconnected(self, connection: int, resumed: bool, now: Instant) -> Effects:
        """A new connection to the broker. `resumed`: the broker kept the session.

        Then it delivers again what was not acknowledged in this session, and what waits of that is dropped. What came
        before the session began is kept, since the broker does not have it any more.
        """
        effects = self._effects_at(now)
        if self._stopped:
            return effects
        self._session = self._session if resumed else connection
        self._redelivered = range(self._session, connection)
        dropped = [each for each in self._held if each.delivery.connection in self._redelivered]
        self._held = [each for each in self._held if each.delivery.connection not in self._redelivered]
        effects += [Acknowledge(each.delivery) for each in dropped]
        for state in self._states.values() if resumed else ():
            self._requeue(effects, state, state.take_all())
        self._hellos.request_again(effects)
        return effects

    # The clock

    def check_clock(self, now: Instant) -> Effects:
        """What follows where the wall clock was set; it is due at least once a second."""
        return self._effects_at(now)

    def _effects_at(self, now: Instant) -> Effects:
        """The effects of one event. First of all come those of a wall clock that was set since the last event."""
        effects = Effects()
        effects.now = now
        wall, mono = now
        if not -MAX_DRIFT < wall - mono - self._clock.expected < MAX_DRIFT:
            self._follow_clock(effects)
        return effects

    def _follow_clock(self, effects: Effects) -> None:
        clock, was_wrong = self._clock, self._clock.wrong
        effects.now = clock.follow(effects.now)
        if self._stopped:
            return
        if clock.wrong != was_wrong or clock.step:
            effects.append(ReportClock(clock.step, clock.wrong, len(self._held)))
        if clock.wrong or clock.offset is None:
            return
        for state in self._states.values():
            state.follow_clock(clock.offset, clock.step)
        held, self._held = self._held, []
        for each in held:
            try:
                each.take(effects, each.arrived + clock.offset)
            except Exception as error:  # whatever it is: the others wait for this clock too
                self._reject(effects, each.delivery, LimitError(f"the gateway failed on it: {error!r}"), None)
