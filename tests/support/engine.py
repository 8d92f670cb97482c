"""The core with clocks set by hand, and its effects as plain values. No test of its own.

Plans have payloads of a known length, so that a test may choose max_payload.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, is_dataclass
from typing import Any, TypeVar

import msgpack

from gateway.core.effects import Acknowledge, CallService, Effect, PublishAck
from gateway.core.engine import Engine, Policy
from gateway.core.merging import KEPT_DECODED
from gateway.protocol.messages import (
    Device,
    DeviceMessage,
    Heartbeat,
    Hello,
    HelloRecord,
    Instant,
    Layout,
    Metric,
    Model,
    Plan,
)
from gateway.protocol.service_calls import Accepted, Outcome, Registration

DEVICE = Device("fleet-a", "dev-1")
OTHER = Device("fleet-a", "dev-2")
LAYOUT = Layout(
    "1.0.0",
    (Metric("sys", "free-heap"), Metric("sys", "temperature", -1)),
    (Model("keyword-spotting", "1.0", (Metric("sys", "latency-ms"),)),),
)
NEWER = Layout("2.0.0", LAYOUT.metrics, LAYOUT.models)
EPOCH = 1_795_458_600
HELLO = Hello(4711, LAYOUT, EPOCH, 1024)
REGISTERED = Accepted(Registration("REGISTERED", 300.0))
ACCEPTED: Accepted[Any] = Accepted(None)

E = TypeVar("E", bound=Effect)


@dataclass(frozen=True, slots=True)
class Token:
    """A delivery."""

    number: int
    connection: int = 1
    payload: bytes = b""


def heartbeat(number: int, seq: int | None = None) -> Heartbeat:
    """A heartbeat that its only sample identifies."""
    return Heartbeat(HELLO.tag, number, (number,), seq=seq)


def long_payload(heartbeat: Heartbeat) -> bytes:
    """The payload of a heartbeat, made long by an element that version 1 does not know."""
    members = [astuple(each) if is_dataclass(each) else each for each in heartbeat]
    return bytes(msgpack.packb([*members, bytes(KEPT_DECODED)]))


def plan(digest: int, length: int = 100) -> Plan:
    """A plan of `length` bytes, half of which are URLs."""
    return Plan(digest, b"u" * length, b"b" * (length // 2))


def of_type(effects: Iterable[Effect], kind: type[E]) -> list[E]:
    """The effects of one type."""
    return [effect for effect in effects if isinstance(effect, kind)]


def codes(effects: Iterable[Effect]) -> list[tuple[int | None, int]]:
    """(seq, code) of each ack."""
    return [(effect.ack.seq, int(effect.ack.code)) for effect in of_type(effects, PublishAck)]


def acknowledged(effects: Iterable[Effect]) -> list[int]:
    """The numbers of the deliveries that are acknowledged."""
    return [effect.delivery.number for effect in of_type(effects, Acknowledge) if isinstance(effect.delivery, Token)]


def calls(effects: Iterable[Effect]) -> list[Any]:
    """The calls to the service."""
    return [effect.call for effect in of_type(effects, CallService)]


def type_names(effects: Iterable[Effect]) -> list[str]:
    """The types of the effects, in their order."""
    return [type(effect).__name__ for effect in effects]


@dataclass
class EngineHarness:
    """An engine, both clocks, and how many messages were delivered."""

    policy: Policy = field(default_factory=lambda: Policy(ask_registration=False))
    wall: float = EPOCH + 1000.0
    mono: float = 100.0
    connection: int = 1
    deliveries: int = 0

    def __post_init__(self) -> None:
        self.engine = Engine(self.policy)

    @property
    def now(self) -> Instant:
        return Instant(self.wall, self.mono)

    def wait(self, seconds: float) -> None:
        """Set both clocks forward; nothing else happens."""
        self.wall += seconds
        self.mono += seconds

    def receive(self, message: DeviceMessage, device: Device = DEVICE, payload: bytes = b"") -> list[Effect]:
        """The next delivery. `payload`: of a message that is kept as such while it waits."""
        self.deliveries += 1
        return self.engine.receive(device, message, Token(self.deliveries, self.connection, payload), self.now)

    def resolve(self, outcome: Outcome[Any], device: Device = DEVICE) -> list[Effect]:
        """The outcome of the call in flight."""
        return self.engine.resolve(device, outcome, self.now)

    def restore_hello(self, hello: Hello = HELLO, device: Device = DEVICE) -> None:
        """An earlier run of the gateway saved this hello."""
        self.engine.restore_hellos(device, [HelloRecord(hello)])

    def suback(self, device: Device = DEVICE) -> None:
        """The broker confirmed the subscription to the device's hello."""
        self.engine.hello_lookup_started(device, self.now)
