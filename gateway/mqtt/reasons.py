"""The reason codes of MQTT 5 (2.4) by which a broker refuses something, and what an operator can do. Pure."""

from collections.abc import Mapping

UNSPECIFIED = 0x80
KEEPALIVE_TIMEOUT = 0x8D
SESSION_TAKEN_OVER = 0x8E
PACKET_TOO_LARGE = 0x95
NO_SHARED_SUBSCRIPTIONS = 0x9E
NO_WILDCARDS = 0xA2
CLOSED = 0x100
"""Added to a reason code, not one of MQTT's: the broker closed the connection twice during a publication, and gave that
reason, or three times, and gave none (0), so the publication was given up."""

_LOG = "the broker's log says more"
DEFECT = "this should not happen: report it with the broker's log"

REASONS: Mapping[int, tuple[str, str]] = {
    0x80: ("Unspecified error", _LOG),
    0x81: ("Malformed packet", DEFECT),
    0x82: ("Protocol error", DEFECT),
    0x83: ("Implementation specific error", _LOG),
    0x84: ("Unsupported protocol version", "take a broker, or a listener, that speaks MQTT 5"),
    0x85: ("Client identifier not valid", "set a client_id that the broker takes"),
    0x86: (
        "Bad user name or password",
        "set mqtt_url and mqtt_password_file to what the broker has",
    ),
    0x87: ("Not authorized", "the broker's ACL must let the gateway's user do this, or its password is wrong"),
    0x88: ("Server unavailable", "start the broker, or wait until it has started"),
    0x89: ("Server busy", "the broker has too much to do: " + _LOG),
    0x8A: ("Banned", "the broker has banned this client or address: lift the ban there"),
    0x8B: ("Server shutting down", "nothing, if it starts again"),
    0x8C: ("Bad authentication method", "the listener asks for enhanced authentication: take one without it"),
    0x8D: (
        "Keep alive timeout",
        "the broker heard nothing for too long: look at the network and this machine's load",
    ),
    0x8E: (
        "Session taken over",
        "another client connected with this client id: does another gateway use this client_id, or is this a listener"
        " for devices (use_username_as_clientid)?",
    ),
    0x8F: ("Topic filter invalid", "set a root and fleets that the broker takes as topics"),
    0x90: ("Topic name invalid", "set a root that the broker takes as a topic"),
    0x91: ("Packet identifier in use", DEFECT),
    0x93: ("Receive Maximum exceeded", DEFECT),
    0x94: ("Topic alias invalid", DEFECT),
    0x95: ("Packet too large", "raise the broker's largest packet (max_packet_size)"),
    0x96: ("Message rate too high", "raise the broker's limit of messages a second for the gateway's user"),
    0x97: ("Quota exceeded", "raise the broker's quotas (connections, subscriptions, bytes) for the gateway's user"),
    0x98: ("Administrative action", "an operator of the broker ended it: ask there"),
    0x99: ("Payload format invalid", "let the broker take any payload: a plugin or schema there refuses it"),
    0x9A: ("Retain not supported", "allow retained messages at the broker (retain_available)"),
    0x9B: ("QoS not supported", "allow QoS 1 at the broker (max_qos)"),
    0x9C: ("Use another server", "set the broker's new address in mqtt_url"),
    0x9D: ("Server moved", "set the broker's new address in mqtt_url"),
    0x9E: ("Shared subscriptions not supported", "share the work by fleets instead of group"),
    0x9F: ("Connection rate exceeded", "wait: the gateway tries again ever more slowly; raise the broker's limit"),
    0xA0: (
        "Maximum connect time",
        "raise the time after which the broker ends connections, if it is too often",
    ),
    0xA1: ("Subscription identifiers not supported", DEFECT),
    0xA2: ("Wildcard subscriptions not supported", "allow wildcard subscriptions at the broker"),
}
"""Code -> its name, and what to do."""

ENDED_BY_A_PUBLICATION = frozenset((0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B))
"""Reasons of a DISCONNECT that a publication may have caused; the others have nothing to do with it."""


def explain(code: int, detail: str = "") -> str:
    """In words, with what to do. `detail`: the broker's own, from Reason String or Server Reference."""
    if code & CLOSED:
        if code == CLOSED:
            return f"the connection ended three times during this publication; the broker gave no reason: {_LOG}"
        return f"the broker closed the connection twice during this publication: {explain(code - CLOSED, detail)}"
    name, todo = REASONS.get(code, ("reason unknown to MQTT 5", _LOG))
    return f"{name} (0x{code:02X}{', ' + detail if detail else ''}): {todo}"
