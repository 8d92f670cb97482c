"""What the core decides, as values, and how a message ends: accepted or rejected. Must never act.

The dispatcher executes a list of effects in its order; Acknowledge is the last effect of its message.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from gateway.errors import Code
from gateway.protocol import Ack, Call, Device, Get, HelloRecord, Instant, ModelFile, Read


class DeliveryToken(Protocol):
    """One delivery of the broker. `connection` counts connections: an acknowledgement is valid in its own only."""

    @property
    def connection(self) -> int: ...

    @property
    def payload(self) -> bytes: ...


class Queued(Protocol):
    """A message that waits for its outcome."""

    @property
    def delivery(self) -> DeliveryToken: ...

    @property
    def seq(self) -> int | None: ...


class QueuedRequest(Queued, Protocol):
    """A `get` that waits for its plan."""

    @property
    def get(self) -> Get: ...


class CallService(NamedTuple):
    """Make a call to the Edge Manager; its outcome goes to `Engine.resolve`."""

    call: Call


class PublishAck(NamedTuple):
    """Publish an ack to the sender of a delivery. `max_payload` in bytes, None: no limit known."""

    delivery: DeliveryToken
    ack: Ack
    max_payload: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Publish the rejected payload of a delivery on `dead`, byte for byte, with the reason. `count`: so many messages
    were rejected like it, and have no dead letter of their own."""

    delivery: DeliveryToken
    code: Code
    detail: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """Publish a plan, retained. `Engine.plan_published` or `Engine.plan_refused` follows, and answers `gets`.

    `delivery` asked for it; None: no message did.
    """

    device: Device
    digest: int
    payload: bytes
    delivery: DeliveryToken | None
    gets: Sequence[QueuedRequest] = ()


@dataclass(frozen=True, slots=True)
class SendBlocks:
    """Publish the blocks of `file` that `read` asks for; an error goes to `Engine.file_unavailable`."""

    device: Device
    delivery: DeliveryToken
    file: ModelFile
    read: Read


@dataclass(frozen=True, slots=True)
class FetchRetainedHello:
    """Subscribe to the device's retained hello; the broker's SUBACK goes to `Engine.hello_lookup_started`."""

    device: Device


@dataclass(frozen=True, slots=True)
class SaveHellos:
    """Save a device's hellos, newest last, for the next run of the gateway."""

    device: Device
    hellos: tuple[HelloRecord, ...]


@dataclass(frozen=True, slots=True)
class DeleteRetained:
    """Delete what the broker keeps for a device that is not registered: its hello, its plan and what it said last on
    `live`."""

    device: Device


@dataclass(frozen=True, slots=True)
class SaveRegistration:
    """Save for the next run of the gateway since when the device is registered, in Unix seconds; None: it is not."""

    device: Device
    since: float | None


@dataclass(frozen=True, slots=True)
class ReportClock:
    """Tell the operator that the wall clock was set by `step` seconds, or has become `wrong`, or right (neither).

    `held`: so many messages wait, or have waited, for a clock that is right.
    """

    step: int
    wrong: bool
    held: int


class Acknowledge(NamedTuple):
    """Acknowledge a delivery to the broker, once everything before it in the list is confirmed."""

    delivery: DeliveryToken


Effect: TypeAlias = (
    CallService
    | PublishAck
    | DeadLetter
    | PublishPlan
    | SendBlocks
    | FetchRetainedHello
    | SaveHellos
    | DeleteRetained
    | SaveRegistration
    | ReportClock
    | Acknowledge
)


class Effects(list[Effect]):
    """The effects of one event, at the time `now`. The functions of the core append to it."""

    __slots__ = ("now",)
    now: Instant

    def accept(self, delivery: DeliveryToken, seq: int | None, max_payload: int | None = None) -> None:
        """The service accepted a message: code 0 where the device asked for an ack."""
        if seq is not None:
            self.append(PublishAck(delivery, Ack(seq, Code.ACCEPTED, int(self.now.wall)), max_payload))
        self.append(Acknowledge(delivery))

    def report_error(
        self,
        delivery: DeliveryToken,
        code: Code,
        detail: str,
        max_payload: int | None,
        seq: int | None = None,
        count: int = 1,
    ) -> None:
        """An ack is sent even where there is no seq, so that a person at the device sees the error."""
        self.append(PublishAck(delivery, Ack(seq, code, int(self.now.wall), detail), max_payload))
        self.append(DeadLetter(delivery, code, detail, count))

    def reject(self, items: Iterable[Queued], code: Code, detail: str, max_payload: int | None) -> None:
        """The same error for each of a device's messages, which end with it."""
        for item in items:
            self.report_error(item.delivery, code, detail, max_payload, item.seq)
            self.append(Acknowledge(item.delivery))
