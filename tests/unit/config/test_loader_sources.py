"""Where settings come from, which source wins, and the defaults."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config import BrokerUrl, Settings, load, load_with_places

Write = Callable[[str], Path]


def test_nothing_set_gives_the_defaults() -> None:
    settings, places = load_with_places()
    assert places == {}
    assert settings == Settings()
    assert settings.broker == BrokerUrl("127.0.0.1", 1883)
    assert (settings.root, settings.fleets, settings.group, settings.http_port) == ("edge", (), None, 9464)


def test_the_environment_wins_over_the_file(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROOT", "site-2/edge")
    path = toml('root = "site-1"\nconcurrency = 4\nfleets = ["a", "b"]\n')
    settings, places = load_with_places(path)
    assert (settings.root, settings.concurrency, settings.fleets) == ("site-2/edge", 4, ("a", "b"))
    assert places == {"root": "GATEWAY_ROOT", "concurrency": f"{path}: concurrency", "fleets": f"{path}: fleets"}


def test_the_argument_wins_over_the_variable_that_names_a_file(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toml("intake = 7")
    monkeypatch.setenv("GATEWAY_CONFIG", str(path))
    assert load().intake == 7
    monkeypatch.setenv("GATEWAY_CONFIG", "/nowhere.toml")
    assert load(path).intake == 7


def test_settings_alone_read_neither_file_nor_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROOT", "elsewhere")
    assert Settings().root == "edge"
    assert Settings(root="site").root == "site"


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("GATEWAY_FLEETS", " a, b,a,", "fleets", ("a", "b")),
        ("GATEWAY_FLEETS", "", "fleets", ()),
        ("GATEWAY_GROUP", "", "group", None),
        ("GATEWAY_REGISTERED_VALUES", "yes,REGISTERED", "registered_values", ("yes", "REGISTERED")),
        ("GATEWAY_HTTP_PORT", "off", "http_port", None),
        ("GATEWAY_HTTP_PORT", "0", "http_port", 0),
        ("GATEWAY_ASK_REGISTRATION", "false", "ask_registration", False),
        ("GATEWAY_LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("GATEWAY_SESSION_EXPIRY", "4294967295", "session_expiry", 0xFFFFFFFF),
        ("GATEWAY_RETRY_BASE", "1e-1", "retry_base", 0.1),
        ("GATEWAY_STATE_DIR", "/var/lib/x", "state_dir", Path("/var/lib/x")),
    ],
)
def test_values_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    assert load().model_dump()[field] == value


def test_a_port_that_was_set_differs_from_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "http_port" not in load().model_fields_set
    monkeypatch.setenv("GATEWAY_HTTP_PORT", "9464")
    assert "http_port" in load().model_fields_set


def test_the_tests_own_variables_are_not_the_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_BROKER", "127.0.0.1:1")
    assert load() == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().root = "b"


def test_two_gateways_of_one_host_have_their_own_sessions_and_folders() -> None:
    ids = [
        Settings(**kwargs).client_id  # type: ignore[arg-type]
        for kwargs in (
            {},
            {"fleets": ("a",)},
            {"fleets": ("a", "b")},
            {"root": "x"},
            {"group": "a-group-of-the-tests-0123456789"},
        )
    ]
    assert len(set(ids)) == len(ids)
    assert Settings().client_id == ids[0]
    assert Settings(fleets=("b", "a")).client_id == ids[2]
    assert Settings().state_dir.name == ids[0]


@pytest.mark.parametrize(
    ("host", "will_change"),
    [
        ("3f2a9c01b7de", True),
        ("gateway-6d4cf56db9-x7k2p", True),
        ("gateway-0", False),
        ("gw-building-hall7", False),
    ],
)
def test_a_client_id_that_depends_on_a_containers_name_is_detected(
    monkeypatch: pytest.MonkeyPatch, host: str, will_change: bool
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert Settings().client_id_will_change is will_change
    assert not Settings(client_id="gateway").client_id_will_change


def test_the_state_folder_follows_systemd_then_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = Settings(client_id="gw:1").state_dir
    assert name == tmp_path / "home/.local/state/edge-gateway/gw_1"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert Settings(client_id="gw:1").state_dir == name
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Settings(client_id="..").state_dir == Path("/state/edge-gateway/__")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/gw:/var/lib/other")
    assert Settings().state_dir == Path("/var/lib/gw")


def test_every_setting_says_what_it_is_and_what_would_be_right() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["right"], name
