"""Messages from and to devices, as device_sdk/PROTOCOL.md has them. The service's limits are checked on construction.

Values without bytes, topics or a clock. Those that are made for every heartbeat are named tuples, which cost a third.
Times are Unix seconds, ages are seconds before the heartbeat's time.
"""

from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeAlias

from gateway.errors import Code, LimitError
from gateway.protocol import limits

Number: TypeAlias = int | float
"""A sample as it travelled: an int, or a finite float; never a bool."""

Samples: TypeAlias = Number | tuple[Number, ...] | None
"""None: no sample. A number: one, at the heartbeat's time. A tuple: number, age, number, age, ..."""

LATEST = 4_102_444_800
"""2100-01-01 in Unix seconds: the protocol's last date."""

CHECK_COUNT, CHECK_TIME = 8, 3600.0
"""So many messages, over so many seconds, say whether an epoch that was inferred in an earlier boot is right: a message
may have waited, but not all of them."""
LEARNT_WITHIN = 15
"""Seconds by which the epoch that a device takes from an ack may differ from the one that its messages imply."""

NO_URLS = 1
"""Bit 0 of a hello's flags: leave S3 URLs out of plans."""

MAX_BLOCKS = 64
MAX_BLOCK_BYTES = 65_536
"""What one `read` may ask for: so many blocks, of so many bytes each."""

STATES = {1: "DEPLOY", 0: "UNDEPLOY"}
STATUSES = {1: "SUCCESS", 0: "FAIL"}
POLICIES = {0: "ROLLBACK_ON_FAILURE", 1: "DO_NOTHING"}
"""Numbers on the wire, and the API's names."""


class Instant(NamedTuple):
    """One reading of both clocks: `wall` in Unix seconds for dating, `mono` in seconds for waiting."""

    wall: float
    mono: float


class _DeviceNames(NamedTuple):
    fleet: str
    name: str


class Device(_DeviceNames):
    """The sender: from the topic, and from nothing else. A tuple, since each heartbeat looks it up four times."""

    __slots__ = ()

    def __new__(cls, fleet: str, name: str) -> "Device":
        limits.DEVICE_FLEET_NAME.check(fleet, "fleet")
        limits.DEVICE_NAME.check(name, "device")
        return super().__new__(cls, fleet, name)

    def __str__(self) -> str:
        return f"{self.fleet}/{self.name}"


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a layout. A sample n means n * 10**exponent where there is an exponent (-30 to 30)."""

    dimension: str
    name: str
    exponent: int | None = None

    def __post_init__(self) -> None:
        limits.DIMENSION.check(self.dimension, "dimension")
        limits.METRIC.check(self.name, "metric")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a layout, with the metrics that it reports."""

    name: str
    version: str
    metrics: tuple[Metric, ...]

    def __post_init__(self) -> None:
        limits.MODEL_NAME.check(self.name, "model")
        limits.VERSION.check(self.version, "model version")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Layout:
    """What the positions of a heartbeat mean. Kept once for all devices that share it.

    `longest_names`: characters of the names of a metric, or of a model, at most.
    """

    agent_version: str
    metrics: tuple[Metric, ...]
    models: tuple[Model, ...]
    longest_names: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits.VERSION.check(self.agent_version, "agent version")
        metrics = chain(self.metrics, *(model.metrics for model in self.models))
        lengths = [len(metric.dimension) + len(metric.name) for metric in metrics]
        lengths += [len(model.name) + len(model.version) for model in self.models]
        object.__setattr__(self, "longest_names", max(lengths, default=0))


LIVENESS = Layout("unknown", (Metric("liveness", "state"), Metric("liveness", "seconds")), ())
"""Of the heartbeat that a `live` is; `unknown` where no hello of the device is known."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A device's retained introduction. `epoch` None: it has no clock. `max_payload` in bytes, None: no limit."""

    tag: int
    layout: Layout
    epoch: int | None = None
    max_payload: int | None = None
    flags: int = 0

    def __post_init__(self) -> None:
        if self.epoch is not None and self.epoch > LATEST:
            raise LimitError(f"epoch: {self.epoch} is after 2100")


@dataclass(slots=True)
class HelloRecord:
    """A hello that the gateway keeps. `inferred_epoch`: by the gateway's clock, of a device that has none.

    That is the earliest that its messages imply, or the one that the device took from an ack. `clock`: wall minus
    monotonic time, in seconds, by which it was inferred; None: by the clock of an earlier boot, or it is not inferred.
    `epoch`: the Unix second from which the device counts, as far as it is known. It changes while messages wait under
    the record: they are dated by what is known when they are sent.
    """

    hello: Hello
    inferred_epoch: int | None = None
    clock: float | None = None
    epoch: int | None = field(init=False)
    _this_boot: tuple[float, float, int] | None = field(default=None, init=False, compare=False, repr=False)
    """Of an epoch of an earlier boot: the earliest that messages imply in this one, on the monotonic clock; when the
    first of these came, on the same; and how many came."""

    def __post_init__(self) -> None:
        self.epoch = self.hello.epoch if self.inferred_epoch is None else self.inferred_epoch

    def replace_hello(self, hello: Hello) -> None:
        """The same tag and layout, with other limits or the epoch that was missing."""
        if hello.epoch is not None and self.hello.epoch is None and self.inferred_epoch is not None:
            learnt = abs(hello.epoch - self.inferred_epoch) <= LEARNT_WITHIN
            self.inferred_epoch = hello.epoch if learnt else None
        self.hello = hello
        self.__post_init__()

    def infer_epoch(self, epoch: int, now: Instant) -> bool:
        """Keep the earliest epoch of a device without a clock; True where the record changed."""
        clock, known = now.wall - now.mono, self.inferred_epoch
        slack = 0 if self.hello.epoch is None else LEARNT_WITHIN
        if known is None or epoch < known - slack:
            self.inferred_epoch = epoch
        elif self.clock is not None:
            return False
        else:
            earliest = self._earliest_in_this_boot(epoch - clock, now.mono)
            if earliest is None:
                return False
            if round(earliest + clock) > known + LEARNT_WITHIN:
                self.inferred_epoch = round(earliest + clock)
        self.clock, self._this_boot = clock, None
        self.__post_init__()
        return True

    def _earliest_in_this_boot(self, implied: float, mono: float) -> float | None:
        """The earliest epoch that messages imply, on the monotonic clock; None until enough have come."""
        earliest, since, count = self._this_boot or (implied, mono, 0)
        self._this_boot = earliest, since, count = min(earliest, implied), since, count + 1
        return earliest if count >= CHECK_COUNT and mono - since >= CHECK_TIME else None

    def follow_clock(self, clock: float) -> None:
        """The gateway's clock was set: move what was inferred by it."""
        if self.inferred_epoch is not None and self.clock is not None:
            step = round(clock - self.clock)
            self.inferred_epoch += step
            self.clock += step
            self.__post_init__()


class ModelSamples(NamedTuple):
    """What a heartbeat says of one model of its layout."""

    sample_age: int | None
    inference_age: int | None
    metrics: tuple[Samples, ...]


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model of a DeploymentResult. States and status are the API's names (DEPLOY, SUCCESS, ...)."""

    handle: str | None
    name: str | None
    version: str | None
    desired: str | None
    state: str | None
    status: str | None
    reason: str | None = None
    rollback_reason: str | None = None

    def __post_init__(self) -> None:
        if self.handle is not None:
            limits.ENTITY_NAME.check(self.handle, "result's model handle")
        if self.name is not None:
            limits.MODEL_NAME.check(self.name, "result's model")
        if self.version is not None:
            limits.VERSION.check(self.version, "result's model version")


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a deployment, with ages in place of times."""

    deployment: str | None
    status: str | None
    message: str | None = None
    start_age: int | None = None
    end_age: int | None = None
    models: tuple[ModelResult, ...] | None = None

    def __post_init__(self) -> None:
        if self.deployment is not None:
            limits.ENTITY_NAME.check(self.deployment, "result's deployment")
        if self.status is not None:
            limits.ENTITY_NAME.check(self.status, "result's status")


class Heartbeat(NamedTuple):
    """`source`: the tag of a hello, from whose epoch `time` counts, or a layout, and `time` is in Unix seconds."""

    source: int | Layout
    time: int | None = None
    values: tuple[Samples, ...] = ()
    models: tuple[ModelSamples | None, ...] = ()
    have: int | None = None
    result: Result | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Get:
    """A deployment request: answered by the service, never by a cache. `have` 0: the device holds no plan."""

    have: int | None = 0
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A request for `count` blocks of `length` bytes of a model file, from `offset` on."""

    digest: int
    index: int
    offset: int
    length: int
    count: int = 1

    def __post_init__(self) -> None:
        if self.count > MAX_BLOCKS or self.length > MAX_BLOCK_BYTES:
            most = f"{MAX_BLOCKS} of {MAX_BLOCK_BYTES}"
            raise LimitError(f"read: {self.count} blocks of {self.length} bytes, at most {most}")


DeviceMessage: TypeAlias = Hello | Heartbeat | Get | Read


class Ack(NamedTuple):
    """The outcome of a message: code 0, or an error. `time` is the gateway's clock in Unix seconds."""

    seq: int | None
    code: Code
    time: int
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The file behind a definition: where it is, and the checksum (hex digits) that it must have."""

    url: str
    checksum: str
    checksum_type: str = "SHA1"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a device is to have: its payloads are ready to be published.

    `files`: one for each definition, through all deployments; None where there is nothing to read.
    """

    digest: int
    payload: bytes
    payload_without_urls: bytes
    files: tuple[ModelFile | None, ...] = ()
