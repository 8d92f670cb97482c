"""Checks of the connection to the broker."""

import pytest

from gateway.config import BrokerUrl
from gateway.doctor.checks.connection import (
    ConnectResult,
    Reachability,
    TlsFailure,
    TlsHandshake,
    check_connect,
    check_limits,
    check_reachable,
    check_tls,
)
from gateway.doctor.result import Level
from gateway.mqtt import BrokerLimits, Wanted

NOW = 1_800_000_000.0
DAY = 86_400
BROKER = BrokerUrl("broker", 8883, True, "gateway")


def test_a_broker_that_is_not_there_fails() -> None:
    assert check_reachable(Reachability("broker", 1883, "nobody listens there")).level is Level.FAIL
    assert check_reachable(Reachability("broker", 1883)).level is Level.PASS


@pytest.mark.parametrize(
    ("reached", "level", "expected"),
    [
        (Reachability("127.0.0.1", 1884), Level.PASS, "loopback"),
        (Reachability("::1", 1884), Level.PASS, "loopback"),
        (Reachability("broker", 1883), Level.WARN, "passwords"),
        (Reachability("broker", 8883, tls=TlsHandshake("TLSv1.3", NOW + 31 * DAY)), Level.PASS, "31 days"),
        (Reachability("broker", 8883, tls=TlsHandshake("TLSv1.2", NOW + 29 * DAY)), Level.WARN, "29 days"),
        (Reachability("broker", 8883, tls=TlsFailure(10, "certificate has expired")), Level.FAIL, "has expired"),
        (Reachability("broker", 8883, tls=TlsFailure(9, "")), Level.FAIL, "not valid yet"),
        (Reachability("broker", 8883, tls=TlsFailure(19, "")), Level.FAIL, "mqtt_ca_file"),
        (Reachability("broker", 8883, tls=TlsFailure(62, "")), Level.FAIL, "another host name"),
        (Reachability("broker", 8883, tls=TlsFailure(64, "")), Level.FAIL, "another host name"),
        (Reachability("broker", 8883, tls=TlsFailure(0, "WRONG_VERSION_NUMBER")), Level.FAIL, "WRONG_VERSION_NUMBER"),
    ],
    ids=range(11),
)
def test_tls(reached: Reachability, level: Level, expected: str) -> None:
    result = check_tls(reached, NOW)
    assert result.level is level
    assert expected in result.found


@pytest.mark.parametrize(
    ("connected", "check", "level"),
    [
        (ConnectResult(BrokerLimits()), "MQTT 5", Level.PASS),
        (ConnectResult(code=0x86, detail="Bad user name or password", mqtt_3_1_1=True), "login", Level.FAIL),
        (ConnectResult(code=0x87, detail="Not authorized", mqtt_3_1_1=True), "login", Level.FAIL),
        (ConnectResult(code=0x84, detail="Unsupported protocol version", mqtt_3_1_1=True), "MQTT 5", Level.FAIL),
        (ConnectResult(detail="the connection broke", mqtt_3_1_1=True), "MQTT 5", Level.FAIL),
        (ConnectResult(detail="the connection broke"), "MQTT 5", Level.FAIL),
        (ConnectResult(code=0x88, detail="Server unavailable", mqtt_3_1_1=True), "MQTT 5", Level.FAIL),
    ],
    ids=range(7),
)
def test_connect(connected: ConnectResult, check: str, level: Level) -> None:
    result = check_connect(connected, BROKER)
    assert (result.check, result.level) == (check, level)
    assert connected.mqtt_3_1_1 is ("only MQTT 3.1.1" in result.found) or connected.code in (0x86, 0x87, 0x88)


WANTED = Wanted("edge", 65_536, session_expiry=3600, shared=False)
IN_A_GROUP = WANTED._replace(shared=True)
NAMES = 2 * (1 + 63)


@pytest.mark.parametrize(
    ("connack", "wanted", "level", "expected"),
    [
        (BrokerLimits(), WANTED, Level.PASS, ""),
        (BrokerLimits(keepalive=10), WANTED, Level.PASS, "each 10 s, not 30"),
        (BrokerLimits(maximum_qos=0), WANTED, Level.FAIL, "QoS 0"),
        (BrokerLimits(maximum_qos=1), WANTED, Level.PASS, ""),
        (BrokerLimits(wildcards=False), WANTED, Level.FAIL, "wildcard"),
        (BrokerLimits(shared=False), WANTED, Level.PASS, ""),
        (BrokerLimits(shared=False), IN_A_GROUP, Level.FAIL, "group"),
        (BrokerLimits(retain=False), WANTED, Level.WARN, "no retained messages"),
        (BrokerLimits(session_expiry=3599), WANTED, Level.WARN, "3,599 s"),
        (BrokerLimits(maximum_packet_size=65_536), WANTED, Level.WARN, "65,536"),
        # type, length, length of the topic, topic, packet id, no properties
        (BrokerLimits(maximum_packet_size=1 + 3 + 2 + 4 + NAMES + 6 + 2 + 1 + 65_536), WANTED, Level.PASS, ""),
        (BrokerLimits(maximum_packet_size=1 + 3 + 2 + 4 + NAMES + 6 + 2 + 65_536), WANTED, Level.WARN, "max_payload"),
    ],
    ids=range(12),
)
def test_limits(connack: BrokerLimits, wanted: Wanted, level: Level, expected: str) -> None:
    result = check_limits(connack, wanted, 30)
    assert result.level is level
    assert expected in result.found
    assert bool(result.todo) is (level is not Level.PASS)


def test_limits_names_all_that_is_stopped() -> None:
    result = check_limits(BrokerLimits(maximum_qos=0, retain=False), WANTED, 30)
    assert "QoS 0" in result.found
    assert "retained" in result.found
