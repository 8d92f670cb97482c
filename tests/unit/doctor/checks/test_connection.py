"""Checks of the connection to the broker."""

import pytest

from gateway.config import BrokerUrl
from gateway.doctor.checks.connection import (
    HEADER_BYTES,
    ConnackProperties,
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
        (ConnectResult(ConnackProperties()), "MQTT 5", Level.PASS),
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


@pytest.mark.parametrize(
    ("connack", "level", "expected"),
    [
        (ConnackProperties(), Level.PASS, ""),
        (ConnackProperties(maximum_qos=0), Level.FAIL, "QoS 0"),
        (ConnackProperties(maximum_qos=1), Level.PASS, ""),
        (ConnackProperties(wildcards=False), Level.FAIL, "wildcard"),
        (ConnackProperties(maximum_packet_size=65_536), Level.WARN, "65,536"),
        (ConnackProperties(maximum_packet_size=65_536 + HEADER_BYTES), Level.PASS, ""),
    ],
    ids=range(6),
)
def test_limits(connack: ConnackProperties, level: Level, expected: str) -> None:
    result = check_limits(connack, 65_536)
    assert result.level is level
    assert expected in result.found
