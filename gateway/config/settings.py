"""All settings: one frozen value, validated on construction.

It reads no file and no variable (`load` does), and must never show a secret. The descriptions are the table of
gateway/README.md and the output of `edge-gateway settings`.
"""

import socket
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.config import validators
from gateway.config.broker_url import BrokerUrl

ENV_PREFIX = "GATEWAY_"

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "human", "json"]


def _setting(default: Any, description: str, right: str, **bounds: Any) -> Any:
    """A field. `right`: what would be right, for the text of a mistake."""
    return Field(default=default, description=description, json_schema_extra={"right": right}, **bounds)


def _whole(default: int, low: int, high: int, description: str) -> Any:
    return _setting(default, description, f"a whole number from {low} to {high}", ge=low, le=high)


def _seconds(default: float, low: float, high: float, description: str) -> Any:
    right = f"a number of seconds from {low:g} to {high:g}"
    return _setting(default, description, right, ge=low, le=high, allow_inf_nan=False)


def _file(description: str) -> Any:
    return _setting(None, description, "the path of a file that the gateway can read")


class Settings(BaseSettings):
    """Every setting of the gateway. Times are in seconds, sizes in bytes.

    In the environment a setting is called GATEWAY_ and its name in capitals. `Settings(...)` uses its arguments
    alone; it raises pydantic's ValidationError, `load` a ConfigError.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_ignore_empty=True, hide_input_in_errors=True
    )

    mqtt_url: SecretStr = _setting(
        SecretStr("mqtt://127.0.0.1:1883"),
        "The broker: mqtt:// or mqtts://user:password@host:port, user and password percent-encoded; "
        "ports 1883 and 8883 may be left out",
        "mqtt://host:port or mqtts://user:password@host:port",
    )
    mqtt_ca_file: validators.File | None = _file(
        "PEM file of the authorities for the broker's certificate; unset: the system's"
    )
    mqtt_cert_file: validators.File | None = _file(
        "PEM file of the gateway's own certificate, if the broker asks for one"
    )
    mqtt_key_file: validators.File | None = _file("PEM file of the private key of mqtt_cert_file")
    mqtt_password_file: validators.SecretFile | None = _file("File that holds the password of the user in mqtt_url")
    keepalive: int = _whole(30, 1, 65535, "Longest silence between gateway and broker, in s")
    session_expiry: int = _whole(
        604800,
        1,
        0xFFFFFFFF,
        "How long the broker keeps messages for a gateway that is away, in s; 4294967295: for ever",
    )
    root: validators.Root = _setting(
        "edge",
        "What every topic begins with: one level or more",
        "one topic level or more, as edge or site-1/edge: no empty one, no + or #, no $ in front",
    )
    fleets: validators.FleetNames = _setting(
        (),
        "The fleets that this gateway serves, separated by commas in the environment; empty: all",
        "a list of fleet names: 1 to 63 letters, digits, - and _, a letter or digit at both ends",
    )
    group: validators.Group | None = _setting(
        None,
        "Name of a shared subscription, for gateways that share the same fleets: drawn and secret, as `devices init` "
        "makes one in gateway/group of the site; only for a broker that keeps shared subscriptions over its own "
        "restart (Mosquitto does not)",
        "a name that nobody can guess: 22 to 128 characters without / + #, as `edge-gateway devices init` makes one in "
        "the file gateway/group of the site",
    )
    client_id: validators.ClientId = _setting(
        "",
        "MQTT client id, under which the broker keeps the session; unset: made of host name, root, fleets and group. "
        "Set it where the host name changes (containers) or a host runs two members of a group",
        "1 to 128 letters, digits and . _ : @ -",
    )
    region: validators.Region | None = _setting(
        None, "AWS region; unset: as the standard AWS settings say", "the name of a region, as eu-central-1"
    )
    concurrency: int = _whole(128, 1, 4096, "Calls to the service at once")
    connect_timeout: float = _seconds(3.0, 0.1, 300, "Longest wait for a connection to the service, in s")
    read_timeout: float = _seconds(10.0, 0.1, 300, "Longest wait for an answer of the service, in s")
    retry_base: float = _seconds(0.2, 0.01, 60, "Longest wait before the first retry of a call, in s; it doubles")
    retry_cap: float = _seconds(20.0, 0.01, 3600, "Longest wait before any retry of a call, in s")
    give_up_after: float = _seconds(
        300, 1, 604800, "How long a message may keep failing while other devices' calls succeed, in s; then code 7"
    )
    ask_registration: bool = _setting(
        True, "Whether the gateway asks the service if a device is registered", "true or false"
    )
    registered_values: validators.ValueList = _setting(
        ("REGISTERED", "true"),
        "The values of DeviceRegistration that mean registered, in any case; separated by commas in the environment",
        "a list of one word or more",
    )
    intake: int = _whole(10000, 1, 65535, "Unacknowledged messages at most; the broker keeps the rest")
    intake_bytes: int = _whole(
        67108864,
        65536,
        1 << 40,
        "Bytes at most of the payloads of unacknowledged messages, which is also about the memory that they take: "
        "payloads above 128 bytes wait undecoded",
    )
    device_rate: float = _setting(
        20.0,
        "Messages of one device in a second, in the long run; above: code 7. A payload counts once more for each "
        "4 KiB, a `read` as a twentieth",
        "a number from 0.01 to 100000",
        ge=0.01,
        le=100_000,
        allow_inf_nan=False,
    )
    device_burst: int = _whole(
        2000,
        1,
        1_000_000,
        "Messages of one device that may come at once beyond device_rate, a quarter of the intake at most; what waited "
        "while the gateway was away or read nothing comes on top",
    )
    max_payload: int = _whole(65536, 64, 16777216, "Largest payload taken from a device, in bytes; above: code 1")
    merge_heartbeats: int = _whole(100, 1, 10000, "Heartbeats at most in one call")
    merge_bytes: int = _whole(
        262144, 64, 16777216, "Bytes of JSON, about, at most in a call that merges heartbeats; above 2 MiB: 2 MiB"
    )
    plan_ttl: float = _seconds(
        30,
        0,
        86400,
        "How long GetDeployments' answer is kept for a heartbeat's `have`, in s, by a service without versions",
    )
    hello_wait: float = _seconds(5, 0, 300, "How long a message waits for the hello of its tag, in s; then code 2")
    block_expiry: int = _whole(
        60,
        0,
        86400,
        "How long the broker keeps a block of a model file for a device that is away, in s; 0: no limit, for rumqttd, "
        "which ends at a property of MQTT 5 for a client of 3.1.1",
    )
    state_dir: validators.Folder = _setting(
        None,
        "Folder of the hellos and dead letters that the gateway keeps; unset: $STATE_DIRECTORY, else "
        "edge-gateway/CLIENT_ID in $XDG_STATE_HOME or ~/.local/state",
        "the path of a folder",
    )
    cache_bytes: int = _whole(
        268435456,
        65536,
        1 << 40,
        "Size of the model files kept in state_dir at most, in bytes; the least recently used are deleted first",
    )
    http_host: validators.Host = _setting(
        "127.0.0.1", "Address on which the status pages are served", "a host name or an IP address"
    )
    http_port: validators.Port = _setting(
        9464,
        "Port of /metrics, /healthz and /readyz; 0: any free one, off: none. Unset: 9464, or none with a warning where "
        "that is busy",
        "a whole number from 0 to 65535, or off",
    )
    drain_timeout: float = _seconds(10, 0, 3600, "How long SIGTERM lets running work end, in s")
    log_level: Annotated[LogLevel, validators.Choice] = _setting(
        "info", "Lowest level that is logged: debug, info, warning or error", "debug, info, warning or error"
    )
    log_format: Annotated[LogFormat, validators.Choice] = _setting(
        "auto", "human or json; auto: human on a terminal, else json", "auto, human or json"
    )

    @cached_property
    def broker(self) -> BrokerUrl:
        """`mqtt_url` parsed, with the password of `mqtt_password_file` where one is named. Raises ValueError."""
        url = BrokerUrl.parse(self.mqtt_url.get_secret_value())
        if self.mqtt_password_file is None:
            return url
        return replace(url, password=validators.read_secret(self.mqtt_password_file))

    @property
    def client_id_will_change(self) -> bool:
        """Whether the default client id holds a host name that the next container will not have."""
        return "client_id" not in self.model_fields_set and validators.is_generated_hostname(socket.gethostname())

    def redacted(self) -> dict[str, object]:
        """Every setting by its name as JSON can hold it, the password and the name of the group masked."""
        return self.model_dump(mode="json") | {"mqtt_url": str(self.broker)}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments alone: `load` reads the other sources itself, to know the place of each value."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_boolean(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and info.field_name != "ask_registration":
            raise ValueError("true and false mean nothing here")  # in Python they are 1 and 0
        return value

    @field_validator("client_id", mode="before")
    @classmethod
    def _client_id(cls, value: object, info: ValidationInfo) -> object:
        return validators.default_client_id(info.data) if value == "" else value

    @field_validator("state_dir", mode="before")
    @classmethod
    def _state_dir(cls, value: object, info: ValidationInfo) -> object:
        return validators.default_state_dir(str(info.data.get("client_id"))) if value is None else value

    @field_validator("mqtt_url")
    @classmethod
    def _url(cls, value: SecretStr) -> SecretStr:
        BrokerUrl.parse(value.get_secret_value())
        return value

    @field_validator("mqtt_ca_file", "mqtt_cert_file", "mqtt_key_file")
    @classmethod
    def _tls(cls, value: object, info: ValidationInfo) -> object:
        url: SecretStr | None = info.data.get("mqtt_url")
        if value is not None and url is not None and not BrokerUrl.parse(url.get_secret_value()).tls:
            raise ValueError("it is for mqtts:// alone, and mqtt_url is mqtt://")
        return value

    @field_validator("mqtt_key_file")
    @classmethod
    def _cert_needs_key(cls, value: object, info: ValidationInfo) -> object:
        if "mqtt_cert_file" in info.data and (value is None) != (info.data["mqtt_cert_file"] is None):
            raise ValueError("mqtt_cert_file and mqtt_key_file are set both or not at all")
        return value

    @field_validator("mqtt_password_file")
    @classmethod
    def _password(cls, value: object, info: ValidationInfo) -> object:
        url: SecretStr | None = info.data.get("mqtt_url")
        address = None if url is None else BrokerUrl.parse(url.get_secret_value())
        if value is not None and address is not None and (address.username is None or address.password is not None):
            raise ValueError("it needs an mqtt_url with a user name and without a password")
        return value

    @field_validator("retry_cap")
    @classmethod
    def _cap_at_least_base(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("retry_base", 0):
            raise ValueError("it is below retry_base")
        return value
