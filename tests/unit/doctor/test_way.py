"""Judgements on the way to the broker."""

import pytest

from gateway.config import BrokerUrl
from gateway.doctor import judge_way
from gateway.doctor.facts import Announced, Entry, Tls, TlsFault, Way
from gateway.doctor.verdict import Level

NOW = 1_800_000_000.0
DAY = 86_400
BROKER = BrokerUrl("broker", 8883, True, "gateway")


def test_nobody_there_fails() -> None:
    assert judge_way.reached(Way("broker", 1883, "nobody listens there")).level is Level.FAIL
    assert judge_way.reached(Way("broker", 1883)).level is Level.PASS


@pytest.mark.parametrize(
    ("way", "level", "said"),
    [
        (Way("127.0.0.1", 1884), Level.PASS, "loopback"),
        (Way("::1", 1884), Level.PASS, "loopback"),
        (Way("broker", 1883), Level.WARN, "passwords"),
        (Way("broker", 8883, tls=Tls("TLSv1.3", NOW + 31 * DAY)), Level.PASS, "31 days"),
        (Way("broker", 8883, tls=Tls("TLSv1.2", NOW + 29 * DAY)), Level.WARN, "29 days"),
        (Way("broker", 8883, tls=TlsFault(10, "certificate has expired")), Level.FAIL, "has expired"),
        (Way("broker", 8883, tls=TlsFault(9, "")), Level.FAIL, "not valid yet"),
        (Way("broker", 8883, tls=TlsFault(19, "")), Level.FAIL, "mqtt_ca_file"),
        (Way("broker", 8883, tls=TlsFault(62, "")), Level.FAIL, "another host name"),
        (Way("broker", 8883, tls=TlsFault(64, "")), Level.FAIL, "another host name"),
        (Way("broker", 8883, tls=TlsFault(0, "WRONG_VERSION_NUMBER")), Level.FAIL, "WRONG_VERSION_NUMBER"),
    ],
    ids=range(11),
)
def test_tls(way: Way, level: Level, said: str) -> None:
    verdict = judge_way.tls(way, NOW)
    assert verdict.level is level
    assert said in verdict.found


@pytest.mark.parametrize(
    ("entry", "check", "level"),
    [
        (Entry(Announced()), "MQTT 5", Level.PASS),
        (Entry(code=0x86, detail="Bad user name or password", older=True), "login", Level.FAIL),
        (Entry(code=0x87, detail="Not authorized", older=True), "login", Level.FAIL),
        (Entry(code=0x84, detail="Unsupported protocol version", older=True), "MQTT 5", Level.FAIL),
        (Entry(detail="the connection broke", older=True), "MQTT 5", Level.FAIL),
        (Entry(detail="the connection broke"), "MQTT 5", Level.FAIL),
        (Entry(code=0x88, detail="Server unavailable", older=True), "MQTT 5", Level.FAIL),
    ],
    ids=range(7),
)
def test_entering(entry: Entry, check: str, level: Level) -> None:
    verdict = judge_way.entered(entry, BROKER)
    assert (verdict.check, verdict.level) == (check, level)
    assert entry.older is ("3.1.1 alone" in verdict.found) or entry.code in (0x86, 0x87, 0x88)


@pytest.mark.parametrize(
    ("announced", "level", "said"),
    [
        (Announced(), Level.PASS, ""),
        (Announced(maximum_qos=0), Level.FAIL, "QoS 0"),
        (Announced(maximum_qos=1), Level.PASS, ""),
        (Announced(wildcards=False), Level.FAIL, "wildcard"),
        (Announced(largest_packet=65_536), Level.WARN, "65,536"),
        (Announced(largest_packet=65_536 + judge_way.ROOM), Level.PASS, ""),
    ],
    ids=range(6),
)
def test_limits(announced: Announced, level: Level, said: str) -> None:
    verdict = judge_way.limits(announced, 65_536)
    assert verdict.level is level
    assert said in verdict.found
