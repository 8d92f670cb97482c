"""Checks of the connection to the broker: TCP, TLS, CONNECT, and the limits that CONNACK announces. Pure."""

from dataclasses import dataclass

from gateway.config import BrokerUrl
from gateway.doctor.checks.addresses import AddressResult, with_addresses
from gateway.doctor.result import CheckResult, failed, passed, warned
from gateway.mqtt import BrokerLimits, Wanted, restrictions

EXPIRES_SOON = 30 * 86_400
"""Seconds before the end of a certificate from which on it is a warning."""
LOOPBACK = ("localhost", "::1")
NOT_AUTHORIZED = frozenset((0x86, 0x87))
"""MQTT 5: bad user name or password, not authorized."""
UNSUPPORTED_VERSION = 0x84
"""MQTT 5: unsupported protocol version."""

_CERTIFICATE_PROBLEMS = {
    9: ("is not valid yet", "set this machine's clock, or wait until the certificate begins"),
    10: ("has expired", "renew it, and reload the broker"),
    23: ("was revoked", "give the broker another one"),
    **dict.fromkeys(
        (18, 19, 20, 21, 2),
        ("is from an authority that mqtt_ca_file lacks", "set mqtt_ca_file to the certificate of the site's CA"),
    ),
    **dict.fromkeys(
        (62, 64),
        ("is for another host name", "name the broker in mqtt_url as its certificate does, or add this name there"),
    ),
}


@dataclass(frozen=True, slots=True)
class TlsHandshake:
    """A handshake that succeeded. `expires`: the end of the certificate, in Unix seconds."""

    version: str
    expires: float


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """A handshake that failed. `code`: OpenSSL's X509_V_ERR, 0 where the certificate is not the cause."""

    code: int
    detail: str


@dataclass(frozen=True, slots=True)
class Reachability:
    """A TCP connection, then TLS (None: not used). `problem`: why there is no TCP connection.

    `addresses`: of the host.
    """

    host: str
    port: int
    problem: str = ""
    tls: TlsHandshake | TlsFailure | None = None
    addresses: tuple[AddressResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectResult:
    """The broker's answer to CONNECT. `code`: its reason code for a refusal. `mqtt_3_1_1`: it speaks this version."""

    connack: BrokerLimits | None = None
    code: int | None = None
    detail: str = ""
    mqtt_3_1_1: bool = False


def check_reachable(reached: Reachability) -> CheckResult:
    """Whether host and port accept a TCP connection, at each address."""
    address = f"{reached.host}:{reached.port}"
    if reached.problem:
        todo = "start the broker, or set host and port in mqtt_url"
        return with_addresses(failed("broker", f"{address}: {reached.problem}", todo), reached.addresses)
    return with_addresses(passed("broker", f"{address} is reached"), reached.addresses)


def check_tls(reached: Reachability, now: float) -> CheckResult:
    """Whether TLS works, and how long the certificate is valid. `now` in Unix seconds."""
    match reached.tls:
        case None if is_loopback(reached.host):
            return passed("TLS", "not used, and not needed on this machine's loopback")
        case None:
            todo = "set mqtts:// in mqtt_url and a certificate there"
            return warned("TLS", "not used: passwords can be read on the network", todo)
        case TlsFailure(code, detail) if code in _CERTIFICATE_PROBLEMS:
            problem, todo = _CERTIFICATE_PROBLEMS[code]
            return failed("TLS", f"the broker's certificate {problem} ({detail})", todo)
        case TlsFailure(_, detail):
            return failed("TLS", f"the handshake fails: {detail}", "is this port one for mqtts://?")
        case TlsHandshake(version, expires) if expires - now < EXPIRES_SOON:
            found = f"{version}; the broker's certificate ends in {(expires - now) / 86_400:,.0f} days"
            return warned("TLS", found, "renew it, and reload the broker")
        case TlsHandshake(version, expires):
            days = (expires - now) / 86_400
            return passed("TLS", f"{version}; the broker's certificate is valid for {days:,.0f} days more")


def is_loopback(host: str) -> bool:
    """Whether the address is this machine's own."""
    return host in LOOPBACK or host.startswith("127.")


def check_connect(result: ConnectResult, broker: BrokerUrl) -> CheckResult:
    """Whether the gateway's user may connect, by MQTT 5."""
    user = broker.username or "a client without a user name"
    if result.connack is not None:
        return passed("MQTT 5", f"supported; {user} may connect")
    if result.code in NOT_AUTHORIZED:
        todo = "set user and password in mqtt_url (mqtt_password_file) as they are at the broker"
        return failed("login", f"{user} is refused: {result.detail}", todo)
    if result.mqtt_3_1_1 and result.code in (None, UNSUPPORTED_VERSION):
        found = "the broker speaks only MQTT 3.1.1"
        return failed("MQTT 5", found, "take a broker, or a listener, that speaks MQTT 5")
    if result.code is None:
        todo = "is this the port of an MQTT broker, and right with or without TLS?"
        return failed("MQTT 5", f"no MQTT broker answers: {result.detail}", todo)
    return failed("MQTT 5", result.detail, "the broker's log says more")


def check_limits(connack: BrokerLimits, wanted: Wanted, keepalive: int) -> CheckResult:
    """What the limits that the broker announces stop. `keepalive`: the setting, in s."""
    stopped = list(restrictions(connack, wanted))
    if stopped:
        found, todo = ("; ".join(texts) for texts in zip(*((each.text, each.todo) for each in stopped), strict=True))
        return (failed if any(each.fatal for each in stopped) else warned)("limits", found, todo)
    found = "nothing that the gateway does is stopped"
    if connack.keepalive < keepalive:
        found += f"; the broker asks for a sign of life each {connack.keepalive} s, not {keepalive}"
    return passed("limits", found)
