"""Check of what the live broker allows a device: its own topics, and no other's. Pure."""

from dataclasses import dataclass
from enum import Enum

from gateway.doctor.checks.isolation import CONVERT, REMOVE_LINES
from gateway.doctor.result import CheckResult, failed, passed, unknown, warned
from gateway.mqtt import FAILURE

CHECK = "devices"


@dataclass(frozen=True, slots=True)
class DeviceTrial:
    """What the doctor's device may do. `host` and `port`: where its board file says that devices connect.

    `code`: the broker's reason code for its own hello; `received`: whether its own ack arrived, None: no ack could be
    published. `written`, `read`: the topics of other devices that it could write and read, though it may not.
    `joins_groups`: it may subscribe to a shared subscription of all heartbeats.
    """

    user: str
    host: str
    port: int
    code: int
    received: bool | None
    written: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    joins_groups: bool = True


class Obstacle(Enum):
    """Why the doctor's device could try nothing."""

    NO_BOARD_FILE = "its board file is missing"
    BOARD_FILE_UNUSABLE = "its board file cannot be used from here"
    NOT_REACHED = "its listener is not reached"
    NO_TLS = "TLS fails"
    LOGIN = "it is refused"
    INTERRUPTED = "the trial was interrupted"


@dataclass(frozen=True, slots=True)
class NotTried:
    """`detail`: what happened, with the file or the address."""

    obstacle: Obstacle
    detail: str


_TODO = {
    Obstacle.NO_BOARD_FILE: "`edge-gateway devices init` makes it, then reload the broker; --board names another file",
    Obstacle.BOARD_FILE_UNUSABLE: "run this where it can be read, as root; --board names another file",
    Obstacle.NOT_REACHED: "put host and port of a listener for devices into this board file",
    Obstacle.NO_TLS: "devices fail too: `edge-gateway devices init HOST --renew` makes a certificate for this name",
    Obstacle.LOGIN: "`edge-gateway devices init`, then reload the broker; it keeps the password of this device",
    Obstacle.INTERRUPTED: "the broker's log says more",
}
_FAILURES = {Obstacle.NO_TLS, Obstacle.LOGIN}


def check_devices(trial: DeviceTrial | NotTried) -> CheckResult:
    """Whether devices reach their own topics, and nothing else."""
    if isinstance(trial, NotTried):
        found = f"not tried: {trial.obstacle.value} ({trial.detail})"
        todo = _TODO[trial.obstacle]
        return failed(CHECK, found, todo) if trial.obstacle in _FAILURES else unknown(CHECK, found, todo)
    if trial.written or trial.read:
        pairs = [("write", trial.written), ("read", trial.read)]
        reached = " and ".join(f"{verb} {', '.join(topics)}" for verb, topics in pairs if topics)
        return failed(CHECK, f"{trial.user} may {reached}", REMOVE_LINES)
    denied = [f"writing hello (reason {trial.code})"] if trial.code >= FAILURE else []
    denied += ["reading ack"] if trial.received is False else []
    if denied:
        found = f"the broker denies devices their own topics: {trial.user} {' and '.join(denied)}"
        return failed(CHECK, found, f"since Mosquitto 2.1 %u in a pattern matches one level of a topic: {CONVERT}")
    if trial.received is None:
        found = f"the gateway's user may not write ack of {trial.user}"
        return unknown(CHECK, found, "give the gateway's user its lines in the acl_file")
    return passed(CHECK, f"{trial.user} at {trial.host}:{trial.port} writes and reads its own topics, no other's")


def check_group(trial: DeviceTrial | NotTried) -> CheckResult:
    """Where `group` is set: whether a device that knows its name could take messages of others away."""
    check, todo = "group", "keep the name in a file that others cannot read (GATEWAY_GROUP_FILE), or use fleets"
    if isinstance(trial, NotTried):
        return unknown(check, f"not tried: {trial.obstacle.value}", todo)
    if trial.joins_groups:
        found = "a device may join any group: only that its name is secret keeps other devices' messages from it"
        return warned(check, found, todo)
    return passed(check, "the broker refuses to let a device join a group")
