"""The processes of the demo: their settings, and what is read from their logs."""

from pathlib import Path

from gateway.config.broker_url import BrokerUrl
from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.processes import find_log_event, gateway_settings, log_tail, process_environment


def test_settings_of_another_gateway_reach_no_process() -> None:
    user = {"GATEWAY_ROOT": "mine", "aws_profile": "p", "EDGE_MANAGER_PORT": "1", "MICROPYPATH": "x", "HOME": "/h"}
    variables = process_environment(user | {"PYTHONPATH": "/mine"}, GATEWAY_CLIENT_ID="demo")
    assert set(variables) == {"HOME", "GATEWAY_CLIENT_ID", "PYTHONPATH", "NO_PROXY", "no_proxy"}
    assert variables["PYTHONPATH"].endswith(":/mine")


def test_a_password_may_hold_any_character_of_a_url() -> None:
    login = BrokerLogin("gateway", "a/b:c@d#e%f")
    address = BrokerAddress("any", "127.0.0.1", 1884, 1883, login, login, True, True)
    url = BrokerUrl.parse(gateway_settings(address, Path("state"), "http://x")["GATEWAY_MQTT_URL"])
    assert (url.port, url.username, url.password) == (1884, login.user, login.password)


def test_an_event_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert find_log_event(log, "up") is None
    log.write_text('Traceback\n[1]\n{"event": "starting"}\n{"event": "up", "url": "u"}\n{"event": "u')
    assert find_log_event(log, "up") == {"event": "up", "url": "u"}
    assert find_log_event(log, "down") is None


def test_the_end_of_a_log_or_that_it_is_empty(tmp_path: Path) -> None:
    assert log_tail("dev-1", tmp_path / "none") == "The log of dev-1 is empty."
    (tmp_path / "log").write_text("".join(f"{n}\n" for n in range(100)))
    assert log_tail("dev-1", tmp_path / "log").splitlines()[:2] == ["The log of dev-1 ends:", "80"]
