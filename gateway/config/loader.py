"""Reads settings from the TOML file and the environment, or finds all mistakes at once.

Each mistake names its place (file and key, or variable) and what would be right. It must never show a value that may be
a secret, nor one that was read from a file of its own.
"""

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from gateway.config.settings import ENV_PREFIX, Settings
from gateway.config.validators import read_secret, reason
from gateway.errors import ConfigError

CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
# Variables of this project's tests, not of the gateway that they start.
_TESTS_PREFIX = ENV_PREFIX + "TEST_"
# Of other settings an empty variable counts as not set; here it is a mistake.
_EMPTY_IS_A_MISTAKE = ("root",)
_PRIVATE = {"mqtt_url", "mqtt_ca_file", "mqtt_cert_file", "mqtt_key_file", "mqtt_password_file", "group"}


@dataclass(frozen=True, slots=True)
class Source:
    """A value that was set. `place`: where, the beginning of the text of a mistake. `private`: it may be a secret."""

    value: Any
    place: str
    private: bool


def load(config: Path | None = None) -> Settings:
    """The settings of `config` (else of the file that GATEWAY_CONFIG names) and of the environment, which wins.

    Raises ConfigError with all mistakes.
    """
    return load_with_places(config)[0]


def load_with_places(config: Path | None = None) -> tuple[Settings, dict[str, str]]:
    """As `load`, and for each setting that was set its place; what is not in it has its default."""
    mistakes: list[str] = []
    given = _from_toml(config, mistakes) | _from_environment(mistakes)
    settings = _settings(given, mistakes)
    if settings is None or mistakes:
        raise ConfigError(mistakes)
    return settings, {name: item.place for name, item in given.items()}


def _settings(given: dict[str, Source], mistakes: list[str]) -> Settings | None:
    try:
        return Settings(**{name: item.value for name, item in given.items()})
    except ValidationError as error:
        found = {str(detail["loc"][0]): detail for detail in reversed(error.errors(include_input=False))}
    for name in [each for each in Settings.model_fields if each in found]:
        detail = str(found[name].get("ctx", {}).get("error", ""))
        mistakes.append(_error_text(name, given.get(name), detail))
    return None


def _error_text(name: str, given: Source | None, detail: str) -> str:
    """One sentence: place, value if it may be shown, what would be right, and the detail of what is wrong."""
    extra = Settings.model_fields[name].json_schema_extra
    right = extra["right"] if isinstance(extra, dict) else ""
    place = f"{name} (not set)" if given is None else given.place
    value = "" if given is None or given.private else f"{_short(given.value)} is not right; "
    return f"{place}: {value}should be {right}" + (f" ({detail})" if detail else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_toml(config: Path | None, mistakes: list[str]) -> dict[str, Source]:
    named = config or os.environ.get(CONFIG_VARIABLE)
    if not named:
        return {}
    try:
        table = tomllib.loads(Path(named).read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        mistakes.append(f"{named}: is not TOML; should be lines of NAME = VALUE ({error})")
        return {}
    except (OSError, ValueError) as error:
        source = "--config" if config else CONFIG_VARIABLE
        mistakes.append(f"{named}: cannot be read; {source} should name a TOML file ({reason(error)})")
        return {}
    mistakes.extend(f"{named}: {key}: {_unknown(key, '')}" for key in table if key not in Settings.model_fields)
    known = {key: value for key, value in table.items() if key in Settings.model_fields}
    return {key: Source(value, f"{named}: {key}", key in _PRIVATE) for key, value in known.items()}


def _from_environment(mistakes: list[str]) -> dict[str, Source]:
    values = EnvSettingsSource(Settings)()
    given = {name: Source(value, _variable(name), name in _PRIVATE) for name, value in values.items()}
    for name in _EMPTY_IS_A_MISTAKE:
        if os.environ.get(_variable(name)) == "":
            given[name] = Source("", _variable(name), False)
    for variable, name in _file_variables(mistakes):
        if name in given:
            mistakes.append(f"{variable}: {_variable(name)} is set too; should be one of the two")
            continue
        try:
            given[name] = Source(read_secret(Path(os.environ[variable])), variable, True)
        except ValueError as error:
            mistakes.append(f"{variable}: should name a file that holds {name} ({error})")
    return given


def _file_variables(mistakes: list[str]) -> Iterator[tuple[str, str]]:
    """The variables GATEWAY_..._FILE that are set, each with its setting's name; an unknown variable is a mistake."""
    for variable in sorted(os.environ):
        upper = variable.upper()
        name = upper.removeprefix(ENV_PREFIX).lower()
        if not upper.startswith(ENV_PREFIX) or upper.startswith(_TESTS_PREFIX) or upper == CONFIG_VARIABLE:
            continue
        if name in Settings.model_fields:
            continue
        if name.removesuffix("_file") not in Settings.model_fields:
            mistakes.append(f"{variable}: {_unknown(name, ENV_PREFIX)}")
        elif os.environ[variable]:  # an empty variable counts as not set, with or without _FILE
            yield variable, name.removesuffix("_file")


def _variable(name: str) -> str:
    return ENV_PREFIX + name.upper()


def _unknown(name: str, prefix: str) -> str:
    near = get_close_matches(name.lower(), Settings.model_fields, n=1)
    if not near:
        return "there is no such setting; `edge-gateway settings` lists all"
    return f"there is no such setting; should it be {_variable(near[0]) if prefix else near[0]}?"
