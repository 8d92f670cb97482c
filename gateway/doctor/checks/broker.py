"""Checks of how the broker behaves: client ids, sessions, retained messages, shared subscriptions. Pure."""

import re
from dataclasses import dataclass
from enum import Enum

from gateway.config import Settings
from gateway.doctor.result import CheckResult, ProbeFailure, failed, passed, unknown, warned
from gateway.mqtt import FAILURE, BrokerLimits

RECEIVE_MAXIMUM = 2
"""Of the probe's connection."""
MESSAGES_ALLOWED = RECEIVE_MAXIMUM + 1
"""Messages that arrive in all where the broker keeps to it, with one that was acknowledged."""


class OwnTopic(Enum):
    """What becomes of a message that the doctor publishes on its own topic, and subscribes to."""

    RECEIVED = "received"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class ClientIds:
    """`distinct`: two client ids of one user are connected together; `taken_over`: a new connection replaces the old
    one of its client id."""

    distinct: bool
    taken_over: bool


@dataclass(frozen=True, slots=True)
class KeptSession:
    """After a disconnect. `messages`: what was published meanwhile arrived; None where nothing could be published."""

    present: bool
    messages: bool | None


@dataclass(frozen=True, slots=True)
class SharedSubscription:
    """The broker's reason code, and whether a message arrived; None where none could be published."""

    code: int
    received: bool | None


@dataclass(frozen=True, slots=True)
class BrokerBehaviour:
    """`received`: messages that arrived in all with RECEIVE_MAXIMUM, after one PUBACK. None: not known."""

    topic: str
    own_topic: OwnTopic | ProbeFailure
    session: KeptSession | ProbeFailure
    received: int | ProbeFailure | None
    retained: bool | ProbeFailure | None
    shared: SharedSubscription | ProbeFailure
    version: str


def is_mosquitto_2_1(version: str) -> bool | None:
    """Whether "mosquitto version 2.1.2" names 2.1 or later. None: it names no Mosquitto."""
    found = re.search(r"mosquitto version (\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) >= (2, 1) if found else None


def check_behaviour(
    behaviour: BrokerBehaviour, connack: BrokerLimits, settings: Settings, mosquitto: bool
) -> list[CheckResult]:
    """All checks of `behaviour`. `mosquitto`: the broker is known to be Mosquitto."""
    return [
        check_session(behaviour, connack, settings.session_expiry),
        check_receive_maximum(behaviour),
        check_retained(behaviour, connack),
        check_shared(behaviour, connack, settings.group is not None, mosquitto),
    ]


def check_anonymous(allowed: bool | None) -> CheckResult:
    """Whether a client without a user name may connect."""
    if allowed is None:
        todo = "make sure that the broker takes the user name from each certificate"
        return unknown("anonymous", "the gateway's certificate is a name already", todo)
    if allowed:
        todo = "allow_anonymous false: the user name is all that separates devices"
        return failed("anonymous", "a client without a user name may connect", todo)
    return passed("anonymous", "a client without a user name is refused")


def check_client_ids(ids: ClientIds | ProbeFailure) -> CheckResult:
    """Whether the broker keeps client ids as given, and a new connection replaces the old one of its id."""
    check = "client ids"
    if isinstance(ids, ProbeFailure):
        return failed(check, ids.detail, "the broker's log says more")
    if not ids.distinct:
        todo = "set mqtt_url to a listener without use_username_as_clientid: the gateway needs two client ids"
        return failed(check, "two connections of this user disconnect each other", todo)
    if not ids.taken_over:
        todo = "a gateway that connects again must replace its half-open connection: look at the broker's settings"
        return failed(check, "the same client id is connected twice", todo)
    return passed(check, "kept as given; a new connection replaces the old one of its id")


def check_session(behaviour: BrokerBehaviour, connack: BrokerLimits, session_expiry: int) -> CheckResult:
    """Whether the session keeps messages while the gateway is away, and for `session_expiry` seconds."""
    match behaviour.session:
        case ProbeFailure(detail):
            return failed("session", detail, "the broker's log says more")
        case KeptSession(present=False):
            todo = "let the broker keep sessions: what devices send while the gateway is away is lost"
            return failed("session", "gone after a disconnect", todo)
        case KeptSession(messages=False):
            todo = "look at the broker's queues: what devices send while the gateway is away is lost"
            return failed("session", "kept after a disconnect, without what came meanwhile", todo)
    granted = connack.session_expiry
    if granted < session_expiry:
        found = f"kept for {granted:,} s at most, and session_expiry asks for {session_expiry:,}"
        return warned("session", found, "raise the broker's limit above the longest outage that must lose nothing")
    if behaviour.session.messages is None:
        return _own_topic_closed("session", "kept after a disconnect, but whether with its messages", behaviour)
    return passed("session", "kept after a disconnect, with what came meanwhile")


def check_receive_maximum(behaviour: BrokerBehaviour) -> CheckResult:
    """Whether the broker keeps to Receive Maximum. The gateway bounds what it takes in itself."""
    check = "Receive Maximum"
    match behaviour.received:
        case None:
            return _own_topic_closed(check, "whether it is kept", behaviour)
        case ProbeFailure(detail):
            return warned(check, detail, "the broker's log says more")
        case count if count > MESSAGES_ALLOWED:
            found = f"not kept: {count} messages came where {MESSAGES_ALLOWED} may"
            todo = "nothing: the gateway bounds what it takes in; Mosquitto keeps to it from 2.0.13 on"
            return warned(check, found, todo)
        case count if count < MESSAGES_ALLOWED:
            found = f"only {count} messages came where {MESSAGES_ALLOWED} should"
            return warned(check, found, "the broker's log says more")
    return passed(check, "kept")


def check_retained(behaviour: BrokerBehaviour, connack: BrokerLimits) -> CheckResult:
    """Whether the broker keeps hellos and plans for later subscribers."""
    check = "retained messages"
    todo = "let the broker retain messages: hellos and plans are retained"
    if not connack.retain:
        return failed(check, "the broker keeps none", todo)
    match behaviour.retained:
        case None:
            return _own_topic_closed(check, "promised; whether they are kept", behaviour)
        case ProbeFailure(detail):
            return failed(check, detail, todo)
        case False:
            return failed(check, "a retained message is not there for a new subscription", todo)
    return passed(check, "kept for later subscribers")


def check_shared(behaviour: BrokerBehaviour, connack: BrokerLimits, group: bool, known: bool) -> CheckResult:
    """Whether gateways can share the work by a group. `group`: one is set; `known`: the broker is Mosquitto."""
    check = "shared subscriptions"
    shared = behaviour.shared
    refused = isinstance(shared, ProbeFailure) or shared.code >= FAILURE or not connack.shared
    if not group:
        return passed(check, f"not used (group is not set); the broker has {'none' if refused else 'them'}")
    todo = "share the work by fleets instead of group"
    match shared:
        case ProbeFailure(detail):
            return failed(check, detail, todo)
        case _ if refused:
            return failed(check, "the broker has none, and group is set", todo)
        case SharedSubscription(received=False):
            return failed(check, "granted, but nothing comes by them", todo)
    if known or "mosquitto" in behaviour.version:
        found = "Mosquitto forgets them at its own restart, and drops what comes until the gateways are back"
        return warned(check, found, f"{todo}, or have devices ask for acks")
    reason = "the broker has them; whether they survive its restart cannot be tried"
    return unknown(check, reason, f"read the broker's manual, or {todo}")


def _own_topic_closed(check: str, what: str, behaviour: BrokerBehaviour) -> CheckResult:
    """`what` is not known: the gateway's user may not use the doctor's topic."""
    reason = "may not be written" if behaviour.own_topic is OwnTopic.REFUSED else "delivers nothing"
    head, _, _ = behaviour.topic.rpartition("/")
    todo = f"let the gateway's user read and write it: `topic readwrite {head}/+` in the acl_file"
    return warned(check, f"{what} cannot be known: {behaviour.topic} {reason}", todo)
