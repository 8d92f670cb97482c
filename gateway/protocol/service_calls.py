"""Calls to the Edge Manager and their outcomes. Members that are None are absent in the call.

Frozen values; must never depend on boto3 or on retries.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from gateway.protocol.messages import Device, Metric, ModelResult, Number

T = TypeVar("T")

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
    """`retryable`: a device waits for the answer."""

    device: Device
    retryable: bool


@dataclass(frozen=True, slots=True)
class GetDeviceRegistration:
    """The first call of a device. An error of it is an outage, never an answer."""

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
    """`status` is the API's DeviceRegistration, a free string; `ttl` is CacheTTL in seconds.

    `since`: RegistrationTime in Unix seconds, which tells two devices of one name apart; None: the service does not
    say it. `ask_again`: a device that is not registered may be asked for at its next message, before `ttl` is over.
    """

    status: str
    ttl: float
    since: float | None = None
    ask_again: bool = False


class DeviceVersion(str):
    """What this project's Edge Manager says of a device whose heartbeat it accepted: `RegistrationTime/number`.

    Two are equal where the device is the same and its deployments have not changed between.
    """

    __slots__ = ()

    @property
    def since(self) -> float | None:
        """As Registration; None: this is of another form."""
        try:
            since = float(self.partition("/")[0])
        except ValueError:
            return None
        return since if isfinite(since) else None


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T]):
    """The service took the call. `answer`: a Registration, or deployments (to the core, a Plan); of a heartbeat a
    DeviceVersion, None where the service does not say it."""

    answer: T


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
    """No answer, and none is awaited (a shutdown, or a call that is not retryable): nothing may be acknowledged."""

    detail: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It failed, and must be retried. `only_this_device`: calls of others succeed, so the core waits for
    `Engine.retry_due`; else the device waits for a free slot."""

    only_this_device: bool


CallFailure: TypeAlias = Rejected | Abandoned | Cancelled | RetryLater
Outcome: TypeAlias = Accepted[T] | CallFailure
