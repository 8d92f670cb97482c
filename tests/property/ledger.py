"""A record of an engine's effects: what each device sent and what became of it. No test of its own.

Each heartbeat has the number of its delivery as its first sample, so that it is found again in the calls. `execute`
raises AssertionError where an effect breaks a promise of the protocol page.
"""

import weakref
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.core.effects import (
    Acknowledge,
    CallService,
    DeadLetter,
    Effect,
    FetchRetainedHello,
    PublishAck,
    PublishPlan,
    SaveHellos,
    SendBlocks,
)
from gateway.errors import Code, MessageError
from gateway.protocol.messages import LIVENESS, Device, Get, Heartbeat, Hello, Layout, Plan, Read
from gateway.protocol.service_calls import Call, SendHeartbeat
from tests.support.engine import long_payload

TAGS_KEPT = 4
REFERRED_AT_MOST = 3
"""Acknowledged deliveries to which the engine may still refer for a device: of a `have`, of a read to be answered, of a
call for one."""

ASKED_BEFORE_S = 5 + 61 + 60
"""Code 2 comes at most so long after the broker confirmed that it was asked: the wait, the longest step of the clock in
which it may end, and the time for which nothing waits again."""

Message: TypeAlias = Heartbeat | Get | Read | Hello | MessageError


@dataclass(frozen=True)
class Token:
    """A delivery token. It shows when nothing refers to it any more."""

    number: int
    connection: int
    payload: bytes


@dataclass
class Sent:
    """A message as its device sent it, and what became of it. `poison`: the service rejects it for good."""

    device: Device
    message: Message
    arrived: int
    poison: bool = False
    acknowledged: bool = False
    dead_lettered: Code | None = None
    forgotten: bool = False
    accepted: int = 0

    @property
    def waits(self) -> bool:
        """Whether the core has still to bring it to its end."""
        return not self.acknowledged and isinstance(self.message, Heartbeat | Get)


@dataclass
class DeviceHistory:
    """What is known of one device outside the engine. `hellos`: all of them; `tags`: the last few, newest last."""

    hellos: list[Hello] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    plans: dict[int, Plan] = field(default_factory=dict)
    last_accepted: int = -1

    def hello(self, hello: Hello) -> None:
        self.hellos.append(hello)
        self.tags = [*(tag for tag in self.tags if tag != hello.tag), hello.tag][-TAGS_KEPT:]


class Ledger:
    """`most`: heartbeats at most in one call. `concurrency`: calls at once at most. `backing_off`: devices whose call
    failed alone. `confirmed`: when the broker confirmed, on this connection, that the device's hello was asked for;
    that and `now` on the monotonic clock."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sent: list[Sent] = []
        self._histories: dict[Device, DeviceHistory] = {}
        self.in_flight: dict[Device, Call] = {}
        self.concurrency = 1 << 16
        self.backing_off: set[Device] = set()
        self.awaited: set[Device] = set()
        self.now = 0.0
        self.confirmed: dict[Device, list[float]] = {}
        self.blocks: list[SendBlocks] = []
        self.plans: list[PublishPlan] = []
        self._tokens: list[weakref.ref[Token]] = []

    def history(self, device: Device) -> DeviceHistory:
        return self._histories.setdefault(device, DeviceHistory())

    def token(self, connection: int) -> Token:
        """The token of the message that was sent last. Each second heartbeat is kept as its payload while it waits."""
        message = self.sent[-1].message
        payload = long_payload(message) if isinstance(message, Heartbeat) and len(self.sent) % 2 else b""
        token = Token(len(self.sent) - 1, connection, payload)
        self._tokens.append(weakref.ref(token))
        return token

    def referred(self) -> int:
        """How many tokens of acknowledged deliveries something still refers to."""
        self._tokens = [token for token in self._tokens if token() is not None]
        return sum(
            1 for token in self._tokens if (known := token()) is not None and self.sent[known.number].acknowledged
        )

    def busy(self) -> set[Device]:
        """The devices of which something waits, or a call is in flight."""
        return {sent.device for sent in self.sent if sent.waits} | set(self.in_flight)

    def execute(self, effects: list[Effect]) -> None:
        """Note what the effects do, in their order."""
        for effect in effects:
            match effect:
                case CallService(call):
                    self._asked(call)
                case Acknowledge(Token(number)):
                    self._on_acknowledged(number, effects)
                case PublishAck(Token(number), ack):
                    assert ack.code in (Code.TOO_LARGE, Code.UNKNOWN_PLAN) or self._answerable(number)
                case DeadLetter(Token(number), code):
                    assert self._answerable(number)
                    self.sent[number].dead_lettered = code
                case FetchRetainedHello(device):
                    self.awaited.add(device)
                case SaveHellos(device, hellos):
                    assert [record.hello.tag for record in hellos] == self.history(device).tags
                    assert hellos[-1].hello == self.history(device).hellos[-1]
                case PublishPlan(device, digest, payload):
                    self._published(device, digest, payload)
                    self.plans.append(effect)
                case SendBlocks(device, Token(number), file, read):
                    assert self.sent[number].message == read
                    assert file in self.history(device).plans[read.digest].files
                    self.blocks.append(effect)

    def _answerable(self, number: int) -> bool:
        """A read is acknowledged at once, every other message by its last effect."""
        return not self.sent[number].acknowledged or isinstance(self.sent[number].message, Read)

    def _published(self, device: Device, digest: int, payload: bytes) -> None:
        history = self.history(device)
        answered = history.plans[digest]
        newest = history.hellos[-1] if history.hellos else None
        assert payload == (answered.payload_without_urls if newest and newest.flags else answered.payload)
        assert newest is None or newest.max_payload is None or len(payload) <= newest.max_payload

    def _asked(self, call: Call) -> None:
        assert call.device not in self.in_flight
        assert call.device not in self.backing_off
        self.in_flight[call.device] = call
        assert len(self.in_flight) <= self.concurrency
        if not isinstance(call, SendHeartbeat):
            return
        carried = [self.sent[number] for number in numbers(call)]
        assert 1 <= len(carried) == call.heartbeats <= self.most
        assert numbers(call) == sorted(set(numbers(call)))
        assert not any(sent.acknowledged for sent in carried)
        assert {sent.device for sent in carried} == {call.device}
        results = {sent.message.result for sent in carried if isinstance(sent.message, Heartbeat)} - {None}
        assert [result.deployment for result in results if result] == ([call.result.deployment] if call.result else [])
        for (_, number, date), sent in zip(call.metrics, carried, strict=True):
            assert date in self._dates(sent), number
            assert call.agent_version in {layout.agent_version for layout in self._layouts(sent)}

    def _layouts(self, sent: Sent) -> list[Layout]:
        """What the positions of a heartbeat may mean, by all hellos of its device."""
        assert isinstance(sent.message, Heartbeat)
        source = sent.message.source
        if source is LIVENESS:
            return [source, *(hello.layout for hello in self.history(sent.device).hellos)]  # for their versions
        if isinstance(source, Layout):
            return [source]
        return [hello.layout for hello in self.history(sent.device).hellos if hello.tag == source]

    def _dates(self, sent: Sent) -> set[int]:
        """The dates that its sample may have: by an epoch of a hello with its tag, or one that messages let infer."""
        assert isinstance(sent.message, Heartbeat)
        time, source = sent.message.time, sent.message.source
        if time is None:
            return {sent.arrived}
        if isinstance(source, Layout):
            return {time}
        stated = {hello.epoch for hello in self.history(sent.device).hellos if hello.tag == source}
        inferred = {
            other.arrived - other.message.time
            for other in self.sent
            if isinstance(other.message, Heartbeat)
            and (other.device, other.message.source) == (sent.device, source)
            and other.message.time is not None
        }
        possible = (stated - {None}) | (
            {each for each in inferred if each + time <= sent.arrived} if None in stated else set()
        )
        return {epoch + time for epoch in possible if epoch is not None}

    def _on_acknowledged(self, number: int, effects: list[Effect]) -> None:
        sent = self.sent[number]
        assert not sent.acknowledged
        sent.acknowledged = True
        replies = [each.ack for each in effects if isinstance(each, PublishAck) and each.delivery.number == number]  # type: ignore[attr-defined]
        if isinstance(sent.message, Heartbeat | Get) and not sent.forgotten:
            seq = sent.message.seq
            expected = (
                [] if sent.dead_lettered is None and seq is None else [(seq, sent.dead_lettered or Code.ACCEPTED)]
            )
            assert [
                (ack.seq, ack.code) for ack in replies if ack.code is not Code.TOO_LARGE or sent.dead_lettered
            ] == expected
            self._ended(sent, number)
        elif isinstance(sent.message, Hello):
            assert replies == []

    def _ended(self, sent: Sent, number: int) -> None:
        """Accepted exactly once and in its order, or rejected with a reason that there was."""
        history = self.history(sent.device)
        if sent.dead_lettered is None:
            assert number > history.last_accepted
            history.last_accepted = number
        if isinstance(sent.message, Heartbeat):
            assert sent.accepted == (sent.dead_lettered is None)
            assert sent.dead_lettered is not Code.REFUSED or sent.poison
            if sent.dead_lettered is Code.UNKNOWN_TAG:
                assert sent.message.source not in history.tags
                assert any(0.5 <= self.now - at <= ASKED_BEFORE_S for at in self.confirmed[sent.device])


def numbers(call: SendHeartbeat) -> list[int]:
    """The numbers of the heartbeats in a call, in its order."""
    return [int(value) for _, value, _ in call.metrics]
