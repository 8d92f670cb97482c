"""The core as a state machine: whatever devices, broker and service do, in any order, what is promised holds.

Each ticket is settled exactly once, last of its effects; a device has one call in flight; samples keep their order and
their dates; what was accepted was in exactly one accepted call; only what is at fault is refused; and no effect after
the stop. Each heartbeat carries its ticket's number as its only sample, so that it can be found again.
"""

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.calls import (
    Accepted,
    Call,
    GaveUp,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Refused,
    Registration,
    SendHeartbeat,
    Unanswered,
)
from gateway.core import Core, Rules
from gateway.effects import Ask, Bury, Effect, ReadHello, Reply, Settle
from gateway.errors import Code
from gateway.messages import Device, Get, Heartbeat, Hello, Moment, Read, Result
from tests.unit.core.room import DEVICE, EPOCH, LAYOUT, NEWER, OTHER, Slip, plan

DEVICES = st.sampled_from([DEVICE, OTHER])
HELLOS = {tag: Hello(tag, NEWER if tag == 2 else LAYOUT, EPOCH + tag, 150, tag % 2) for tag in (1, 2, 3)}
RESULTS = st.sampled_from([None, None, Result("a", "SUCCESS"), Result("b", "FAIL")])
OPTIONAL = st.sampled_from([None, 1, 2])
UNASKED = Unanswered("the gateway stops")
PLANS = st.builds(
    lambda digest, length: Accepted(plan(digest, length)), st.sampled_from([1, 2]), st.sampled_from([100, 500])
)
REGISTRATIONS = st.builds(
    lambda word, ttl: Accepted(Registration(word, ttl)),
    st.sampled_from(["REGISTERED", "true", "no"]),
    st.sampled_from([0.0, 300.0]),
)


@dataclass
class Sent:
    """A message as its device sent it, and what became of it. `poison`: the service refuses it for good."""

    device: Device
    message: Heartbeat | Get | Read | Hello
    connection: int
    arrived: int
    poison: bool = False
    settled: bool = False
    buried: Code | None = None
    forgotten: bool = False
    accepted: int = 0


class CoreMachine(RuleBasedStateMachine):
    """A core, two devices, and an account of everything."""

    @initialize(ask=st.booleans(), most=st.integers(1, 4), size=st.sampled_from([1, 400, 100_000]))
    def begin(self, ask: bool, most: int, size: int) -> None:
        self.core = Core(Rules(ask_registration=ask, merge_heartbeats=most, merge_bytes=size))
        self.most = most
        self.sent: list[Sent] = []
        self.in_flight: dict[Device, Call] = {}
        self.hello_asked: set[Device] = set()
        self.connection = 1
        self.seconds = 1000.0
        self.stopped = False

    @property
    def now(self) -> Moment:
        return Moment(EPOCH + self.seconds, self.seconds)

    # What devices say

    @rule(
        device=DEVICES,
        source=st.sampled_from([1, 1, 2, 3, 9, LAYOUT]),
        time=st.sampled_from([None, 0, 500]),
        result=RESULTS,
        have=OPTIONAL,
        seq=OPTIONAL,
        too_many=st.sampled_from([False] * 5 + [True]),
        poison=st.sampled_from([False] * 4 + [True]),
    )
    def heartbeat(
        self, poison: bool, too_many: bool, device: Device, source: Any, time: int | None, **rest: Any
    ) -> None:
        samples = (len(self.sent), 0, 0) if too_many else (len(self.sent),)
        when = time if time is None or source is not LAYOUT else EPOCH + time
        self.hear(device, Heartbeat(source, when, samples, **rest), poison)

    @rule(device=DEVICES, message=st.builds(Get, OPTIONAL, OPTIONAL) | st.just(Read(1, 0, 0, 1)))
    def get_or_read(self, device: Device, message: Get | Read) -> None:
        self.hear(device, message)

    @rule(device=DEVICES, tag=st.sampled_from(sorted(HELLOS)))
    def hello(self, device: Device, tag: int) -> None:
        self.hear(device, HELLOS[tag])

    def hear(self, device: Device, message: Any, poison: bool = False) -> None:
        self.sent.append(Sent(device, message, self.connection, int(self.now.wall), poison))
        ticket = Slip(len(self.sent) - 1, self.connection)
        self.carry_out(self.core.receive(device, message, ticket, self.now))

    # What the service answers

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(sorted(self.in_flight, key=str)))
        call = self.in_flight[device]
        if isinstance(call, SendHeartbeat):
            outcome = data.draw(st.sampled_from([self.judged(call)] * 4 + [GaveUp("503"), UNASKED]))
        elif isinstance(call, GetDeployments):
            failures = [Refused("no"), GaveUp("503"), UNASKED] if call.patient else [Refused("no"), UNASKED]
            outcome = data.draw(PLANS | st.sampled_from(failures))
        else:
            outcome = data.draw(REGISTRATIONS | st.just(UNASKED))
        self.resolve(device, outcome)

    def judged(self, call: SendHeartbeat) -> Outcome[None]:
        """The service refuses a call for good where anything in it is at fault."""
        return Refused("poison") if any(self.sent[number].poison for number in numbers(call)) else Accepted(None)

    def resolve(self, device: Device, outcome: Outcome[Any]) -> None:
        call = self.in_flight.pop(device)
        effects = self.core.resolve(device, outcome, self.now)
        if isinstance(call, SendHeartbeat) and isinstance(outcome, Accepted) and not self.stopped:
            accepted = numbers(call)
            for number in accepted:
                self.sent[number].accepted += 1
            assert (
                accepted == [effect.ticket.number for effect in effects if isinstance(effect, Settle)][: len(accepted)]
            )
        self.carry_out(effects)

    # What the broker and the clock do

    @rule(seconds=st.sampled_from([0.1, 0.6, 5.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.carry_out(self.core.tick(self.now))

    @precondition(lambda self: self.hello_asked)
    @rule()
    def confirm(self) -> None:
        for device in sorted(self.hello_asked, key=str):
            self.core.hello_asked(device, self.now)
        self.hello_asked.clear()

    @rule(resumed=st.booleans())
    def reconnect(self, resumed: bool) -> None:
        self.connection += 1
        again = [sent for sent in self.sent if not sent.settled and not sent.forgotten] if resumed else []
        for sent in again:
            sent.forgotten = True
        self.hello_asked.clear()
        self.carry_out(self.core.reconnected(self.connection, resumed))
        for sent in again if not self.stopped else []:
            message = sent.message
            if isinstance(message, Heartbeat):
                message = Heartbeat(
                    message.source, message.time, (len(self.sent), *message.values[1:]), seq=message.seq
                )
            self.hear(sent.device, message, sent.poison)

    @rule()
    @precondition(lambda self: len(self.sent) > 15)
    def stop(self) -> None:
        self.core.stop()
        self.stopped = True

    # The account

    def carry_out(self, effects: list[Effect]) -> None:
        assert not (effects and self.stopped)
        for effect in effects:
            match effect:
                case Ask(call):
                    self.asked(call)
                case Settle(Slip(number)):
                    self.settle(number, effects)
                case Reply(Slip(number), ack):
                    assert ack.code is Code.TOO_LARGE or self.may_be_answered(number)
                case Bury(Slip(number), code):
                    assert self.may_be_answered(number)
                    self.sent[number].buried = code
                case ReadHello(device):
                    self.hello_asked.add(device)

    def may_be_answered(self, number: int) -> bool:
        """A read is settled at once; whatever else is settled last of all."""
        return not self.sent[number].settled or isinstance(self.sent[number].message, Read)

    def asked(self, call: Call) -> None:
        assert call.device not in self.in_flight
        self.in_flight[call.device] = call
        if not isinstance(call, SendHeartbeat):
            return
        carried = [self.sent[number] for number in numbers(call)]
        assert 1 <= len(carried) == call.heartbeats <= self.most
        assert numbers(call) == sorted(set(numbers(call)))
        assert not any(sent.settled for sent in carried)
        assert {sent.device for sent in carried} == {call.device}
        assert len({sent.message.result for sent in carried} - {None}) == (call.result is not None)
        for (_, number, date), sent in zip(call.metrics, carried, strict=True):
            assert date == dated(sent), number
            assert call.agent_version == (NEWER if sent.message.source == 2 else LAYOUT).agent_version

    def settle(self, number: int, effects: list[Effect]) -> None:
        sent = self.sent[number]
        assert not sent.settled
        sent.settled = True
        replies = [each.ack for each in effects if isinstance(each, Reply) and each.ticket.number == number]
        if isinstance(sent.message, Heartbeat) and not sent.forgotten:
            assert (sent.accepted == 1) == (sent.buried is None)
            assert sent.buried is not Code.REFUSED or sent.poison
            seq = sent.message.seq
            expected = [] if sent.buried is None and seq is None else [(seq, sent.buried or Code.ACCEPTED)]
            assert [(ack.seq, ack.code) for ack in replies if ack.code is not Code.TOO_LARGE] == expected
        elif isinstance(sent.message, Hello):
            assert replies == []

    def teardown(self) -> None:
        """All that still waits comes to its end, and nothing is left over."""
        if self.stopped:
            return
        for device in (DEVICE, OTHER):
            self.hear(device, Heartbeat(LAYOUT, None, (len(self.sent),)))
        for _ in range(4 * len(self.sent) + 20):
            for device, call in list(self.in_flight.items()):
                self.resolve(device, self.last_answer(call))
            self.confirm()
            self.wait(5.0)
        assert self.in_flight == {}
        assert all(sent.settled for sent in self.sent)
        for device in (DEVICE, OTHER):
            assert repr(self.core).endswith("0 busy, 0 awaiting a hello>"), device

    def last_answer(self, call: Call) -> Outcome[Any]:
        match call:
            case SendHeartbeat():
                return self.judged(call)
            case GetDeployments():
                return Accepted(plan(1))
            case GetDeviceRegistration():
                return Accepted(Registration("true", 300.0))


def numbers(call: SendHeartbeat) -> list[int]:
    """The tickets of the heartbeats in a call, in its order."""
    return [int(value) for _, value, _ in call.metrics]


def dated(sent: Sent) -> int:
    """The date that the sample of a heartbeat has by the protocol page."""
    assert isinstance(sent.message, Heartbeat)
    time, source = sent.message.time, sent.message.source
    if time is None:
        return sent.arrived
    return time if source is LAYOUT else EPOCH + int(str(source)) + time


CoreMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_what_is_promised_holds = CoreMachine.TestCase
