"""Judgements on how the broker behaved: client ids, sessions, retained messages, shared subscriptions. Pure."""

from gateway.config import Settings
from gateway.doctor.facts import WINDOW, Announced, Clients, Echo, Fault, Manners, Session, Shared
from gateway.doctor.verdict import Verdict, failed, passed, unknown, warned

KEPT_WINDOW = WINDOW + 1
"""Messages that come in all where the window is kept: it, and one more for the one that was acked."""
REFUSED = 0x80
"""MQTT 5: reason codes from here on are refusals."""


def manners(found: Manners, announced: Announced, settings: Settings, mosquitto: bool) -> list[Verdict]:
    """All that hang on `found`. `mosquitto`: the broker is known to be one."""
    return [
        session(found, announced, settings.session_expiry),
        window(found),
        retained(found, announced),
        shared(found, announced, settings.group, mosquitto or "mosquitto" in found.version),
    ]


def nameless(found: bool | None) -> Verdict:
    """Whether a client without a name is let in."""
    if found is None:
        todo = "see to it that the broker gives each certificate its own user name"
        return unknown("anonymous", "a certificate of ours is a name already", todo)
    if found:
        todo = "allow_anonymous false: the user name is all that keeps devices apart"
        return failed("anonymous", "the broker lets in whoever gives no name", todo)
    return passed("anonymous", "who gives no name is refused")


def clients(found: Clients | Fault) -> Verdict:
    """Whether a client id is one client's, and goes over to a new connection of it."""
    check = "client ids"
    if isinstance(found, Fault):
        return failed(check, found.detail, "the broker's log says more")
    if not found.beside:
        todo = "set mqtt_url to a listener without use_username_as_clientid: the gateway needs two client ids"
        return failed(check, "two connections of this user throw each other out", todo)
    if not found.replaced:
        todo = "a gateway that comes back must throw its half-open connection out: look at the broker's settings"
        return failed(check, "the same client id stands twice", todo)
    return passed(check, "kept as given; a new connection replaces the old one of its id")


def session(found: Manners, announced: Announced, asked: int) -> Verdict:
    """Whether what comes while the gateway is away waits for it, and for how long; `asked` in seconds."""
    match found.session:
        case Fault(detail):
            return failed("session", detail, "the broker's log says more")
        case Session(present=False):
            todo = "let the broker keep sessions: what devices send while the gateway is away is lost"
            return failed("session", "gone after a disconnect", todo)
        case Session(kept=False):
            todo = "look at the broker's queues: what devices send while the gateway is away is lost"
            return failed("session", "kept after a disconnect, without what came meanwhile", todo)
    granted = announced.session_expiry
    if granted is not None and granted < asked:
        found_expiry = f"kept for {granted:,} s at most, and session_expiry asks for {asked:,}"
        return warned(
            "session", found_expiry, "raise the broker's limit above the longest outage that must lose nothing"
        )
    if found.session.kept is None:
        return _silent("session", "kept after a disconnect, but whether with its messages", found)
    return passed("session", "kept after a disconnect, with what came meanwhile")


def window(found: Manners) -> Verdict:
    """Whether the broker keeps to our Receive Maximum. The gateway bounds its intake itself."""
    match found.window:
        case None:
            return _silent("Receive Maximum", "whether it is kept", found)
        case Fault(detail):
            return warned("Receive Maximum", detail, "the broker's log says more")
        case came if came > KEPT_WINDOW:
            told = f"not kept: {came} messages came where {KEPT_WINDOW} may"
            todo = "nothing must be done: the gateway bounds what it takes in; Mosquitto keeps to it from 2.0.13 on"
            return warned("Receive Maximum", told, todo)
        case came if came < KEPT_WINDOW:
            told = f"only {came} messages came where {KEPT_WINDOW} should"
            return warned("Receive Maximum", told, "the broker's log says more")
    return passed("Receive Maximum", "kept")


def retained(found: Manners, announced: Announced) -> Verdict:
    """Whether hellos and plans wait for who subscribes later."""
    check = "retained messages"
    todo = "let the broker retain messages: hellos and plans wait in them"
    if not announced.retain:
        return failed(check, "the broker keeps none", todo)
    match found.retained:
        case None:
            return _silent(check, "promised; whether they are kept", found)
        case Fault(detail):
            return failed(check, detail, todo)
        case False:
            return failed(check, "what was retained is not there for a new subscription", todo)
    return passed(check, "kept for who subscribes later")


def shared(found: Manners, announced: Announced, group: str | None, mosquitto: bool) -> Verdict:
    """Whether gateways may share the work by a group; only where `group` is set must they."""
    check = "shared subscriptions"
    if group is None:
        return passed(check, f"not used (group is not set); {_available(found.shared, announced)}")
    match found.shared:
        case Fault(detail):
            return failed(check, detail, "share the work by fleets instead of group")
        case Shared(code, _) if code >= REFUSED or not announced.shared:
            return failed(check, "the broker has none, and group is set", "share the work by fleets instead of group")
        case Shared(heard=False):
            return failed(check, "granted, but nothing comes by them", "share the work by fleets instead of group")
    if mosquitto:
        told = "Mosquitto forgets them at its own restart, and drops what comes until the gateways are back"
        return warned(check, told, "share the work by fleets instead of group, or have devices ask for acks")
    todo = "ask the broker's manual, or share the work by fleets instead of group"
    return unknown(check, "there are some; whether they outlive a restart of the broker shows only then", todo)


def _available(found: Shared | Fault, announced: Announced) -> str:
    refused = isinstance(found, Fault) or found.code >= REFUSED or not announced.shared
    return "the broker has none" if refused else "the broker has them"


def _silent(check: str, what: str, found: Manners) -> Verdict:
    """The doctor's own topic is closed to it."""
    reason = "may not be written" if found.echo is Echo.REFUSED else "gives nothing back"
    head, _, _ = found.topic.rpartition("/")
    todo = f"let the gateway's user read and write it: `topic readwrite {head}/+` in the acl_file"
    return warned(check, f"{what} cannot be known: {found.topic} {reason}", todo)
