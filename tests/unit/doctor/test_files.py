"""mosquitto.conf as its lines say, and what the doctor makes of it."""

from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.demo.brokers.mosquitto import SHIPPED
from gateway.doctor import conf, judge_files, probe_files
from gateway.doctor.conf import Conf, Listener, Plugin
from gateway.doctor.facts import Fault
from gateway.doctor.verdict import Level
from gateway.errors import ConfigError

SHIPPED_CONF = (SHIPPED / "mosquitto.conf").read_text("utf-8")
PORT = 1884
SETTINGS = Settings(mqtt_url=f"mqtt://gateway@127.0.0.1:{PORT}")


def read(text: str) -> Conf:
    return conf.read(text.splitlines())


# -- reading --


def test_options_after_a_listener_are_its_own_or_the_brokers() -> None:
    found = read("port 1\nlistener 1883 10.0.0.1\nmax_qos 1\npersistence true\n# no\n\nlistener 8883\ncertfile a b\n")
    assert found.listeners == (
        Listener(1883, "10.0.0.1", {"max_qos": "1"}),
        Listener(8883, "", {"certfile": "a b"}),
    )
    assert found.options == {"port": "1", "persistence": "true"}


@pytest.mark.parametrize("own", [False, True])
def test_acl_files_are_a_listeners_own_where_the_file_says_so(own: bool) -> None:
    head = "per_listener_settings true\n" if own else ""
    found = read(head + "listener 1\nacl_file a\nlistener 2\nacl_file b\n")
    assert [each.options.get("acl_file") for each in found.listeners] == (["a", "b"] if own else [None, None])
    assert found.options.get("acl_file") == (None if own else "b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listener 1\nlistener 2\nallow_anonymous true", True),
        ("allow_anonymous true\nlistener 1\nlistener_allow_anonymous false", False),
        ("listener 1\nlistener 2\nlistener_allow_anonymous true", True),
        ("per_listener_settings true\nlistener 1\nallow_anonymous true\nlistener 2", True),
        ("listener 1", False),
        ("", True),
    ],
)
def test_who_gives_no_name_is_let_in_by_the_broker_or_by_one_listener(text: str, expected: bool) -> None:
    assert read(text).admits_nameless is expected


def test_a_plugin_that_reads_a_file_names_it_as_the_option_does() -> None:
    found = read(
        "global_plugin /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /a b\nlistener 1\n"
        "plugin_load logins /lib/mosquitto_password_file.so\nplugin_opt_password_file /p\nplugin_use logins\n"
    )
    assert found.plugins == (
        Plugin("mosquitto_acl_file", {"acl_file": "/a b"}),
        Plugin("mosquitto_password_file", {"password_file": "/p"}),
    )
    assert (found.paths("acl_file"), found.paths("password_file")) == (["/a b"], ["/p"])
    assert not found.is_decided_elsewhere


@pytest.mark.parametrize("word", ["plugin", "auth_plugin", "global_plugin"])
def test_another_plugin_may_decide_what_no_file_says(word: str) -> None:
    found = read(f"acl_file /a\n{word} /lib/mosquitto_dynamic_security.so\nplugin_opt_acl_file /b\n")
    assert found.is_decided_elsewhere
    assert found.paths("acl_file") == ["/a"]


def test_a_file_is_named_once_though_listeners_share_it() -> None:
    found = read("listener 1\ncertfile /a\nlistener 2\ncertfile /a\nlistener 3\ncertfile /b\n")
    assert found.paths("certfile") == ["/a", "/b"]
    assert found.paths("crlfile") == []


def test_what_stands_twice_counts_once_and_nonsense_is_the_default() -> None:
    assert read("max_queued_messages 1\nmax_queued_messages 2\n").number("max_queued_messages", 3) == 2
    assert read("max_queued_messages many\n").number("max_queued_messages", 3) == 3


def test_included_files_stand_in_the_place_of_their_line(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.conf").write_text("max_qos 2\n")
    (tmp_path / "more" / "a.conf").write_text("listener 5\n")
    (tmp_path / "more" / "c.txt").write_text("persistence true\n")
    (tmp_path / "mosquitto.conf").write_text(f"listener 4\ninclude_dir {tmp_path}/more\nmax_qos 0\n")
    found = probe_files.read_conf(tmp_path / "mosquitto.conf")
    assert found == Conf({}, (Listener(4, "", {}), Listener(5, "", {"max_qos": "0"})))


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--conf"):
        probe_files.read_conf(tmp_path / "none")
    found = probe_files.read_acl(str(tmp_path / "none"))
    assert isinstance(found, Fault)
    assert "cannot be read" in found.detail


# -- judging --


def changed(*lines: str, without: str = "") -> Conf:
    """The shipped configuration with other lines at its top end, and without those that begin so."""
    kept = [line for line in SHIPPED_CONF.splitlines() if not without or not line.startswith(without)]
    return conf.read([*kept, *lines])


@pytest.mark.parametrize(
    ("found", "level", "said"),
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
def test_what_outlives_a_restart(found: Conf, level: Level, said: str) -> None:
    verdict = judge_files.persistence(found, 7 * 86_400)
    assert verdict.level is level
    assert said in verdict.found


def test_a_session_for_ever_is_told_from_an_end() -> None:
    verdict = judge_files.persistence(changed(), judge_files.FOR_EVER)
    assert verdict.level is Level.WARN
    assert "for ever" in verdict.found


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
def test_queues_are_held_against_the_devices(lines: list[str], devices: int | None, level: Level) -> None:
    assert judge_files.queues(changed(*lines), devices).level is level


def test_the_default_queue_of_mosquitto_counts_where_none_is_set() -> None:
    verdict = judge_files.queues(read("max_queued_bytes 0"), 2000)
    assert verdict.level is Level.FAIL
    assert "1,000 messages" in verdict.found


def test_small_payloads_and_slow_sockets_are_told() -> None:
    found = changed("message_size_limit 65536", "set_tcp_nodelay false")
    assert {each.check for each in judge_files.sending(found, 65_536)} == {"payloads", "speed"}
    assert judge_files.sending(changed("message_size_limit 65537"), 65_536) == []


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ("", Level.FAIL, "no listener"),
        (
            "listener 1884 127.0.0.1\nlistener 1883\nuse_username_as_clientid true\nallow_anonymous true",
            Level.FAIL,
            "anon",
        ),
        ("listener 1884", Level.FAIL, "throws it out"),
        ("listener 1884\nuse_username_as_clientid true", Level.FAIL, "user name for the client id"),
        ("listener 1884\nlistener 1883\nuse_username_as_clientid true", Level.WARN, "port 1884"),
        ("listener 1884 127.0.0.1\nlistener 1883\nuse_username_as_clientid true", Level.WARN, "passwords travel"),
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
def test_doors_that_are_open_are_told(text: str, level: Level, said: str) -> None:
    verdict = judge_files.listeners(read(text), PORT)
    assert verdict.level is level
    assert said in verdict.found


@pytest.mark.parametrize(
    ("text", "is_2_1", "ports"),
    [
        ("listener 1\nmax_qos 1\nlistener 2\nlistener 3\nmax_qos 0", False, "port 1, 3 "),
        ("listener 1\nmax_qos 1", None, "port 1 "),
        ("listener 1\nmax_qos 1", True, ""),
        ("listener 1", False, ""),
    ],
)
def test_a_largest_qos_does_not_hold_in_2_0(text: str, is_2_1: bool | None, ports: str) -> None:
    found = judge_files.largest_qos(read(text), is_2_1)
    assert [each.level for each in found] == ([Level.WARN] if ports else [])
    assert all(ports in each.found and "max_inflight_bytes" in each.todo for each in found)


def test_the_shipped_file_is_as_it_must_be() -> None:
    found = judge_files.files(changed(), SETTINGS, 10_000, is_2_1=True)
    assert {each.check for each in found} == {"persistence", "queues", "listeners"}
    assert {each.level for each in found} == {Level.PASS}


def test_of_the_shipped_doors_only_the_gateways_must_be_bound() -> None:
    doors = [line for door in sorted((SHIPPED / "doors").iterdir()) for line in door.read_text("utf-8").splitlines()]
    verdict = judge_files.listeners(changed(*doors), PORT)
    assert verdict.level is Level.WARN
    assert "port 8885" in verdict.found


def test_without_files_each_line_says_so() -> None:
    found = judge_files.without("it stands there", "name it")
    assert {each.check for each in found} == {"persistence", "queues", "listeners", "isolation", "reload"}
    assert all(each.level is Level.WARN and "cannot know" in each.found for each in found)
