"""Device A reaches only its own: on the shipped files, by every door, in both versions of MQTT.

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
from tests.clients import Client
from tests.site import DOORS, HERE, Login, SiteBroker, warnings_in

MQTT_3_1_1, MQTT_5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
CHANNELS = ("hello", "hb", "get", "read", "plan", "ack", "block", "dead")
FROM_DEVICE = ("hello", "hb", "get", "read")
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
def door(known: SiteBroker) -> Iterator[Client]:
    """The gateway, hearing all that it may."""
    with known.login_of("gateway", "gateway-loopback").connected("the-gateway", MQTT_5) as client:
        client.subscribe(LAST, *(f"edge/+/+/{channel}" for channel in FROM_DEVICE))
        yield client


@pytest.fixture(autouse=True)
def nothing_waits(door: Client, desk: Client) -> None:
    """What an earlier test left unread is read."""
    mark = secrets.token_bytes(8)
    for client, last in ((door, LAST), (desk, "edge/any/any/dead")):
        door.publish(last, mark)
        while client.next() != (last, mark):
            pass


@pytest.fixture(scope="module")
def desk(known: SiteBroker) -> Iterator[Client]:
    """The operator, hearing all that it may."""
    with known.login_of("operator", "gateway-loopback").connected("the-operator", MQTT_5) as client:
        client.subscribe("edge/+/+/dead")
        yield client


@dataclass(frozen=True)
class Stage:
    """A is to act by one door and version of MQTT; the others watch."""

    login: Login
    protocol: MQTTProtocolVersion
    a: str
    b: str
    door: Client
    desk: Client
    watching_b: Client

    def act(self, client_id: str = "any", session: bool = False) -> AbstractContextManager[Client]:
        return self.login.connected(client_id, self.protocol, session)

    def notice(self, acting: Client) -> set[Message]:
        """All that the gateway, the operator, B and A itself heard since the last call."""
        acting.publish(topic(self.a, "hb"), SENTINEL)
        found = heard(self.door, topic(self.a, "hb"))
        for user, channel in ((self.a, "dead"), (self.a, "ack"), (self.b, "ack")):
            self.door.publish_unconfirmed(topic(user, channel), SENTINEL)
        found |= heard(self.desk, topic(self.a, "dead")) | heard(self.watching_b, topic(self.b, "ack"))
        return found | heard(acting, topic(self.a, "ack"))

    def look_again(self) -> None:
        """Subscribe once more: the broker then sends what is retained."""
        self.door.subscribe(*(f"edge/+/+/{channel}" for channel in FROM_DEVICE))
        self.desk.subscribe("edge/+/+/dead")
        self.watching_b.subscribe(*(topic(self.b, channel) for channel in TO_DEVICE))

    def speak(self, payload: bytes, retain: bool = False) -> None:
        """B and the gateway say on every topic what they may."""
        for channel in FROM_DEVICE:
            self.watching_b.publish_unconfirmed(topic(self.b, channel), payload, retain)
        for user in (self.b, self.a):
            for channel in (*TO_DEVICE, "dead"):
                self.door.publish_unconfirmed(topic(user, channel), payload, retain)
        # A PUBACK confirms all that the same client sent before.
        self.watching_b.publish(topic(self.b, "hb"), b"")
        self.door.publish(topic(self.b, "ack"), b"")


def heard(client: Client, sentinel_topic: str) -> set[Message]:
    """What came before the sentinel. Empty payloads are of those who cleared what they had retained."""
    before = iter(client.next, (sentinel_topic, SENTINEL))
    return {message for message in before if message[1] not in (b"", SENTINEL)}


@pytest.fixture(scope="module", params=[MQTT_3_1_1, MQTT_5], ids=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> MQTTProtocolVersion:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=FLEETS)
def stage(
    request: pytest.FixtureRequest, known: SiteBroker, protocol: MQTTProtocolVersion, door: Client, desk: Client
) -> Iterator[Stage]:
    fleet = FLEETS[request.param]
    a, b = f"{fleet}/a", f"{fleet}/b"
    login = known.login(request.param, a)
    with known.login(request.param, b).connected("b", protocol) as watching_b:
        watching_b.subscribe(*(topic(b, channel) for channel in TO_DEVICE))
        yield Stage(login, protocol, a, b, door, desk, watching_b)


# -- the matrix --


@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_writes_only_its_own(stage: Stage, channel: str, retain: bool) -> None:
    with stage.act() as a:
        a.subscribe(*(topic(stage.a, each) for each in TO_DEVICE))
        for user in (stage.a, stage.b):
            a.publish(topic(user, channel), b"of a", retain)
        if retain:
            stage.look_again()
        expected = {(topic(stage.a, channel), b"of a")} if channel in FROM_DEVICE else set()
        assert stage.notice(a) == expected
        a.publish(topic(stage.a, channel), b"", retain=True)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_leaves_a_will_only_for_its_own(stage: Stage, channel: str) -> None:
    """The broker publishes it when A's next connection ends the one before."""
    for user in (stage.a, stage.b):
        with stage.login.connecting("any", stage.protocol, will=(topic(user, channel), b"will")) as first:
            refused = first.connack().is_failure
            with stage.act() as a:
                a.subscribe(*(topic(stage.a, each) for each in TO_DEVICE))
                its_own = user == stage.a and channel in FROM_DEVICE
                assert stage.notice(a) == ({(topic(user, channel), b"will")} if its_own else set())
                assert not (refused and its_own)


FILTERS = [
    *(f"edge/{{{who}}}/{channel}" for who in "ab" for channel in CHANNELS),
    *("#", "+/#", "edge/#", "edge/+/+/+", "edge/+/+/plan", "+/+/+/ack", "edge/{fleet}/#", "edge/{fleet}/+/plan"),
    *("edge/{a}/#", "edge/{a}/+", "edge/{b}/#", "edge/{b}/+", "edge/+/b/block", "+/{b}/plan"),
    *("$SYS/#", "$SYS/broker/clients/total", "$share/group/edge/#", "$share/group/edge/{b}/plan"),
]


@pytest.mark.parametrize("pattern", FILTERS)
def test_a_hears_only_its_own(stage: Stage, pattern: str) -> None:
    wanted = pattern.format(a=stage.a, b=stage.b, fleet=stage.a.split("/")[0])
    stage.speak(b"retained", retain=True)
    with stage.act() as a:
        a.subscribe(wanted)
        a.subscribe(topic(stage.a, "ack"))
        stage.speak(b"live")
        for channel in FROM_DEVICE:
            a.publish(topic(stage.a, channel), b"of a")
        stage.door.publish(topic(stage.a, "ack"), SENTINEL)
        arrived = heard(a, topic(stage.a, "ack"))
        stage.speak(b"", retain=True)
        stage.notice(a)
    expected = expected_of(wanted, stage.a)
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
def test_anothers_client_id_throws_nobody_out(stage: Stage, whose: str) -> None:
    with stage.act(stage.b if whose == "b" else whose) as a:
        a.subscribe(*(topic(stage.a, channel) for channel in TO_DEVICE))
        stage.door.publish(topic(stage.b, "plan"), b"for b")
        assert stage.notice(a) == {(topic(stage.b, "plan"), b"for b")}


def test_anothers_client_id_inherits_no_session(stage: Stage, known: SiteBroker) -> None:
    c = stage.a.replace("/a", "/c")
    known.add(*c.split("/"), *(["--certificate"] if stage.a.startswith("fleet-c") else []))
    as_c = replace(known.login("password", c), port=stage.login.port)
    with as_c.connected("any", stage.protocol, session=True) as client:
        client.subscribe(topic(c, "plan"))
    stage.door.publish(topic(c, "plan"), b"waits")
    with stage.act(c, session=True) as a:
        a.subscribe(topic(stage.a, "ack"))
        assert stage.notice(a) == set()
    with as_c.connected("any", stage.protocol, session=True) as client:
        assert client.next() == (topic(c, "plan"), b"waits")
    for login in (stage.login, as_c):
        with login.connected("any", stage.protocol):
            pass  # a clean start ends the session


# -- names that mean more than one device --

WILD = ["+/+", "+", "#", "fleet-p/+", "fleet-p/#", "+/a"]
SLASHED = ["fleet-p", "/fleet-p/a", "fleet-p//a", "fleet-p/a/", "fleet-p/a/hb"]


@pytest.mark.parametrize("by", ["password", "certificate"])
@pytest.mark.parametrize("name", WILD + SLASHED)
def test_a_name_that_could_be_read_as_anothers_reaches_nothing(
    known: SiteBroker, protocol: MQTTProtocolVersion, door: Client, desk: Client, name: str, by: str
) -> None:
    """`devices add` refuses them all; here they were smuggled into the password file, or signed by the authority."""
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
            door.publish(topic("fleet-p/a", channel), b"for a")
        watching_a.publish(topic("fleet-p/a", "hb"), SENTINEL)
        door.publish(topic("fleet-p/a", "dead"), SENTINEL)
        door.publish(topic("fleet-p/a", "ack"), SENTINEL)
        assert heard(door, topic("fleet-p/a", "hb")) == set()
        assert heard(desk, topic("fleet-p/a", "dead")) == {(topic("fleet-p/a", "dead"), b"for a")}
        expected = {(topic("fleet-p/a", channel), b"for a") for channel in TO_DEVICE}
        assert heard(watching_a, topic("fleet-p/a", "ack")) == expected
        smuggled.publish(topic("fleet-p/a", "hb"), b"")  # its PUBACK comes after all that was for it
        assert smuggled.arrived() == []
    door.arrived()


# -- those who are no device --


@pytest.mark.parametrize("by", ["gateway-loopback", "gateway"])
def test_the_gateway_is_refused_what_it_does_not_need(known: SiteBroker, desk: Client, by: str) -> None:
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
        assert heard(client, topic("fleet-p/a", "hb")) == set()
        expected = {(topic("fleet-p/a", channel), b"by the gateway") for channel in TO_DEVICE}
        assert heard(device, topic("fleet-p/a", "ack")) == expected
        assert heard(desk, topic("fleet-p/a", "dead")) == {(topic("fleet-p/a", "dead"), b"by the gateway")}


def test_the_operator_reads_dead_of_all_and_writes_nothing(known: SiteBroker, door: Client) -> None:
    a = known.login("password", "fleet-p/a")
    us = known.login_of("operator", "gateway")
    with us.connected("another", MQTT_5) as desk, a.connected("any", MQTT_5) as device:
        desk.subscribe("#", *(f"edge/+/+/{channel}" for channel in CHANNELS))
        device.subscribe(*(topic("fleet-p/a", channel) for channel in TO_DEVICE))
        for channel in CHANNELS:
            desk.publish(topic("fleet-p/a", channel), b"by the operator")
        device.publish(topic("fleet-p/a", "hb"), SENTINEL)
        door.publish(topic("fleet-p/a", "plan"), b"not theirs")
        door.publish(topic("fleet-p/a", "dead"), SENTINEL)
        door.publish(topic("fleet-p/a", "ack"), SENTINEL)
        assert heard(door, topic("fleet-p/a", "hb")) == set()
        assert heard(device, topic("fleet-p/a", "ack")) == {(topic("fleet-p/a", "plan"), b"not theirs")}
        assert heard(desk, topic("fleet-p/a", "dead")) == set()


# -- who comes in at all --


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("by", HERE)
def test_nobody_comes_in_without_a_credential_of_the_doors_kind(known: SiteBroker, by: str, level: int) -> None:
    own = "fleet-c/a" if by == "certificate" else "fleet-p/a"
    good = known.login_of("gateway", by) if by.startswith("gateway") else known.login(by, own)
    assert not good.is_refused(level)
    bare = replace(good, credentials=None, tls=good.tls and known.login("password", "fleet-p/a").tls)
    assert bare.is_refused(level)
    assert replace(bare, credentials=BrokerLogin("fleet-p/a", "wrong")).is_refused(level)
    # A certificate opens no door that asks for a password, nor a password the door that asks for a certificate.
    other = known.login("password", "fleet-p/a") if by == "certificate" else known.login("certificate", "fleet-c/a")
    assert replace(other, port=good.port, tls=good.tls and other.tls).is_refused(level)


def test_the_name_in_connect_is_nothing_beside_a_certificate(known: SiteBroker, door: Client) -> None:
    as_b = replace(known.login("certificate", "fleet-c/a"), credentials=BrokerLogin("fleet-c/b", "any"))
    with as_b.connected("fleet-c/b", MQTT_5) as client:
        client.publish(topic("fleet-c/b", "hb"), b"as b")
        client.publish(topic("fleet-c/a", "hb"), SENTINEL)
        assert heard(door, topic("fleet-c/a", "hb")) == set()


def test_a_password_is_nothing_under_anothers_name(known: SiteBroker) -> None:
    a = known.login("password", "fleet-p/a")
    assert a.credentials is not None
    assert replace(a, credentials=BrokerLogin("fleet-p/b", a.credentials.password)).is_refused()


@pytest.mark.parametrize("forged", ["by another authority", "expired", "the broker's own"])
def test_a_certificate_that_is_no_devices_opens_nothing(known: SiteBroker, forged: str) -> None:
    assert known.forged(forged).is_refused()
    assert not known.login("certificate", "fleet-c/a").is_refused()


@pytest.mark.parametrize("by", DOORS)
@pytest.mark.parametrize(("version", "refused"), [("TLSv1_1", True), ("TLSv1_2", False), ("TLSv1_3", False)])
def test_tls_is_1_2_or_newer(known: SiteBroker, by: str, version: str, refused: bool) -> None:
    login = known.login_of("gateway", by) if by == "gateway" else known.login(by, FLEETS[by] + "/a")
    assert login.tls is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        login.tls.minimum_version = login.tls.maximum_version = ssl.TLSVersion[version]
    login.tls.set_ciphers("DEFAULT:@SECLEVEL=0")  # or our own side would refuse 1.1
    assert login.is_refused() == refused


# -- who comes and goes --


def test_no_listener_raises_a_warning(known: SiteBroker) -> None:
    """Nor does what `devices` writes, at the start and at the reloads of `known`."""
    assert warnings_in(known.log()) == []


def test_a_new_user_disturbs_nobody(known: SiteBroker, door: Client) -> None:
    with known.login("password", "fleet-p/a").connected("any", MQTT_5) as a:
        known.add("fleet-p", "new")
        with known.login("password", "fleet-p/new").connected("any", MQTT_5) as new:
            new.publish(topic("fleet-p/new", "hb"), b"new")
            a.publish(topic("fleet-p/a", "hb"), SENTINEL)
            assert heard(door, topic("fleet-p/a", "hb")) == {(topic("fleet-p/new", "hb"), b"new")}


def test_a_removed_password_ends_its_connection_and_opens_nothing(known: SiteBroker) -> None:
    known.add("fleet-p", "gone")
    login = known.login("password", "fleet-p/gone")
    with login.connected("any", MQTT_5) as gone:
        known.remove("fleet-p", "gone")
        gone.disconnected()
    assert login.is_refused()


def test_removed_certificates_open_nothing_and_disturb_no_other(known: SiteBroker) -> None:
    """Two within a second: the broker goes by the newer list of revocations."""
    known.add("fleet-c", "gone", "too", "--certificate")
    logins = [known.login("certificate", f"fleet-c/{name}") for name in ("gone", "too")]
    for name in ("gone", "too"):
        known.remove("fleet-c", name)
    assert [login.is_refused() for login in logins] == [True, True]
    assert not known.login("certificate", "fleet-c/a").is_refused()


def test_an_open_connection_by_a_removed_certificate_reaches_nothing(known: SiteBroker, door: Client) -> None:
    known.add("fleet-c", "cut", "--certificate")
    with known.login("certificate", "fleet-c/cut").connected("any", MQTT_5) as cut:
        cut.subscribe(*(topic("fleet-c/cut", channel) for channel in TO_DEVICE))
        cut.publish(topic("fleet-c/cut", "hb"), SENTINEL)
        assert heard(door, topic("fleet-c/cut", "hb")) == set()
        known.remove("fleet-c", "cut")
        door.publish(topic("fleet-c/cut", "plan"), b"too late")
        for channel in FROM_DEVICE:
            cut.publish(topic("fleet-c/cut", channel), b"too late")
        with known.login("certificate", "fleet-c/a").connected("any", MQTT_5) as a:
            a.publish(topic("fleet-c/a", "hb"), SENTINEL)
        assert heard(door, topic("fleet-c/a", "hb")) == set()
        assert cut.arrived() == []


@pytest.mark.parametrize("kind", ["password", "certificate"])
def test_renewing_ends_the_old_credential(known: SiteBroker, kind: str) -> None:
    options = ["--certificate"] if kind == "certificate" else []
    known.add("fleet-r", kind, *options)
    old = known.login(kind, f"fleet-r/{kind}")
    known.add("fleet-r", kind, "--renew", *options)
    assert old.is_refused()
    assert not known.login(kind, f"fleet-r/{kind}").is_refused()


def test_of_the_shipped_doors_only_site_lines_are_changed(site: SiteBroker) -> None:
    for by in DOORS:
        shipped = (SHIPPED / "doors" / f"{by}.conf").read_text().splitlines()
        run = site.door_conf(by).splitlines()
        changed = {old.split(" ")[0] for old, new in zip(shipped, run, strict=True) if old != new}
        assert changed <= {"listener", "cafile", "certfile", "keyfile", "crlfile"}
