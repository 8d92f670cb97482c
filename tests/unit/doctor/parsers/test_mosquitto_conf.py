"""mosquitto.conf, parsed."""

import pytest

from gateway.doctor.parsers import mosquitto_conf
from gateway.doctor.parsers.mosquitto_conf import ListenerConf, MosquittoConf, Plugin


def read(text: str) -> MosquittoConf:
    return mosquitto_conf.parse(text.splitlines())


def test_options_after_a_listener_are_its_own_or_the_brokers() -> None:
    found = read("port 1\nlistener 1883 10.0.0.1\nmax_qos 1\npersistence true\n# no\n\nlistener 8883\ncertfile a b\n")
    assert found.listeners == (
        ListenerConf(1883, "10.0.0.1", {"max_qos": "1"}),
        ListenerConf(8883, "", {"certfile": "a b"}),
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
def test_anonymous_clients_are_allowed_by_the_broker_or_by_one_listener(text: str, expected: bool) -> None:
    assert read(text).allows_anonymous is expected


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
    assert not found.has_unknown_plugin


@pytest.mark.parametrize("word", ["plugin", "auth_plugin", "global_plugin"])
def test_another_plugin_may_decide_by_other_rules(word: str) -> None:
    found = read(f"acl_file /a\n{word} /lib/mosquitto_dynamic_security.so\nplugin_opt_acl_file /b\n")
    assert found.has_unknown_plugin
    assert found.paths("acl_file") == ["/a"]


def test_a_file_is_named_once_though_listeners_share_it() -> None:
    found = read("listener 1\ncertfile /a\nlistener 2\ncertfile /a\nlistener 3\ncertfile /b\n")
    assert found.paths("certfile") == ["/a", "/b"]
    assert found.paths("crlfile") == []


def test_an_option_set_twice_counts_once_and_nonsense_is_the_default() -> None:
    assert read("max_queued_messages 1\nmax_queued_messages 2\n").number("max_queued_messages", 3) == 2
    assert read("max_queued_messages many\n").number("max_queued_messages", 3) == 3
