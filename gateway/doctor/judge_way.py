"""Judgements on the way to the broker: reached, TLS, let in, MQTT 5. Pure."""

from gateway.config import BrokerUrl
from gateway.doctor.facts import Announced, Entry, Tls, TlsFault, Way
from gateway.doctor.verdict import Verdict, failed, passed, warned

SOON = 30 * 86_400
"""Seconds before a certificate's end from which on it is warned of."""
LOOPBACK = ("localhost", "::1")
ROOM = 4096
"""Bytes that a packet needs beside its payload, at most: topic and properties."""

REFUSED_LOGIN = {0x86, 0x87}
"""MQTT 5: bad user name or password, not authorized."""
OLD_MQTT = 0x84
"""MQTT 5: unsupported protocol version."""

_CERTIFICATE_FAULTS = {
    9: ("is not valid yet", "set this machine's clock, or wait until the certificate begins"),
    10: ("has expired", "renew it, and reload the broker"),
    23: ("was revoked", "give the broker another one"),
    **dict.fromkeys(
        (18, 19, 20, 21, 2),
        ("comes from nobody whom mqtt_ca_file vouches for", "set mqtt_ca_file to the certificate of the site's CA"),
    ),
    **dict.fromkeys(
        (62, 64),
        ("is for another host name", "name the broker in mqtt_url as its certificate does, or add this name there"),
    ),
}


def reached(way: Way) -> Verdict:
    """Whether anyone listens."""
    where = f"{way.host}:{way.port}"
    if way.fault:
        return failed("broker", f"{where}: {way.fault}", "start the broker, or set host and port in mqtt_url")
    return passed("broker", f"{where} is reached")


def tls(way: Way, now: float) -> Verdict:
    """What TLS protects, and until when. `now` in Unix seconds."""
    match way.tls:
        case None if is_loopback(way.host):
            return passed("TLS", "not spoken, nor needed on this machine's loopback")
        case None:
            return warned(
                "TLS", "not spoken: passwords travel as they are", "set mqtts:// in mqtt_url and a certificate there"
            )
        case TlsFault(code, detail) if code in _CERTIFICATE_FAULTS:
            fault, todo = _CERTIFICATE_FAULTS[code]
            return failed("TLS", f"the broker's certificate {fault} ({detail})", todo)
        case TlsFault(_, detail):
            return failed("TLS", f"the handshake fails: {detail}", "is this port one for mqtts://?")
        case Tls(version, expires) if expires - now < SOON:
            found = f"{version}; the broker's certificate ends in {(expires - now) / 86_400:,.0f} days"
            return warned("TLS", found, "renew it, and reload the broker")
        case Tls(version, expires):
            return passed("TLS", f"{version}; the broker's certificate holds {(expires - now) / 86_400:,.0f} days more")


def is_loopback(host: str) -> bool:
    """Whether the address is this machine's own."""
    return host in LOOPBACK or host.startswith("127.")


def entered(entry: Entry, broker: BrokerUrl) -> Verdict:
    """Whether we are let in, by MQTT 5."""
    if entry.announced is not None:
        return passed("MQTT 5", f"spoken; {broker.username or 'a client without a name'} is let in")
    if entry.code in REFUSED_LOGIN:
        todo = "set user and password in mqtt_url (mqtt_password_file) as the broker knows them"
        return failed("login", f"{broker.username or 'a client without a name'} is refused: {entry.detail}", todo)
    if entry.older and entry.code in (None, OLD_MQTT):
        found = "the broker speaks MQTT 3.1.1 alone"
        return failed("MQTT 5", found, "take a broker, or a listener, that speaks MQTT 5")
    if entry.code is None:
        todo = "is this the port of an MQTT broker, and right with or without TLS?"
        return failed("MQTT 5", f"no MQTT broker answers: {entry.detail}", todo)
    return failed("MQTT 5", entry.detail, "the broker's log says more")


def limits(announced: Announced, max_payload: int) -> Verdict:
    """What the broker says that it will not do."""
    if announced.maximum_qos < 1:
        todo = "allow QoS 1: without it nothing can be acknowledged"
        return failed("limits", "the broker takes QoS 0 alone", todo)
    if not announced.wildcards:
        todo = "allow wildcard subscriptions: the gateway listens by them"
        return failed("limits", "the broker takes no filter with a wildcard", todo)
    largest = announced.largest_packet
    if largest is not None and largest < max_payload + ROOM:
        found = f"packets of {largest:,} bytes at most, and max_payload is {max_payload:,}"
        todo = "raise the broker's limit above max_payload: what it drops nobody can answer"
        return warned("limits", found, todo)
    return passed("limits", "QoS 1, wildcards, and packets as large as max_payload asks for")
