"""The nouns of the garden side: what the Edge Manager is asked, and how it answered.

Frozen values, no boto3, no retries. Members that are None are absent in the call.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from gateway.protocol.messages import Device, Metric, ModelResult, Number

Answer = TypeVar("Answer")

DatedSample: TypeAlias = tuple[Metric, Number, int]
"""(metric, value after the exponent, Unix seconds)."""


class ModelReport(NamedTuple):
    """One entry of SendHeartbeat's Models."""

    name: str
    version: str
    latest_sample: int | None
    latest_inference: int | None
    metrics: tuple[DatedSample, ...]


@dataclass(frozen=True, slots=True)
class DatedResult:
    """SendHeartbeat's DeploymentResult."""

    deployment: str | None
    status: str | None
    message: str | None
    start: int | None
    end: int | None
    models: tuple[ModelResult, ...] | None


class SendHeartbeat(NamedTuple):
    """One call for one or several heartbeats of a device. `heartbeats` counts them."""

    device: Device
    agent_version: str
    metrics: tuple[DatedSample, ...]
    models: tuple[ModelReport, ...]
    result: DatedResult | None
    heartbeats: int = 1


@dataclass(frozen=True, slots=True)
class GetDeployments:
    """`patient`: worth retrying, since a device waits for the answer."""

    device: Device
    patient: bool


@dataclass(frozen=True, slots=True)
class GetDeviceRegistration:
    """Asked before anything else is; failing is an outage, never an answer."""

    device: Device


Call: TypeAlias = SendHeartbeat | GetDeployments | GetDeviceRegistration


@dataclass(frozen=True, slots=True)
class Definition:
    """A model of a deployment, as the API gives it."""

    handle: str | None
    state: str | None
    checksum: str | None = None
    checksum_type: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """An EdgeDeployment, as the API gives it; None where the member was absent."""

    name: str | None
    policy: str | None
    definitions: tuple[Definition, ...] | None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """`word` is the API's DeviceRegistration, a free string; `ttl` is CacheTTL in seconds."""

    word: str
    ttl: float


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Answer]):
    """The service took the call. `answer`: None, a Registration, or what the deployments became."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service will never take this call."""

    detail: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """This call kept failing for longer than the limit while other devices' calls succeeded."""

    detail: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody answered and nobody will be waited for (a shutdown, or an impatient call): nothing may be settled."""

    detail: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It failed, and is worth making again. `alone`: others get through, so the device waits until it is told;
    else it waits for its turn."""

    alone: bool


Outcome: TypeAlias = Accepted[Answer] | Rejected | Abandoned | Cancelled | RetryLater
