"""Judgement on what the live broker lets a device do: its own topics, and no other's. Pure."""

from gateway.doctor.facts import AsDevice, NotTried, Obstacle
from gateway.doctor.judge_acl import CONVERT, TAKE_OUT
from gateway.doctor.verdict import Verdict, failed, passed, unknown

CHECK = "devices"
REFUSED = 0x80
"""MQTT 5: reason codes from here on are refusals."""

_TODO = {
    Obstacle.NO_BOARD: "`edge-gateway devices init` makes it, then reload the broker; --board names another place",
    Obstacle.NO_BOARD_TO_US: "run this where it can be read, as root; --board names another place",
    Obstacle.NOT_REACHED: "put host and port of a listener for devices into this board file",
    Obstacle.NO_TLS: "devices meet it too: `edge-gateway devices init HOST --renew` makes a certificate for this name",
    Obstacle.LOGIN: "`edge-gateway devices init`, then reload the broker; it keeps the password of this device",
    Obstacle.BROKE: "the broker's log says more",
}
_BROKEN = {Obstacle.NO_TLS, Obstacle.LOGIN}


def devices(found: AsDevice | NotTried) -> Verdict:
    """Whether devices reach what is theirs, and nothing else."""
    if isinstance(found, NotTried):
        said = f"not tried: {found.obstacle.value} ({found.detail})"
        todo = _TODO[found.obstacle]
        return failed(CHECK, said, todo) if found.obstacle in _BROKEN else unknown(CHECK, said, todo)
    if found.wrote or found.read:
        return failed(CHECK, f"{found.user} may {_reach(found)}", TAKE_OUT)
    refused = [f"writing hello (reason {found.code})"] if found.code >= REFUSED else []
    refused += ["reading ack"] if found.heard is False else []
    if refused:
        why = "since Mosquitto 2.1 %u in a pattern stands for one level of a topic"
        denied = f"the broker denies devices their own topics: {found.user} {' and '.join(refused)}"
        return failed(CHECK, denied, f"{why}: {CONVERT}")
    if found.heard is None:
        said = f"the gateway's user may not write ack of {found.user}"
        return unknown(CHECK, said, "give the gateway's user its lines in the acl_file")
    return passed(CHECK, f"{found.user} at {found.host}:{found.port} writes and reads its own topics, no other's")


def _reach(found: AsDevice) -> str:
    parts = [("write", found.wrote), ("read", found.read)]
    return " and ".join(f"{verb} {', '.join(topics)}" for verb, topics in parts if topics)
