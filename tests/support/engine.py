"""A visitor's stand in the quiet room: a core with hand-set clocks, and words for what it is told and what it decides.

No test of its own. Plans have payloads of a known length, so that max_payload can be played with.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.core.effects import Acknowledge, CallService, Effect, PublishAck
from gateway.core.engine import Engine, Message, Policy
from gateway.protocol.messages import Device, Hello, HelloRecord, Instant, Layout, Metric, Model, Plan
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
TAKEN: Accepted[Any] = Accepted(None)

E = TypeVar("E", bound=Effect)


@dataclass(frozen=True, slots=True)
class Slip:
    """A ticket."""

    number: int
    connection: int = 1


def plan(digest: int, length: int = 100) -> Plan:
    """A plan of `length` bytes, half of which are URLs."""
    return Plan(digest, b"u" * length, b"b" * (length // 2))


def only(effects: Iterable[Effect], kind: type[E]) -> list[E]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def codes(effects: Iterable[Effect]) -> list[tuple[int | None, int]]:
    """(seq, code) of each ack."""
    return [(reply.ack.seq, int(reply.ack.code)) for reply in only(effects, PublishAck)]


def settled(effects: Iterable[Effect]) -> list[int]:
    """The numbers of the tickets that are settled."""
    return [effect.ticket.number for effect in only(effects, Acknowledge) if isinstance(effect.ticket, Slip)]


def calls(effects: Iterable[Effect]) -> list[Any]:
    """The calls that are asked for."""
    return [effect.call for effect in only(effects, CallService)]


def kinds(effects: Iterable[Effect]) -> list[str]:
    """The names of the effects, in their order."""
    return [type(effect).__name__ for effect in effects]


@dataclass
class Room:
    """A core, the clocks, and the number of the last ticket. A minute in here takes no time."""

    rules: Policy = field(default_factory=lambda: Policy(ask_registration=False))
    wall: float = EPOCH + 1000.0
    mono: float = 100.0
    connection: int = 1
    ticket: int = 0

    def __post_init__(self) -> None:
        self.core = Engine(self.rules)

    @property
    def now(self) -> Instant:
        """Both clocks."""
        return Instant(self.wall, self.mono)

    def wait(self, seconds: float) -> None:
        """Both clocks go on; nothing else happens."""
        self.wall += seconds
        self.mono += seconds

    def hear(self, message: Message, device: Device = DEVICE) -> list[Effect]:
        """A message comes in under the next ticket."""
        self.ticket += 1
        return self.core.receive(device, message, Slip(self.ticket, self.connection), self.now)

    def answer(self, outcome: Outcome[Any], device: Device = DEVICE) -> list[Effect]:
        """The call in flight has its outcome."""
        return self.core.resolve(device, outcome, self.now)

    def know(self, hello: Hello = HELLO, device: Device = DEVICE) -> None:
        """The device has said hello in an earlier life of the gateway."""
        self.core.recall(device, [HelloRecord(hello)])

    def confirm(self, device: Device = DEVICE) -> None:
        """The broker confirmed the subscription to the device's hello."""
        self.core.hello_asked(device, self.now)
