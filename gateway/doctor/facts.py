"""What the probes find and the judgements are made from. Values; None where something is not known."""

from dataclasses import dataclass
from enum import Enum

from gateway.errors import CloudError, FileError


@dataclass(frozen=True, slots=True)
class Fault:
    """A probe that came to no end: why."""

    detail: str


# The broker


@dataclass(frozen=True, slots=True)
class Tls:
    """A handshake that succeeded. `expires`: the certificate's end, in Unix seconds."""

    version: str
    expires: float


@dataclass(frozen=True, slots=True)
class TlsFault:
    """One that did not. `code`: OpenSSL's X509_V_ERR of the certificate, 0 where that is not at fault."""

    code: int
    detail: str


@dataclass(frozen=True, slots=True)
class Way:
    """The way to the broker: TCP, then TLS (None: not spoken)."""

    host: str
    port: int
    fault: str = ""
    tls: Tls | TlsFault | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """What the broker's CONNACK says; the defaults are MQTT 5's. Sizes in bytes, times in seconds."""

    session_expiry: int | None = None
    maximum_qos: int = 2
    retain: bool = True
    wildcards: bool = True
    shared: bool = True
    largest_packet: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """How the broker took our CONNECT. `code`: its MQTT 5 reason where it refused; `older`: it answers MQTT 3.1.1."""

    announced: Announced | None = None
    code: int | None = None
    detail: str = ""
    older: bool = False


class Echo(Enum):
    """Whether what the doctor says on its own topic comes back to it."""

    HEARD = "heard"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Clients:
    """`beside`: two client ids of one user stand together; `replaced`: the same id again throws the first out."""

    beside: bool
    replaced: bool


@dataclass(frozen=True, slots=True)
class Session:
    """After a disconnect. `kept`: what was published meanwhile came; None where nothing could be published."""

    present: bool
    kept: bool | None


@dataclass(frozen=True, slots=True)
class Shared:
    """A shared subscription: the broker's reason code, and whether a message came by it; None where none could."""

    code: int
    heard: bool | None


@dataclass(frozen=True, slots=True)
class Manners:
    """How the broker behaved. `window`: messages that came in all with a Receive Maximum of WINDOW, after one ack."""

    topic: str
    echo: Echo | Fault
    session: Session | Fault
    window: int | Fault | None
    retained: bool | Fault | None
    shared: Shared | Fault
    version: str


WINDOW = 2


@dataclass(frozen=True, slots=True)
class AsDevice:
    """What a device of the doctor's own may do. `host` and `port`: where its board file says that devices connect.

    `code`: the broker's reason where it wrote its own hello; `heard`: whether its own ack arrived, None: nothing could
    be sent there. `wrote`, `read`: the topics of other devices that it could write and read, though it may not.
    """

    user: str
    host: str
    port: int
    code: int
    heard: bool | None
    wrote: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


class Obstacle(Enum):
    """Why a device of the doctor's own could try nothing."""

    NO_BOARD = "its board file is not there"
    NO_BOARD_TO_US = "its board file cannot be used from here"
    NOT_REACHED = "its listener is not reached"
    NO_TLS = "TLS fails"
    LOGIN = "it is refused"
    BROKE = "the trial broke off"


@dataclass(frozen=True, slots=True)
class NotTried:
    """`detail`: what happened, with the file or the address."""

    obstacle: Obstacle
    detail: str


# The files of the broker


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine. `group`: its own; `groups`: all of them."""

    name: str
    number: int
    group: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Access:
    """Owner, group and mode of a file or folder."""

    owner: int
    group: int
    mode: int


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """A file that mosquitto.conf names. `fault`: why it is none ("is missing"); `unseen`: why nobody can know of it.

    `link`: a symbolic link is in its place. `folders`: those above it. `mistakes`: lines that a broker cannot read.
    `long_salts`: users whose password only Mosquitto 2.1 reads.
    """

    option: str
    path: str
    fault: str = ""
    unseen: str = ""
    link: bool = False
    access: Access = Access(0, 0, 0)
    folders: tuple[Access, ...] = ()
    mistakes: tuple[str, ...] = ()
    long_salts: tuple[str, ...] = ()


# The cloud


@dataclass(frozen=True, slots=True)
class Service:
    """How the endpoint answered, call by call (None: it was accepted), for a device that does not exist.

    `word`: its DeviceRegistration. `ahead`: seconds by which our clock is ahead of the endpoint's.
    """

    url: str
    faults: dict[str, CloudError | None]
    word: str | None
    ahead: float | None


@dataclass(frozen=True, slots=True)
class ModelStore:
    """How S3 answered for an object. `asked`: its URL where an operator named it. `size` in bytes."""

    url: str
    asked: str | None
    fault: CloudError | FileError | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """The folder of the gateway's state: bytes free to us there, and those that the cache has taken already."""

    folder: str
    fault: str = ""
    free: int = 0
    taken: int = 0
