"""The account of a core's effects: what each device sent and what became of it. No test of its own.

Each heartbeat carries its ticket's number as its first sample, so that it is found again in the calls. `carried_out`
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
from gateway.protocol.messages import Device, Get, Heartbeat, Hello, Layout, Plan, Read
from gateway.protocol.service_calls import Call, SendHeartbeat

TAGS_KEPT = 4
KEPT_AT_MOST = 3
"""Settled tickets that a device may still hold: of a `have` and of a read to be answered, and of a call for one."""

Message: TypeAlias = Heartbeat | Get | Read | Hello | MessageError


@dataclass(frozen=True)
class Slip:
    """A ticket that tells when nobody holds it any more."""

    number: int
    connection: int


@dataclass
class Sent:
    """A message as its device sent it, and what became of it. `poison`: the service refuses it for good."""

    device: Device
    message: Message
    arrived: int
    poison: bool = False
    settled: bool = False
    buried: Code | None = None
    forgotten: bool = False
    accepted: int = 0

    @property
    def waits(self) -> bool:
        """Whether the core has still to bring it to its end."""
        return not self.settled and isinstance(self.message, Heartbeat | Get)


@dataclass
class Said:
    """What the outside knows of one device. `hellos`: all that it told; `tags`: the last few, newest last."""

    hellos: list[Hello] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    plans: dict[int, Plan] = field(default_factory=dict)
    last_accepted: int = -1

    def hello(self, hello: Hello) -> None:
        self.hellos.append(hello)
        self.tags = [*(tag for tag in self.tags if tag != hello.tag), hello.tag][-TAGS_KEPT:]


class Ledger:
    """`most`: heartbeats at most in one call. `window`: calls at once at most. `held`: their call failed alone."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sent: list[Sent] = []
        self.said: dict[Device, Said] = {}
        self.in_flight: dict[Device, Call] = {}
        self.window = 1 << 16
        self.held: set[Device] = set()
        self.awaited: set[Device] = set()
        self.blocks: list[SendBlocks] = []
        self._slips: list[weakref.ref[Slip]] = []

    def of(self, device: Device) -> Said:
        return self.said.setdefault(device, Said())

    def ticket(self, connection: int) -> Slip:
        """The ticket of the message that was sent last."""
        slip = Slip(len(self.sent) - 1, connection)
        self._slips.append(weakref.ref(slip))
        return slip

    def kept(self) -> int:
        """How many settled tickets somebody holds yet."""
        self._slips = [slip for slip in self._slips if slip() is not None]
        return sum(1 for slip in self._slips if (known := slip()) is not None and self.sent[known.number].settled)

    def busy(self) -> set[Device]:
        """The devices of which something waits, or a call is in flight."""
        return {sent.device for sent in self.sent if sent.waits} | set(self.in_flight)

    def carried_out(self, effects: list[Effect]) -> None:
        """Note what the effects do, in their order."""
        for effect in effects:
            match effect:
                case CallService(call):
                    self._asked(call)
                case Acknowledge(Slip(number)):
                    self._settled(number, effects)
                case PublishAck(Slip(number), ack):
                    assert ack.code in (Code.TOO_LARGE, Code.UNKNOWN_PLAN) or self._answerable(number)
                case DeadLetter(Slip(number), code):
                    assert self._answerable(number)
                    self.sent[number].buried = code
                case FetchRetainedHello(device):
                    self.awaited.add(device)
                case SaveHellos(device, hellos):
                    assert [record.hello.tag for record in hellos] == self.of(device).tags
                    assert hellos[-1].hello == self.of(device).hellos[-1]
                case PublishPlan(device, digest, payload):
                    self._published(device, digest, payload)
                case SendBlocks(device, Slip(number), file, read):
                    assert self.sent[number].message == read
                    assert file in self.of(device).plans[read.digest].files
                    self.blocks.append(effect)

    def _answerable(self, number: int) -> bool:
        """A read is settled at once; whatever else is settled last of all."""
        return not self.sent[number].settled or isinstance(self.sent[number].message, Read)

    def _published(self, device: Device, digest: int, payload: bytes) -> None:
        said = self.of(device)
        answered = said.plans[digest]
        newest = said.hellos[-1] if said.hellos else None
        assert payload == (answered.payload_without_urls if newest and newest.flags else answered.payload)
        assert newest is None or newest.max_payload is None or len(payload) <= newest.max_payload

    def _asked(self, call: Call) -> None:
        assert call.device not in self.in_flight
        assert call.device not in self.held
        self.in_flight[call.device] = call
        assert len(self.in_flight) <= self.window
        if not isinstance(call, SendHeartbeat):
            return
        carried = [self.sent[number] for number in numbers(call)]
        assert 1 <= len(carried) == call.heartbeats <= self.most
        assert numbers(call) == sorted(set(numbers(call)))
        assert not any(sent.settled for sent in carried)
        assert {sent.device for sent in carried} == {call.device}
        results = {sent.message.result for sent in carried if isinstance(sent.message, Heartbeat)} - {None}
        assert [result.deployment for result in results if result] == ([call.result.deployment] if call.result else [])
        for (_, number, date), sent in zip(call.metrics, carried, strict=True):
            assert date in self._dates(sent), number
            assert call.agent_version in {layout.agent_version for layout in self._layouts(sent)}

    def _layouts(self, sent: Sent) -> list[Layout]:
        """What the positions of a heartbeat may mean, by all that its device told."""
        assert isinstance(sent.message, Heartbeat)
        source = sent.message.source
        if isinstance(source, Layout):
            return [source]
        return [hello.layout for hello in self.of(sent.device).hellos if hello.tag == source]

    def _dates(self, sent: Sent) -> set[int]:
        """The dates that its sample may have: by an epoch that was told for its tag, or one that messages implied."""
        assert isinstance(sent.message, Heartbeat)
        time, source = sent.message.time, sent.message.source
        if time is None:
            return {sent.arrived}
        if isinstance(source, Layout):
            return {time}
        told = {hello.epoch for hello in self.of(sent.device).hellos if hello.tag == source}
        implied = {
            other.arrived - other.message.time
            for other in self.sent
            if isinstance(other.message, Heartbeat)
            and (other.device, other.message.source) == (sent.device, source)
            and other.message.time is not None
        }
        possible = (told - {None}) | (
            {each for each in implied if each + time <= sent.arrived} if None in told else set()
        )
        return {epoch + time for epoch in possible if epoch is not None}

    def _settled(self, number: int, effects: list[Effect]) -> None:
        sent = self.sent[number]
        assert not sent.settled
        sent.settled = True
        replies = [each.ack for each in effects if isinstance(each, PublishAck) and each.delivery.number == number]
        if isinstance(sent.message, Heartbeat | Get) and not sent.forgotten:
            seq = sent.message.seq
            expected = [] if sent.buried is None and seq is None else [(seq, sent.buried or Code.ACCEPTED)]
            assert [(ack.seq, ack.code) for ack in replies if ack.code is not Code.TOO_LARGE or sent.buried] == expected
            self._ended(sent, number)
        elif isinstance(sent.message, Hello):
            assert replies == []

    def _ended(self, sent: Sent, number: int) -> None:
        """Accepted exactly once and in its order, or refused with a reason that there was."""
        said = self.of(sent.device)
        if sent.buried is None:
            assert number > said.last_accepted
            said.last_accepted = number
        if isinstance(sent.message, Heartbeat):
            assert sent.accepted == (sent.buried is None)
            assert sent.buried is not Code.REFUSED or sent.poison
            assert sent.buried is not Code.UNKNOWN_TAG or sent.message.source not in said.tags


def numbers(call: SendHeartbeat) -> list[int]:
    """The tickets of the heartbeats in a call, in its order."""
    return [int(value) for _, value, _ in call.metrics]
