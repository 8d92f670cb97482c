"""Secrets may be in files of their own, and are never shown: not by a mistake, not by repr."""

import json
from pathlib import Path

import pytest

from gateway.config import BrokerUrl, Settings, load, load_with_places
from gateway.errors import ConfigError

SECRET = "hunter2-7f3a"


def mistakes(config: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(config)
    return caught.value.mistakes


def test_any_setting_can_be_in_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"mqtts://gw:{SECRET}@broker\n")
    (tmp_path / "n").write_text("3\n")
    monkeypatch.setenv("GATEWAY_MQTT_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("GATEWAY_CONCURRENCY_FILE", str(tmp_path / "n"))
    settings, places = load_with_places()
    assert settings.broker == BrokerUrl("broker", 8883, True, "gw", SECRET)
    assert settings.concurrency == 3
    assert places["concurrency"] == "GATEWAY_CONCURRENCY_FILE"


def test_a_setting_and_its_file_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROOT", "a")
    monkeypatch.setenv("GATEWAY_ROOT_FILE", "/nowhere")
    assert mistakes() == ["GATEWAY_ROOT_FILE: GATEWAY_ROOT is set too; should be one of the two"]


def test_the_password_alone_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(SECRET + "\r\n")
    settings = Settings(mqtt_url="mqtt://gw@broker", mqtt_password_file=tmp_path / "pw")  # type: ignore[arg-type]
    assert settings.broker.password == SECRET


@pytest.mark.parametrize(
    ("url", "content", "remedy"),
    [
        ("mqtt://broker", SECRET, "a user name and without a password"),
        (f"mqtt://gw:{SECRET}@broker", SECRET, "a user name and without a password"),
        ("mqtt://gw@broker", "", "it is empty"),
    ],
)
def test_a_password_file_that_cannot_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, content: str, remedy: str
) -> None:
    (tmp_path / "pw").write_text(content)
    monkeypatch.setenv("GATEWAY_MQTT_URL", url)
    monkeypatch.setenv("GATEWAY_MQTT_PASSWORD_FILE", str(tmp_path / "pw"))
    (mistake,) = mistakes()
    assert mistake.startswith("GATEWAY_MQTT_PASSWORD_FILE: should be ")
    assert remedy in mistake


@pytest.mark.parametrize(
    "variables",
    [
        {"GATEWAY_MQTT_URL": f"mqtt://gw:{SECRET}/x@broker"},
        {"GATEWAY_MQTT_URL": f"mqtt://gw:{SECRET}"},
        {"GATEWAY_MQTT_URL": f"mqtt://gw:{SECRET}%@broker"},
        {"GATEWAY_MQTT_URL": f"mqtt://gw:{SECRET}\u2100@broker"},
        {"GATEWAY_MQTT_URL": SECRET},
        {"GATEWAY_MQTT_URL_FILE": f"mqtt://gw:{SECRET}@broker"},
        {"GATEWAY_MQTT_PASSWORD": SECRET},
        {"GATEWAY_MQTT_PASSWORD_FILE": SECRET},
        {"GATEWAY_MQTT_KEY_FILE": SECRET},
        {"GATEWAY_ROOT_FILE": "SECRET_FILE"},
        {"GATEWAY_GROUP": SECRET},
        {"GATEWAY_GROUP_FILE": "SECRET_FILE"},
    ],
)
def test_no_mistake_shows_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "secret").write_text(SECRET + "/#")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / "secret") if value == "SECRET_FILE" else value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.__context__ is None  # pydantic's own error would hold the value


def test_nothing_that_is_shown_shows_a_secret() -> None:
    group = f"{SECRET}-0123456789"
    settings = Settings(mqtt_url=f"mqtts://gw:{SECRET}@broker", group=group)  # type: ignore[arg-type]
    assert settings.broker.password == SECRET
    shown = [
        repr(settings),
        str(settings),
        repr(settings.broker),
        str(settings.broker),
        json.dumps(settings.redacted()),
    ]
    assert SECRET not in "".join(shown)
    assert settings.redacted()["mqtt_url"] == "mqtts://gw:***@broker:8883"
