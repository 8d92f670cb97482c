"""mosquitto.conf: the options of the broker, of each listener and of each plugin. Pure.

It only separates the options of listeners from the others: it does not interpret them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

LISTENER_OPTIONS = frozenset(
    "accept_protocol_versions bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile "
    "http_dir keyfile listener_allow_anonymous max_connections max_qos max_topic_alias mount_point protocol psk_hint "
    "require_certificate socket_domain tls_engine tls_keyform tls_version use_identity_as_username "
    "use_subject_as_username use_username_as_clientid websockets_headers_size websockets_origin".split()
)
PER_LISTENER_OPTIONS = frozenset("acl_file allow_anonymous password_file psk_file".split())
"""A listener's own where `per_listener_settings true` says so."""
PLUGINS = frozenset({"auth_plugin", "global_plugin", "plugin", "plugin_load"})
FILE_PLUGINS = {"acl_file": "mosquitto_acl_file", "password_file": "mosquitto_password_file"}
"""Files of the broker, and the plugin of Mosquitto 2.1 that reads the same in place of the option."""
KNOWN_PLUGINS = frozenset({*FILE_PLUGINS.values(), "mosquitto_persist_sqlite", "mosquitto_sparkplug_aware"})
"""Plugins that decide by these files alone, or decide nothing."""


@dataclass(frozen=True, slots=True)
class ListenerConf:
    """`address`: what it is bound to; empty: everything."""

    port: int
    address: str
    options: Mapping[str, str]

    def flag(self, name: str) -> bool:
        return self.options.get(name) == "true"


@dataclass(frozen=True, slots=True)
class Plugin:
    """`name`: of its file, without folder and suffix. `options`: without `plugin_opt_`."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MosquittoConf:
    """A configuration. Of an option that is set twice, the last counts."""

    options: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[ListenerConf, ...] = ()
    plugins: tuple[Plugin, ...] = ()

    @property
    def has_unknown_plugin(self) -> bool:
        """Whether a plugin may allow or deny by rules that are in none of these files."""
        return any(each.name not in KNOWN_PLUGINS for each in self.plugins)

    def paths(self, option: str) -> list[str]:
        """The files that this option names, of the broker, of a listener or of the plugin that reads it."""
        scopes = [self.options, *(each.options for each in self.listeners)]
        scopes += [each.options for each in self.plugins if each.name == FILE_PLUGINS.get(option)]
        return sorted({options[option] for options in scopes if option in options})

    def flag(self, name: str) -> bool:
        """False where it is not set, which is the default of the options that are used here."""
        return self.options.get(name) == "true"

    @property
    def allows_anonymous(self) -> bool:
        """Whether a client without a user name may connect somewhere; without a listener, those of this machine may."""
        scopes = [{**self.options, **each.options} for each in self.listeners]
        allowed = [each.get("listener_allow_anonymous", each.get("allow_anonymous")) for each in scopes]
        return not self.listeners or "true" in allowed

    def number(self, name: str, default: int) -> int:
        """`default` too where it is not a number: such a broker would not start."""
        text = self.options.get(name, "")
        return int(text) if text.isdecimal() else default


def parse(lines: Iterable[str]) -> MosquittoConf:
    """The configuration of these lines, with those of included files."""
    pairs = [_split_line(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    own = LISTENER_OPTIONS | (PER_LISTENER_OPTIONS if ("per_listener_settings", "true") in pairs else frozenset())
    options: dict[str, str] = {}
    listeners: list[ListenerConf] = []
    plugins: list[Plugin] = []
    current: dict[str, str] = {}
    plugin_options: dict[str, str] = {}
    for name, value in pairs:
        if name in PLUGINS:
            plugin_options = {}
            plugins.append(Plugin(PurePosixPath(value).stem, plugin_options))
        elif name.startswith(("plugin_opt_", "auth_opt_")):
            plugin_options[name.partition("_opt_")[2]] = value
        elif name == "listener":
            port, _, address = value.partition(" ")
            current = {}
            listeners.append(ListenerConf(int(port) if port.isdecimal() else 0, address.strip(), current))
        elif name in own:
            current[name] = value
        else:
            options[name] = value
    return MosquittoConf(options, tuple(listeners), tuple(plugins))


def _split_line(line: str) -> tuple[str, str]:
    name, _, value = line.strip().partition(" ")
    return name, value.strip()
