"""Checks of the broker's files."""

import pytest

from gateway.config import Settings
from gateway.demo.brokers.mosquitto import SHIPPED
from gateway.doctor.checks import mosquitto_files
from gateway.doctor.parsers import mosquitto_conf
from gateway.doctor.parsers.mosquitto_conf import MosquittoConf
from gateway.doctor.result import Level

SHIPPED_CONF = (SHIPPED / "mosquitto.conf").read_text("utf-8")
PORT = 1884
SETTINGS = Settings(mqtt_url=f"mqtt://gateway@127.0.0.1:{PORT}")


def read(text: str) -> MosquittoConf:
    return mosquitto_conf.parse(text.splitlines())


def changed(*lines: str, without: str = "") -> MosquittoConf:
    """The shipped configuration with other lines at its top end, and without those that begin so."""
    kept = [line for line in SHIPPED_CONF.splitlines() if not without or not line.startswith(without)]
    return mosquitto_conf.parse([*kept, *lines])


@pytest.mark.parametrize(
    ("found", "level", "expected"),
    [
        (changed(), Level.PASS, "30 s"),
        (changed(without="persistence "), Level.FAIL, "not true"),
        (changed("persistence false"), Level.FAIL, "not true"),
        (changed("autosave_interval 0"), Level.WARN, "loses everything"),
        (changed(without="autosave_interval"), Level.WARN, "1,800 s"),
        (changed("autosave_on_changes true"), Level.WARN, "autosave_on_changes"),
        (changed("persistent_client_expiration 6d"), Level.WARN, "6d"),
        (changed("persistent_client_expiration 7d"), Level.PASS, ""),
        (changed(without="persistent_client_expiration"), Level.PASS, ""),
    ],
    ids=range(9),
)
def test_what_survives_a_restart(found: MosquittoConf, level: Level, expected: str) -> None:
    result = mosquitto_files.check_persistence(found, 7 * 86_400)
    assert result.level is level
    assert expected in result.found


def test_a_session_without_expiry_is_shown_as_for_ever() -> None:
    result = mosquitto_files.check_persistence(changed(), mosquitto_files.NO_EXPIRY)
    assert result.level is Level.WARN
    assert "for ever" in result.found


@pytest.mark.parametrize(
    ("lines", "devices", "level"),
    [
        (["max_queued_messages 1000", "max_queued_bytes 0"], None, Level.WARN),
        (["max_queued_messages 1000", "max_queued_bytes 0"], 100, Level.PASS),
        (["max_queued_messages 1000", "max_queued_bytes 0"], 101, Level.WARN),
        (["max_queued_messages 1000", "max_queued_bytes 0"], 1000, Level.WARN),
        (["max_queued_messages 1000", "max_queued_bytes 0"], 1001, Level.FAIL),
        (["max_queued_messages 0", "max_queued_bytes 0"], 1_000_000, Level.PASS),
        (["max_queued_messages 0", "max_queued_bytes 10000"], 101, Level.FAIL),
        (["max_queued_messages 1000", "max_queued_bytes 10000"], 101, Level.FAIL),
    ],
)
def test_queues_are_compared_with_the_devices(lines: list[str], devices: int | None, level: Level) -> None:
    assert mosquitto_files.check_queues(changed(*lines), devices).level is level


def test_the_default_queue_of_mosquitto_counts_where_none_is_set() -> None:
    result = mosquitto_files.check_queues(read("max_queued_bytes 0"), 2000)
    assert result.level is Level.FAIL
    assert "1,000 messages" in result.found


def test_small_payloads_and_slow_sockets_are_warned_of() -> None:
    found = changed("message_size_limit 65536", "set_tcp_nodelay false", "upgrade_outgoing_qos false")
    assert {each.check for each in mosquitto_files.check_sending(found, 65_536)} == {"payloads", "speed", "QoS 0"}
    assert mosquitto_files.check_sending(changed("message_size_limit 65537"), 65_536) == []


@pytest.mark.parametrize(
    ("text", "level", "expected"),
    [
        ("", Level.FAIL, "no listener"),
        (
            "listener 1884 127.0.0.1\nlistener 1883\nuse_username_as_clientid true\nallow_anonymous true",
            Level.FAIL,
            "anon",
        ),
        ("listener 1884", Level.FAIL, "disconnects it"),
        ("listener 1884\nuse_username_as_clientid true", Level.FAIL, "user name as client id"),
        ("listener 1884\nlistener 1883\nuse_username_as_clientid true", Level.WARN, "port 1884"),
        ("listener 1884 127.0.0.1\nlistener 1883\nuse_username_as_clientid true", Level.WARN, "passwords can be read"),
        (
            "listener 1884 127.0.0.1\nlistener 8883\nuse_username_as_clientid true\ncertfile a\nkeyfile b",
            Level.PASS,
            "",
        ),
        (
            "per_listener_settings true\nlistener 1884 ::1\nlistener 8883\nuse_username_as_clientid true\n"
            "certfile a\nallow_anonymous true",
            Level.FAIL,
            "anon",
        ),
    ],
    ids=range(8),
)
def test_listeners_that_devices_can_misuse(text: str, level: Level, expected: str) -> None:
    result = mosquitto_files.check_listeners(read(text), PORT)
    assert result.level is level
    assert expected in result.found


@pytest.mark.parametrize(
    ("text", "is_2_1", "ports"),
    [
        ("listener 1\nmax_qos 1\nlistener 2\nlistener 3\nmax_qos 0", False, "port 1, 3 "),
        ("listener 1\nmax_qos 1", None, "port 1 "),
        ("listener 1\nmax_qos 1", True, ""),
        ("listener 1", False, ""),
    ],
)
def test_max_qos_is_lost_in_2_0(text: str, is_2_1: bool | None, ports: str) -> None:
    found = mosquitto_files.check_max_qos(read(text), is_2_1)
    assert [each.level for each in found] == ([Level.WARN] if ports else [])
    assert all(ports in each.found and "max_inflight_bytes" in each.todo for each in found)


def test_the_shipped_file_is_as_it_must_be() -> None:
    found = mosquitto_files.check_files(changed(), SETTINGS, 10_000, is_2_1=True)
    assert {each.check for each in found} == {"persistence", "queues", "listeners"}
    assert {each.level for each in found} == {Level.PASS}


def test_of_the_shipped_listeners_only_the_gateways_must_be_bound() -> None:
    lines = [
        line for file in sorted((SHIPPED / "listeners").iterdir()) for line in file.read_text("utf-8").splitlines()
    ]
    result = mosquitto_files.check_listeners(changed(*lines), PORT)
    assert result.level is Level.WARN
    assert "port 8885" in result.found


def test_without_files_each_line_says_so() -> None:
    found = mosquitto_files.files_unknown("it is there", "name it")
    assert {each.check for each in found} == {"persistence", "queues", "listeners", "isolation", "reload"}
    assert all(each.level is Level.WARN and "cannot know" in each.found for each in found)
