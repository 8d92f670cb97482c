"""Device A reaches only its own: on the shipped files, by every listener, in both versions of MQTT.

Those who could notice are the gateway, the operator and B. That something does not arrive is shown by a sentinel that
was sent after it and does arrive, or by the PUBACK of a publish that was sent after it.
"""

import secrets
import ssl
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import pytest
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers.address import BrokerLogin
from gateway.demo.brokers.mosquitto import SHIPPED
from tests.support.mqtt_client import Client
from tests.support.site import PORTS, TLS_LISTENERS, Login, SiteBroker, warnings_in

MQTT_3_1_1, MQTT_5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
CHANNELS = ("hello", "hb", "get", "read", "live", "plan", "ack", "block", "dead")
FROM_DEVICE = ("hello", "hb", "get", "read", "live")
TO_DEVICE = ("plan", "ack", "block")
FLEETS = {"password": "fleet-p", "certificate": "fleet-c"}
SENTINEL = b"sentinel"
LAST = "edge/doctor/last"
"""A topic that the gateway may read and write, and no device."""

Message = tuple[str, bytes]


def topic(user: str, channel: str) -> str:
    return f"edge/{user}/{channel}"


@pytest.fixture(scope="module")
def known(site: SiteBroker) -> SiteBroker:
    """With A and B in a fleet for each kind of credential."""
    site.add("fleet-p", "a", "b")
    site.add("fleet-c", "a", "b", "--certificate")
    return site


@pytest.fixture(scope="module")
def gateway_client(known: SiteBroker) -> Iterator[Client]:
    """The gateway, subscribed to all that it may read."""
    with known.login_of("gateway", "gateway-loopback").connected("the-gateway", MQTT_5) as client:
        client.subscribe(LAST, *(f"edge/+/+/{channel}" for channel in FROM_DEVICE))
        yield client


@pytest.fixture(autouse=True)
def nothing_waits(gateway_client: Client, operator_client: Client) -> None:
    """What an earlier test left unread is read."""
    mark = secrets.token_bytes(8)
    for client, last in ((gateway_client, LAST), (operator_client, "edge/any/any/dead")):
        gateway_client.publish(last, mark)
        while client.next() != (last, mark):
            pass


@pytest.fixture(scope="module")
def operator_client(known: SiteBroker) -> Iterator[Client]:
    """The operator, subscribed to all that it may read."""
    with known.login_of("operator", "gateway-loopback").connected("the-operator", MQTT_5) as client:
        client.subscribe("edge/+/+/dead")
        yield client


@dataclass(frozen=True)
class Case:
    """A connects by one listener and version of MQTT; the others watch."""

    login: Login
    protocol: MQTTProtocolVersion
    a: str
    b: str
    gateway_client: Client
    operator_client: Client
    watching_b: Client

    def connect(self, client_id: str = "any", session: bool = False) -> AbstractContextManager[Client]:
        return self.login.connected(client_id, self.protocol, session)

    def observed(self, acting: Client) -> set[Message]:
        """All that the gateway, the operator, B and A itself received since the last call."""
        acting.publish(topic(self.a, "hb"), SENTINEL)
        found = received(self.gateway_client, topic(self.a, "hb"))
        for user, channel in ((self.a, "dead"), (self.a, "ack"), (self.b, "ack")):
            self.gateway_client.publish_unconfirmed(topic(user, channel), SENTINEL)
        found |= received(self.operator_client, topic(self.a, "dead")) | received(self.watching_b, topic(self.b, "ack"))
        return found | received(acting, topic(self.a, "ack"))

    def resubscribe(self) -> None:
        """Subscribe once more: the broker then sends what is retained."""
        self.gateway_client.subscribe(*(f"edge/+/+/{channel}" for channel in FROM_DEVICE))
        self.operator_client.subscribe("edge/+/+/dead")
        self.watching_b.subscribe(*(topic(self.b, channel) for channel in TO_DEVICE))

    def publish_all(self, payload: bytes, retain: bool = False) -> None:
        """B and the gateway publish on every topic on which they may."""
        for channel in FROM_DEVICE:
            self.watching_b.publish_unconfirmed(topic(self.b, channel), payload, retain)
        for user in (self.b, self.a):
            for channel in (*TO_DEVICE, "dead"):
                self.gateway_client.publish_unconfirmed(topic(user, channel), payload, retain)
        # A PUBACK confirms all that the same client sent before.
        self.watching_b.publish(topic(self.b, "hb"), b"")
        self.gateway_client.publish(topic(self.b, "ack"), b"")


def received(client: Client, sentinel_topic: str) -> set[Message]:
    """What came before the sentinel. Empty payloads are of those who cleared what they had retained."""
    before = iter(client.next, (sentinel_topic, SENTINEL))
    return {message for message in before if message[1] not in (b"", SENTINEL)}


@pytest.fixture(scope="module", params=[MQTT_3_1_1, MQTT_5], ids=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> MQTTProtocolVersion:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=FLEETS)
def case(
    request: pytest.FixtureRequest,
    known: SiteBroker,
    protocol: MQTTProtocolVersion,
    gateway_client: Client,
    operator_client: Client,
) -> Iterator[Case]:
    fleet = FLEETS[request.param]
    a, b = f"{fleet}/a", f"{fleet}/b"
    login = known.login(request.param, a)
    with known.login(request.param, b).connected("b", protocol) as watching_b:
        watching_b.subscribe(*(topic(b, channel) for channel in TO_DEVICE))
        yield Case(login, protocol, a, b, gateway_client, operator_client, watching_b)


# -- the matrix --


@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_writes_only_its_own(case: Case, channel: str, retain: bool) -> None:
    with case.connect() as a:
        a.subscribe(*(topic(case.a, each) for each in TO_DEVICE))
        for user in (case.a, case.b):
            a.publish(topic(user, channel), b"of a", retain)
        if retain:
            case.resubscribe()
        expected = {(topic(case.a, channel), b"of a")} if channel in FROM_DEVICE else set()
        assert case.observed(a) == expected
        a.publish(topic(case.a, channel), b"", retain=True)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_leaves_a_will_only_for_its_own(case: Case, channel: str) -> None:
    """The broker publishes it when A's next connection ends the one before."""
    for user in (case.a, case.b):
        with case.login.connecting("any", case.protocol, will=(topic(user, channel), b"will")) as first:
            refused = first.connack().is_failure
            with case.connect() as a:
                a.subscribe(*(topic(case.a, each) for each in TO_DEVICE))
                its_own = user == case.a and channel in FROM_DEVICE
                assert case.observed(a) == ({(topic(user, channel), b"will")} if its_own else set())
                assert not (refused and its_own)


FILTERS = [
    *(f"edge/{{{who}}}/{channel}" for who in "ab" for channel in CHANNELS),
    *("#", "+/#", "edge/#", "edge/+/+/+", "edge/+/+/plan", "+/+/+/ack", "edge/{fleet}/#", "edge/{fleet}/+/plan"),
    *("edge/{a}/#", "edge/{a}/+", "edge/{b}/#", "edge/{b}/+", "edge/+/b/block", "+/{b}/plan"),
    *("$SYS/#", "$SYS/broker/clients/total", "$share/group/edge/#", "$share/group/edge/{b}/plan"),
]


@pytest.mark.parametrize("pattern", FILTERS)
def test_a_receives_only_its_own(case: Case, pattern: str) -> None:
    wanted = pattern.format(a=case.a, b=case.b, fleet=case.a.split("/")[0])
    case.publish_all(b"retained", retain=True)
    with case.connect() as a:
        a.subscribe(wanted)
        a.subscribe(topic(case.a, "ack"))
        case.publish_all(b"live")
        for channel in FROM_DEVICE:
            a.publish(topic(case.a, channel), b"of a")
        case.gateway_client.publish(topic(case.a, "ack"), SENTINEL)
        arrived = received(a, topic(case.a, "ack"))
        case.publish_all(b"", retain=True)
        case.observed(a)
    expected = expected_of(wanted, case.a)
    if wanted.startswith("$share/"):
        # Versions before 2.0.13 send what is retained to a shared subscription too, against MQTT-3.3.1-9 and 4.8.2.
        arrived |= {message for message in expected if message[1] == b"retained"}
    assert arrived == expected


def expected_of(wanted: str, user: str) -> set[Message]:
    """On its own three channels, as far as it asked; `ack` was asked for besides, for the sentinel's sake."""
    pattern = wanted.split("/", 2)[2] if wanted.startswith("$share/") else wanted
    topics = {topic(user, channel) for channel in TO_DEVICE if topic_matches_sub(pattern, topic(user, channel))}
    return {(each, payload) for each in topics | {topic(user, "ack")} for payload in (b"live", b"retained")}


@pytest.mark.parametrize("whose", ["b", "the-gateway", ""])
def test_the_client_id_of_another_disconnects_nobody(case: Case, whose: str) -> None:
    with case.connect(case.b if whose == "b" else whose) as a:
        a.subscribe(*(topic(case.a, channel) for channel in TO_DEVICE))
        case.gateway_client.publish(topic(case.b, "plan"), b"for b")
        assert case.observed(a) == {(topic(case.b, "plan"), b"for b")}


def test_the_client_id_of_another_gets_no_session(case: Case, known: SiteBroker) -> None:
    c = case.a.replace("/a", "/c")
    known.add(*c.split("/"), *(["--certificate"] if case.a.startswith("fleet-c") else []))
    as_c = replace(known.login("password", c), port=case.login.port)
    with as_c.connected("any", case.protocol, session=True) as client:
        client.subscribe(topic(c, "plan"))
    case.gateway_client.publish(topic(c, "plan"), b"waits")
    with case.connect(c, session=True) as a:
        a.subscribe(topic(case.a, "ack"))
        assert case.observed(a) == set()
    with as_c.connected("any", case.protocol, session=True) as client:
        assert client.next() == (topic(c, "plan"), b"waits")
    for login in (case.login, as_c):
        with login.connected("any", case.protocol):
            pass  # a clean start ends the session


# -- names that mean more than one device --

WILD = ["+/+", "+", "#", "fleet-p/+", "fleet-p/#", "+/a"]
SLASHED = ["fleet-p", "/fleet-p/a", "fleet-p//a", "fleet-p/a/", "fleet-p/a/hb"]


@pytest.mark.parametrize("by", ["password", "certificate"])
@pytest.mark.parametrize("name", WILD + SLASHED)
def test_a_name_that_could_mean_another_device_reaches_nothing(
    known: SiteBroker,
    protocol: MQTTProtocolVersion,
    gateway_client: Client,
    operator_client: Client,
    name: str,
    by: str,
) -> None:
    """`devices add` rejects them all; here they are in the password file, or the authority has signed them."""
    a, ours = known.login("password", "fleet-p/a"), known.smuggled(name, by)
    with a.connected("any", protocol) as watching_a, ours.connecting("any", protocol) as smuggled:
        watching_a.subscribe(*(topic("fleet-p/a", channel) for channel in TO_DEVICE))
        if smuggled.connack().is_failure:
            return
        smuggled.subscribe("#", "edge/#", "+/+/+/+", *(topic("fleet-p/a", channel) for channel in CHANNELS))
        for user in ("fleet-p/a", "fleet-p/b"):
            for channel in CHANNELS:
                smuggled.publish(topic(user, channel), b"forged")
        for channel in (*TO_DEVICE, "dead"):
            gateway_client.publish(topic("fleet-p/a", channel), b"for a")
        watching_a.publish(topic("fleet-p/a", "hb"), SENTINEL)
        gateway_client.publish(topic("fleet-p/a", "dead"), SENTINEL)
        gateway_client.publish(topic("fleet-p/a", "ack"), SENTINEL)
        assert received(gateway_client, topic("fleet-p/a", "hb")) == set()
        assert received(operator_client, topic("fleet-p/a", "dead")) == {(topic("fleet-p/a", "dead"), b"for a")}
        expected = {(topic("fleet-p/a", channel), b"for a") for channel in TO_DEVICE}
        assert received(watching_a, topic("fleet-p/a", "ack")) == expected
        smuggled.publish(topic("fleet-p/a", "hb"), b"")  # its PUBACK comes after all that was for it
        assert smuggled.arrived() == []
    gateway_client.arrived()


# -- users that are not devices --


@pytest.mark.parametrize("by", ["gateway-loopback", "gateway"])
def test_the_gateway_is_refused_what_it_does_not_need(known: SiteBroker, operator_client: Client, by: str) -> None:
    a = known.login("password", "fleet-p/a")
    with known.login_of("gateway", by).connected("another", MQTT_5) as client, a.connected("any", MQTT_5) as device:
        client.subscribe("#", "$SYS/#", "+/+/+/+", *(f"edge/+/+/{channel}" for channel in CHANNELS))
        device.subscribe(*(topic("fleet-p/a", channel) for channel in TO_DEVICE))
        for channel in CHANNELS:
            client.publish(topic("fleet-p/a", channel), b"by the gateway")
        client.publish("$SYS/broker/x", b"by the gateway")
        device.publish(topic("fleet-p/a", "hb"), SENTINEL)
        client.publish(topic("fleet-p/a", "ack"), SENTINEL)
        client.publish(topic("fleet-p/a", "dead"), SENTINEL)
        others = {name for name, _ in received(client, topic("fleet-p/a", "hb"))}
        retained = {topic("fleet-p/a", channel) for channel in ("hello", "live")}  # it deletes what the broker keeps
        assert others <= {"$SYS/broker/publish/messages/dropped", *retained}
        expected = {(topic("fleet-p/a", channel), b"by the gateway") for channel in TO_DEVICE}
        assert received(device, topic("fleet-p/a", "ack")) == expected
        assert received(operator_client, topic("fleet-p/a", "dead")) == {
            (topic("fleet-p/a", "dead"), b"by the gateway")
        }


def test_the_operator_reads_dead_of_all_and_writes_nothing(known: SiteBroker, gateway_client: Client) -> None:
    a = known.login("password", "fleet-p/a")
    us = known.login_of("operator", "gateway")
    with us.connected("another", MQTT_5) as operator_client, a.connected("any", MQTT_5) as device:
        operator_client.subscribe("#", *(f"edge/+/+/{channel}" for channel in CHANNELS))
        device.subscribe(*(topic("fleet-p/a", channel) for channel in TO_DEVICE))
        for channel in CHANNELS:
            operator_client.publish(topic("fleet-p/a", channel), b"by the operator")
        device.publish(topic("fleet-p/a", "hb"), SENTINEL)
        gateway_client.publish(topic("fleet-p/a", "plan"), b"not theirs")
        gateway_client.publish(topic("fleet-p/a", "dead"), SENTINEL)
        gateway_client.publish(topic("fleet-p/a", "ack"), SENTINEL)
        assert received(gateway_client, topic("fleet-p/a", "hb")) == set()
        assert received(device, topic("fleet-p/a", "ack")) == {(topic("fleet-p/a", "plan"), b"not theirs")}
        assert received(operator_client, topic("fleet-p/a", "dead")) == set()


# -- who may connect --


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("by", PORTS)
def test_nobody_connects_without_a_credential_of_the_listeners_kind(known: SiteBroker, by: str, level: int) -> None:
    own = "fleet-c/a" if by == "certificate" else "fleet-p/a"
    good = known.login_of("gateway", by) if by.startswith("gateway") else known.login(by, own)
    assert not good.is_refused(level)
    bare = replace(good, credentials=None, tls=good.tls and known.login("password", "fleet-p/a").tls)
    assert bare.is_refused(level)
    assert replace(bare, credentials=BrokerLogin("fleet-p/a", "wrong")).is_refused(level)
    # A certificate is not enough where a password is wanted, nor a password where a certificate is wanted.
    other = known.login("password", "fleet-p/a") if by == "certificate" else known.login("certificate", "fleet-c/a")
    assert replace(other, port=good.port, tls=good.tls and other.tls).is_refused(level)


def test_the_user_name_in_connect_is_ignored_beside_a_certificate(known: SiteBroker, gateway_client: Client) -> None:
    as_b = replace(known.login("certificate", "fleet-c/a"), credentials=BrokerLogin("fleet-c/b", "any"))
    with as_b.connected("fleet-c/b", MQTT_5) as client:
        client.publish(topic("fleet-c/b", "hb"), b"as b")
        client.publish(topic("fleet-c/a", "hb"), SENTINEL)
        assert received(gateway_client, topic("fleet-c/a", "hb")) == set()


def test_a_password_is_refused_under_anothers_name(known: SiteBroker) -> None:
    a = known.login("password", "fleet-p/a")
    assert a.credentials is not None
    assert replace(a, credentials=BrokerLogin("fleet-p/b", a.credentials.password)).is_refused()


@pytest.mark.parametrize("forged", ["by another authority", "expired", "the broker's own"])
def test_a_certificate_that_is_no_devices_is_refused(known: SiteBroker, forged: str) -> None:
    assert known.forged(forged).is_refused()
    assert not known.login("certificate", "fleet-c/a").is_refused()


@pytest.mark.parametrize("by", TLS_LISTENERS)
@pytest.mark.parametrize(("version", "refused"), [("TLSv1_1", True), ("TLSv1_2", False), ("TLSv1_3", False)])
def test_tls_is_1_2_or_newer(known: SiteBroker, by: str, version: str, refused: bool) -> None:
    login = known.login_of("gateway", by) if by == "gateway" else known.login(by, FLEETS[by] + "/a")
    assert login.tls is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        login.tls.minimum_version = login.tls.maximum_version = ssl.TLSVersion[version]
    login.tls.set_ciphers("DEFAULT:@SECLEVEL=0")  # or this side would refuse 1.1
    assert login.is_refused() == refused


# -- devices that are added and removed --


def test_no_listener_raises_a_warning(known: SiteBroker) -> None:
    """Nor does what `devices` writes, at the start and at the reloads of `known`."""
    assert warnings_in(known.log()) == []


def test_a_new_user_disconnects_nobody(known: SiteBroker, gateway_client: Client) -> None:
    with known.login("password", "fleet-p/a").connected("any", MQTT_5) as a:
        known.add("fleet-p", "new")
        with known.login("password", "fleet-p/new").connected("any", MQTT_5) as new:
            new.publish(topic("fleet-p/new", "hb"), b"new")
            a.publish(topic("fleet-p/a", "hb"), SENTINEL)
            assert received(gateway_client, topic("fleet-p/a", "hb")) == {(topic("fleet-p/new", "hb"), b"new")}


def test_a_removed_password_ends_its_connection_and_is_refused(known: SiteBroker) -> None:
    known.add("fleet-p", "gone")
    login = known.login("password", "fleet-p/gone")
    with login.connected("any", MQTT_5) as gone:
        known.remove("fleet-p", "gone")
        gone.disconnected()
    assert login.is_refused()


def test_removed_certificates_are_refused_and_no_other(known: SiteBroker) -> None:
    """Two within a second: the broker goes by the newer list of revocations."""
    known.add("fleet-c", "gone", "too", "--certificate")
    logins = [known.login("certificate", f"fleet-c/{name}") for name in ("gone", "too")]
    for name in ("gone", "too"):
        known.remove("fleet-c", name)
    assert [login.is_refused() for login in logins] == [True, True]
    assert not known.login("certificate", "fleet-c/a").is_refused()


def test_an_open_connection_by_a_removed_certificate_reaches_nothing(known: SiteBroker, gateway_client: Client) -> None:
    known.add("fleet-c", "cut", "--certificate")
    with known.login("certificate", "fleet-c/cut").connected("any", MQTT_5) as cut:
        cut.subscribe(*(topic("fleet-c/cut", channel) for channel in TO_DEVICE))
        cut.publish(topic("fleet-c/cut", "hb"), SENTINEL)
        assert received(gateway_client, topic("fleet-c/cut", "hb")) == set()
        known.remove("fleet-c", "cut")
        gateway_client.publish(topic("fleet-c/cut", "plan"), b"too late")
        for channel in FROM_DEVICE:
            cut.publish(topic("fleet-c/cut", channel), b"too late")
        with known.login("certificate", "fleet-c/a").connected("any", MQTT_5) as a:
            a.publish(topic("fleet-c/a", "hb"), SENTINEL)
        assert received(gateway_client, topic("fleet-c/a", "hb")) == set()
        assert cut.arrived() == []


@pytest.mark.parametrize("kind", ["password", "certificate"])
def test_renewing_ends_the_old_credential(known: SiteBroker, kind: str) -> None:
    options = ["--certificate"] if kind == "certificate" else []
    known.add("fleet-r", kind, *options)
    old = known.login(kind, f"fleet-r/{kind}")
    known.add("fleet-r", kind, "--renew", *options)
    assert old.is_refused()
    assert not known.login(kind, f"fleet-r/{kind}").is_refused()


def test_of_the_shipped_listeners_only_site_lines_are_changed(site: SiteBroker) -> None:
    for by in TLS_LISTENERS:
        shipped = (SHIPPED / "listeners" / f"{by}.conf").read_text().splitlines()
        run = site.listener_conf(by).splitlines()
        changed = {old.split(" ")[0] for old, new in zip(shipped, run, strict=True) if old != new}
        assert changed <= {"listener", "cafile", "certfile", "keyfile", "crlfile"}
