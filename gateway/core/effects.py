"""What the core decides, as values. The runner carries a list of them out in order; Settle is the last of its message.

Nouns only: nothing here acts.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from gateway.errors import Code
from gateway.protocol.messages import Ack, Device, HelloRecord, ModelFile, Read
from gateway.protocol.service_calls import Call


class DeliveryToken(Protocol):
    """Stands for one delivery of the broker. `connection` counts connections; a ticket is good for its own alone."""

    @property
    def connection(self) -> int: ...


class CallService(NamedTuple):
    """Make a call to the Edge Manager; its outcome comes back to `Core.resolve`."""

    call: Call


@dataclass(frozen=True, slots=True)
class PublishAck:
    """Publish an ack to the sender of a delivery. `max_payload` in bytes, None: no limit known."""

    ticket: DeliveryToken
    ack: Ack
    max_payload: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Publish the refused payload of a delivery on `dead`, byte for byte, with the reason."""

    ticket: DeliveryToken
    code: Code
    detail: str


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """Publish a plan, retained."""

    device: Device
    digest: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendBlocks:
    """Publish the blocks of `file` that `read` asks for; what cannot be had is told to the sender of `ticket`."""

    device: Device
    ticket: DeliveryToken
    file: ModelFile
    read: Read


@dataclass(frozen=True, slots=True)
class FetchRetainedHello:
    """Ask the broker for the device's retained hello; `Core.hello_asked` hears when the broker confirmed."""

    device: Device


@dataclass(frozen=True, slots=True)
class SaveHellos:
    """Keep a device's hellos, newest last, for the gateway's next life."""

    device: Device
    hellos: tuple[HelloRecord, ...]


class Acknowledge(NamedTuple):
    """Acknowledge a delivery to the broker, once everything before it in the list is confirmed."""

    ticket: DeliveryToken


Effect: TypeAlias = (
    CallService | PublishAck | DeadLetter | PublishPlan | SendBlocks | FetchRetainedHello | SaveHellos | Acknowledge
)
