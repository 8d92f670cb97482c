"""The core as a state machine: whatever devices, broker, service and clocks do, in any order, what is promised holds.

Each delivery is acknowledged exactly once, by the last of its effects; a device has one call in flight, with one result
at most; its messages keep their order and their dates; only what is at fault is rejected; nothing is invented, nothing
waits without a cause, nothing that is acknowledged is kept; and no effect comes after the stop. Where the service says
versions, no deployment is missed, and the plan of an earlier device of a name is replaced.
"""

import os
import re
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.effects import Acknowledge, DeleteRetained, Effect, PublishPlan
from gateway.core.engine import Engine, Policy
from gateway.errors import Code, DecodeError, FileError, LimitError
from gateway.protocol.messages import LIVENESS, Device, Get, Heartbeat, Hello, HelloRecord, Instant, Plan, Read
from gateway.protocol.service_calls import (
    Abandoned,
    Accepted,
    Call,
    DeviceVersion,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Registration,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from tests.property.engine_strategies import (
    DEVICES,
    HELLOS,
    OPTIONAL,
    PLANS,
    POSTPONED,
    READS,
    REGISTRATIONS,
    RESULTS,
    TAGS,
    UNASKED,
)
from tests.property.ledger import REFERRED_AT_MOST, Ledger, Sent, numbers
from tests.support.engine import DEVICE, EPOCH, LAYOUT, NEWER, OTHER

EXAMPLES = int(os.environ.get("CORE_EXAMPLES", "200"))
STEPS = int(os.environ.get("CORE_STEPS", "50"))


@dataclass
class Assigned:
    """A device in the service: since when it is registered, how often its deployments have changed since, and whether
    they were fetched since they changed."""

    since: float = 1.0
    number: int = 0
    fetched: bool = False

    @property
    def version(self) -> DeviceVersion:
        return DeviceVersion(f"{self.since}/{self.number}")

    @property
    def plan(self) -> Plan:
        return PLANS[self.number % len(PLANS)]


class EngineMachine(RuleBasedStateMachine):
    """An engine, two devices, and a record of everything. `draining`: calls end without an answer, as at a stop.

    `assigned`: what a service that says versions has of each device; one that does not answers anything. `retained`:
    the registration of the device whose plan the broker has, or had deleted.
    """

    @initialize(
        versions=st.booleans(),
        ask=st.booleans(),
        most=st.integers(1, 4),
        size=st.sampled_from([1, 400, 100_000]),
        known=st.lists(HELLOS, max_size=3, unique_by=lambda hello: hello.tag),
        resumed=st.booleans(),
    )
    def begin(self, versions: bool, ask: bool, most: int, size: int, known: list[Hello], resumed: bool) -> None:
        self.engine = Engine(Policy(ask_registration=ask, merge_heartbeats=most, merge_bytes=size))
        self.ledger = Ledger(most)
        self.versions = versions
        self.assigned = {device: Assigned() for device in (DEVICE, OTHER)}
        self.retained: dict[Device, float] = {}
        for device, assigned in self.assigned.items() if versions else ():
            self.engine.restore_registration(device, assigned.since)
        self.connection, self.mono, self.ahead = 1, 1000.0, 0.0
        self.draining = self.stopped = self.lost = False
        self.engine.restore_hellos(DEVICE, [HelloRecord(hello) for hello in known])
        for hello in known:
            self.ledger.history(DEVICE).hello(hello)
        self.execute(self.engine.reconnected(1, resumed, self.now))

    @property
    def now(self) -> Instant:
        return Instant(self.mono if self.lost else self.right_time, self.mono)

    @property
    def right_time(self) -> float:
        return EPOCH + self.mono + self.ahead

    # What devices send

    @rule(
        device=DEVICES,
        source=TAGS | st.sampled_from([9, LAYOUT, NEWER, LIVENESS]),
        time=st.sampled_from([None, 0, 500]),
        result=RESULTS,
        have=st.sampled_from([None, 0, 1, 2]),
        seq=OPTIONAL,
        too_many=st.sampled_from([False] * 5 + [True]),
        poison=st.sampled_from([False] * 4 + [True]),
    )
    def heartbeat(self, poison: bool, too_many: bool, device: Any, source: Any, time: int | None, **rest: Any) -> None:
        number = len(self.ledger.sent)
        samples = (number, 0, 0) if too_many else (number,)
        when = time if time is None or isinstance(source, int) else EPOCH + time
        self.receive(device, Heartbeat(source, when, samples, **rest), poison)

    @rule(device=DEVICES, message=st.builds(Get, OPTIONAL, OPTIONAL) | READS)
    def get_or_read(self, device: Any, message: Get | Read) -> None:
        self.receive(device, message)

    @rule(device=DEVICES, hello=HELLOS)
    def hello(self, device: Any, hello: Hello) -> None:
        self.ledger.history(device).hello(hello)
        self.receive(device, hello)

    @rule(device=DEVICES, data=st.data())
    def hello_again(self, device: Any, data: st.DataObject) -> None:
        """The newest once more, as it was, or with the epoch that it has learnt."""
        stated = self.ledger.history(device).hellos
        if stated:
            newest = stated[-1]
            epoch = newest.epoch or data.draw(st.sampled_from([None, EPOCH]))
            self.hello(device, Hello(newest.tag, newest.layout, epoch, newest.max_payload, newest.flags))

    @rule(device=DEVICES, error=st.sampled_from([DecodeError("bad"), LimitError("bad")]), known=st.booleans())
    def nonsense(self, device: Any, error: DecodeError | LimitError, known: bool) -> None:
        number = len(self.ledger.sent)
        self.ledger.sent.append(Sent(device, error, int(self.right_time)))
        token = self.ledger.token(self.connection)
        self.execute(self.engine.reject(token, error, self.now, device if known else None))
        sent = self.ledger.sent[number]
        assert self.stopped or self.lost or (sent.acknowledged and sent.dead_lettered is error.code)

    def receive(self, device: Any, message: Any, poison: bool = False) -> None:
        self.ledger.sent.append(Sent(device, message, int(self.right_time), poison))
        token = self.ledger.token(self.connection)
        self.execute(self.engine.receive(device, message, token, self.now))

    # What the service answers

    @precondition(lambda self: self.ledger.in_flight)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(sorted(self.ledger.in_flight, key=str)))
        call = self.ledger.in_flight[device]
        outcome: Outcome[Any]
        if isinstance(call, SendHeartbeat):
            usual = [self.answer_to(call)] * 4
            outcome = data.draw(st.sampled_from([*usual, self.answer_to(call, False), Abandoned("503"), *POSTPONED]))
        elif isinstance(call, GetDeployments):
            failures = [Rejected("no"), *([Abandoned("503"), *POSTPONED] if call.retryable else [UNASKED])]
            plans: list[Outcome[Any]] = [Accepted(plan) for plan in PLANS]
            if self.versions:
                plans = [Accepted(self.assigned[device].plan)] * 3
            outcome = data.draw(st.sampled_from([*plans, *failures]))
        else:
            registrations: st.SearchStrategy[Outcome[Any]] = REGISTRATIONS | st.sampled_from(
                [Abandoned("503"), *POSTPONED]
            )
            outcome = data.draw(registrations)
            if isinstance(outcome, Accepted) and self.versions:
                outcome = Accepted(replace(outcome.answer, since=self.assigned[device].since))
        self.resolve(device, outcome)

    @precondition(lambda self: self.versions)
    @rule(device=DEVICES, anew=st.sampled_from([False, False, True]))
    def assign(self, device: Any, anew: bool) -> None:
        """An operator deploys; or registers another device of that name, and nobody asks between."""
        known = self.assigned[device]
        self.assigned[device] = Assigned(known.since + 1) if anew else Assigned(known.since, known.number + 1)

    @precondition(lambda self: self.ledger.in_flight and len(self.ledger.sent) > 15)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        """A call ends without an answer, as all do once the gateway stops."""
        self.draining = True
        self.resolve(data.draw(st.sampled_from(sorted(self.ledger.in_flight, key=str))), UNASKED)

    @precondition(lambda self: self.ledger.backing_off)
    @rule()
    def release(self) -> None:
        """The calls that failed alone are due."""
        backing_off = sorted(self.ledger.backing_off, key=str)
        self.ledger.backing_off.clear()
        for device in backing_off:
            self.execute(self.engine.retry_due(device, self.now))

    @rule(concurrency=st.sampled_from([0, 1, 1, 2]))
    def set_concurrency(self, concurrency: int) -> None:
        """So many calls at once from now on."""
        self.ledger.concurrency = concurrency
        self.execute(self.engine.set_concurrency(concurrency, self.now))

    def answer_to(self, call: SendHeartbeat, versions: bool = True) -> Outcome[Any]:
        """The service rejects a call for good where anything in it is at fault. `versions`: this process says them."""
        poisoned = any(self.ledger.sent[number].poison for number in numbers(call))
        said = self.assigned[call.device].version if self.versions and versions else None
        return Rejected("poison") if poisoned else Accepted(said)

    def resolve(self, device: Any, outcome: Outcome[Any]) -> None:
        call = self.ledger.in_flight.pop(device)
        if outcome == RetryLater(only_this_device=True):
            self.ledger.backing_off.add(device)
        effects = self.engine.resolve(device, outcome, self.now)
        if isinstance(outcome, Accepted) and not self.stopped:
            if isinstance(call, SendHeartbeat):
                self.accepted(numbers(call), effects)
            elif isinstance(outcome.answer, Plan):
                self.ledger.history(device).plans[outcome.answer.digest] = outcome.answer
                self.assigned[device].fetched = True
        self.execute(effects)

    def accepted(self, accepted: list[int], effects: list[Effect]) -> None:
        """Whatever else follows, the heartbeats of the call are acknowledged first, in their order."""
        for number in accepted:
            self.ledger.sent[number].accepted += 1
        acknowledged = [effect.delivery.number for effect in effects if isinstance(effect, Acknowledge)]  # type: ignore[attr-defined]
        assert acknowledged[: len(accepted)] == accepted

    @precondition(lambda self: self.ledger.blocks)
    @rule()
    def file_unavailable(self) -> None:
        block = self.ledger.blocks.pop()
        self.execute(
            self.engine.file_unavailable(block.device, block.delivery, FileError(Code.UNKNOWN_PLAN, "gone"), self.now)
        )

    # What the broker and the clocks do

    @rule(seconds=st.sampled_from([0.125, 0.625, 5.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.mono += seconds
        self.tick()

    @precondition(lambda self: self.engine.deadline() is not None)
    @rule()
    def wait_for_the_deadline(self) -> None:
        self.mono = max(self.mono, self.engine.deadline() or 0.0)
        self.tick()

    def tick(self) -> None:
        for _ in range(2):  # the wait for the limits of a plan may be over together with the longer one
            self.execute(self.engine.tick(self.now))
        deadline = self.engine.deadline()
        assert self.stopped or deadline is None or deadline > self.mono

    @precondition(lambda self: not self.lost)
    @rule(seconds=st.sampled_from([-400.0, 50.0]))
    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock: what came before is dated by the new one."""
        before, self.ahead = self.ahead, max(-400.0, self.ahead + seconds)
        for sent in self.ledger.sent:
            sent.arrived += int(self.ahead - before)

    @rule(lost=st.booleans())
    def lose_or_set_clock(self, lost: bool) -> None:
        """It begins in 1970. What was set before is known by then: the gateway looks twice a second."""
        self.execute(self.engine.check_clock(self.now))
        self.lost = lost
        self.execute(self.engine.check_clock(self.now))
        assert self.engine.clock_is_wrong is lost

    @precondition(lambda self: self.ledger.awaited)
    @rule()
    def confirm(self) -> None:
        for device in sorted(self.ledger.awaited, key=str):
            self.engine.hello_lookup_started(device, self.now)
            self.ledger.confirmed.setdefault(device, []).append(self.mono)
        self.ledger.awaited.clear()

    @rule(resumed=st.booleans())
    def reconnect(self, resumed: bool) -> None:
        self.connection += 1
        again = [sent for sent in self.ledger.sent if sent.waits and not sent.forgotten] if resumed else []
        for sent in again:
            sent.forgotten = True
        self.ledger.awaited.clear()
        self.ledger.confirmed.clear()
        self.execute(self.engine.reconnected(self.connection, resumed, self.now))
        for sent in again:
            message = sent.message
            if isinstance(message, Heartbeat):
                message = message._replace(values=(len(self.ledger.sent), *message.values[1:]))
            self.receive(sent.device, message, sent.poison)

    @precondition(lambda self: len(self.ledger.sent) > 15)
    @rule()
    def stop(self) -> None:
        self.engine.stop()
        self.stopped = True

    # The record

    def execute(self, effects: list[Effect]) -> None:
        assert not (effects and self.stopped)
        self.ledger.now = self.mono
        self.ledger.execute(effects)
        for effect in effects:
            if isinstance(effect, PublishPlan | DeleteRetained):
                self.retained[effect.device] = self.assigned[effect.device].since
        while self.ledger.plans:
            self.take_plan(self.ledger.plans.pop())

    def take_plan(self, plan: PublishPlan) -> None:
        """The broker's PUBACK, or a refusal, answers the gets."""
        if len(self.ledger.sent) % 3:
            self.execute(self.engine.plan_published(plan, self.now))
        else:
            self.execute(self.engine.plan_refused(plan, "not allowed", rest=0, now=self.now))
        assert all(self.ledger.sent[get.delivery.number].acknowledged for get in plan.gets)  # type: ignore[attr-defined]

    @invariant()
    def nothing_waits_without_a_cause(self) -> None:
        """A device that waits has a call, waits for a slot or a hello, or backs off; none waits for a slot that is
        free."""
        if self.stopped or self.draining or self.lost:
            return
        busy, awaiting = map(int, re.findall(r"(\d+) (?:busy|awaiting)", repr(self.engine)))
        assert busy == len(self.ledger.busy())
        waiting = self.ledger.busy() - set(self.ledger.in_flight) - self.ledger.backing_off
        assert len(waiting) <= awaiting + self.engine.waiting_devices
        assert not self.engine.waiting_devices or len(self.ledger.in_flight) >= self.ledger.concurrency

    @invariant()
    def nothing_acknowledged_is_referred_to(self) -> None:
        assert self.ledger.referred() - len(self.ledger.blocks) <= REFERRED_AT_MOST * 2

    def teardown(self) -> None:
        """All that still waits comes to its end, and nothing is left over; after a stop, nothing happens any more."""
        self.lose_or_set_clock(lost=False)
        self.set_concurrency(2)
        self.beat()
        for _ in range(3 if self.stopped else 4 * len(self.ledger.sent) + 20):
            self.answer_all()
            self.release()
            self.confirm()
            self.wait(5.0)
        if not self.stopped:
            self.no_deployment_is_missed()
            self.nothing_is_left()

    def beat(self) -> None:
        """Each device sends a heartbeat more, and has the plan that is assigned to it."""
        for device, assigned in self.assigned.items():
            message = Heartbeat(LAYOUT, None, (len(self.ledger.sent),), have=assigned.plan.digest)
            self.receive(device, message)

    def answer_all(self) -> None:
        for device, call in list(self.ledger.in_flight.items()):
            self.resolve(device, self.last_answer(call))

    def no_deployment_is_missed(self) -> None:
        """One heartbeat is enough: what was assigned is asked for, and the broker has no plan of an earlier device."""
        for _ in range(2 if self.versions else 0):
            self.beat()
            for _ in range(4):
                self.answer_all()
            for device, assigned in self.assigned.items():
                assert assigned.fetched
                assert self.retained.get(device, assigned.since) == assigned.since
                assigned.number, assigned.fetched = assigned.number + 1, False

    def nothing_is_left(self) -> None:
        assert self.ledger.busy() == set()
        assert all(sent.acknowledged for sent in self.ledger.sent)
        assert repr(self.engine).endswith("0 busy, 0 awaiting a hello>")
        self.ledger.blocks.clear()
        assert self.ledger.referred() == 0

    def last_answer(self, call: Call) -> Outcome[Any]:
        match call:
            case SendHeartbeat():
                return self.answer_to(call)
            case GetDeployments():
                return Accepted(self.assigned[call.device].plan)
            case GetDeviceRegistration():
                since = self.assigned[call.device].since if self.versions else None
                return Accepted(Registration("true", 300.0, since))


EngineMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
test_what_is_promised_holds = EngineMachine.TestCase
