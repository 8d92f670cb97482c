"""Every mistake in the settings names its place and its remedy, and all are reported at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import Settings, load
from gateway.errors import ConfigError

SECRET = "hunter2-7f3a"

Write = Callable[[str], Path]


def mistakes(config: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(config)
    return caught.value.mistakes


RANGES = [
    (name, str(extra["right"]))
    for name, field in Settings.model_fields.items()
    if isinstance(extra := field.json_schema_extra, dict) and field.annotation in (int, float)
]


@pytest.mark.parametrize(("name", "right"), RANGES)
@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf", "1e99"])
def test_a_mistake_in_a_number_shows_its_range(
    monkeypatch: pytest.MonkeyPatch, name: str, right: str, value: str
) -> None:
    monkeypatch.setenv(f"GATEWAY_{name.upper()}", value)
    first = mistakes()[0]
    assert first == f"GATEWAY_{name.upper()}: {value!r} is not right; should be {right}"


def test_an_empty_root_is_a_mistake_and_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROOT", "")
    monkeypatch.setenv("GATEWAY_GROUP", "")
    [mistake] = mistakes()
    assert mistake.startswith("GATEWAY_ROOT: '' is not right; should be one topic level or more")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ('root = "a/#"', "no + or #"),
        ('root = "/a"', "no empty one"),
        ('root = "$SYS"', "no $ in front"),
        ('root = ""', "one topic level or more"),
        ('fleets = ["-a"]', "1 to 63 letters"),
        ('fleets = ["a", ""]', "1 to 63 letters"),
        (f'fleets = ["{"a" * 64}"]', "1 to 63 letters"),
        ("fleets = 3", "a list of fleet names"),
        ('group = "a/0123456789012345678901"', "without / + #"),
        ('group = "gateway"', "any device may join a group whose name it can guess"),
        ('group = "gateways-gateways-gateways"', "any device may join a group whose name it can guess"),
        ('client_id = "a b"', "1 to 128 letters"),
        ('region = "eu central"', "eu-central-1"),
        ("concurrency = true", "a whole number from 1 to 4096"),
        ("concurrency = 1.5", "a whole number from 1 to 4096"),
        ('ask_registration = "perhaps"', "true or false"),
        ("registered_values = []", "to skip the check, set ask_registration = false"),
        ("retry_base = 30", "it is below retry_base"),
        ("http_port = 65536", "0 to 65535, or off"),
        ("http_port = false", "0 to 65535, or off"),
        ('log_level = "loud"', "debug, info, warning or error"),
        ('log_format = "xml"', "auto, human or json"),
        ('mqtt_ca_file = "/nowhere.pem"', "No such file"),
        ('mqtt_ca_file = "/"', "Is a directory"),
        ('mqtt_url = "http://broker"', "does not begin with mqtt://"),
        ('mqtt_url = "mqtt://"', "the host is missing"),
        ('mqtt_url = "mqtt://broker:port"', "the port is not a number from 1 to 65535"),
        ('mqtt_url = "mqtt://broker:0"', "the port is not a number from 1 to 65535"),
        ('mqtt_url = "mqtt://:x@broker"', "a password but no user name"),
        ('mqtt_url = "mqtt://broker/topic"', "something follows the host and port"),
        ('mqtt_url = "mqtt://u:%zz@broker"', "a % itself is %25"),
        ('mqtt_url = "mqtt://u:%ff@broker"', "a % itself is %25"),
        ('mqtt_url = "mqtt://[::1"', "cannot be read as a URL"),
        ('mqtt_url = "mqtt://u:a@b@broker"', "more than one @"),
    ],
)
def test_every_mistake_has_its_place_and_its_remedy(toml: Write, line: str, remedy: str) -> None:
    path = toml(line)
    (mistake,) = mistakes(path)
    key = "retry_cap (not set)" if "retry_base" in line else f"{path}: {line.split(' ')[0]}"
    assert mistake.startswith(f"{key}: ")
    assert "should be " in mistake
    assert remedy in mistake


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("rooot = 1", "rooot: there is no such setting; should it be root?"),
        ('[mqtt]\nurl = "x"', "mqtt: there is no such setting; should it be mqtt_url?"),
        ("xyzzy = 1", "xyzzy: there is no such setting; `edge-gateway settings` lists"),
        ("_env_file = 1", "_env_file: there is no such setting"),
        ("root = ", "is not TOML; should be lines of NAME = VALUE"),
    ],
)
def test_what_a_file_may_not_hold(toml: Write, text: str, remedy: str) -> None:
    path = toml(text)
    (mistake,) = mistakes(path)
    assert mistake.startswith(f"{path}: ")
    assert remedy in mistake


def test_a_missing_file_is_reported_with_the_setting_that_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert mistakes(tmp_path / "x.toml") == [
        f"{tmp_path}/x.toml: cannot be read; --config should name a TOML file (No such file or directory)"
    ]
    monkeypatch.setenv("GATEWAY_CONFIG", "y.toml")
    assert mistakes()[0].startswith("y.toml: cannot be read; GATEWAY_CONFIG should name")
    (tmp_path / "z.toml").write_bytes(b"\xff\xfe")
    assert "it is not UTF-8 text" in mistakes(tmp_path / "z.toml")[0]


def test_an_unknown_variable_gets_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_FLEET", SECRET)
    assert mistakes() == ["GATEWAY_FLEET: there is no such setting; should it be GATEWAY_FLEETS?"]


def test_all_mistakes_are_reported_at_once(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_FLEET", "a")
    monkeypatch.setenv("GATEWAY_INTAKE", "lots")
    monkeypatch.setenv("GATEWAY_GROUP_FILE", "/nowhere")
    path = toml('rot = 1\nroot = "#"\nkeepalive = 0\nretry_base = 50')
    found = mistakes(path)
    places = [mistake.removeprefix(f"{path}: ").split(":")[0] for mistake in found]
    assert places == [
        "rot",
        "GATEWAY_FLEET",
        "GATEWAY_GROUP_FILE",
        "keepalive",
        "root",
        "retry_cap (not set)",
        "GATEWAY_INTAKE",
    ]
    with pytest.raises(ConfigError, match=r"(?s)rot.*GATEWAY_INTAKE"):
        load(path)


@pytest.mark.parametrize(
    ("url", "files", "places"),
    [
        ("mqtt://broker", ["CA"], ["GATEWAY_MQTT_CA_FILE"]),
        ("mqtts://broker", ["CERT"], ["mqtt_key_file (not set)"]),
        ("mqtts://broker", ["KEY"], ["GATEWAY_MQTT_KEY_FILE"]),
        ("mqtts://broker", ["CA", "CERT", "KEY"], []),
    ],
)
def test_tls_files_must_fit_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, files: list[str], places: list[str]
) -> None:
    (tmp_path / "pem").write_text("")
    monkeypatch.setenv("GATEWAY_MQTT_URL", url)
    for name in files:
        monkeypatch.setenv(f"GATEWAY_MQTT_{name}_FILE", str(tmp_path / "pem"))
    found = mistakes() if places else []
    assert [mistake.split(":")[0] for mistake in found] == places
    assert places or load().mqtt_key_file == tmp_path / "pem"
