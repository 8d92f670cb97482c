"""mosquitto.conf as its lines say: the options of the broker, and those of each listener. Pure: lines are handed in.

Knows which options are a listener's, and no meanings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

LISTENERS_OWN = frozenset(
    "accept_protocol_versions bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile "
    "http_dir keyfile listener_allow_anonymous max_connections max_qos max_topic_alias mount_point protocol psk_hint "
    "require_certificate socket_domain tls_engine tls_keyform tls_version use_identity_as_username "
    "use_subject_as_username use_username_as_clientid websockets_headers_size websockets_origin".split()
)
OWN_BY_REQUEST = frozenset("acl_file allow_anonymous password_file psk_file".split())
"""A listener's own where `per_listener_settings true` says so."""
PLUGINS = frozenset({"auth_plugin", "global_plugin", "plugin", "plugin_load"})
READS = {"acl_file": "mosquitto_acl_file", "password_file": "mosquitto_password_file"}
"""Files of the broker, and the plugin of Mosquitto 2.1 that reads the same in place of the option."""
HARMLESS = frozenset({*READS.values(), "mosquitto_persist_sqlite", "mosquitto_sparkplug_aware"})
"""Plugins that decide nothing beside what their files say."""


@dataclass(frozen=True, slots=True)
class Listener:
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
class Conf:
    """A configuration. Where an option stands twice, the last counts."""

    options: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()
    plugins: tuple[Plugin, ...] = ()

    @property
    def is_decided_elsewhere(self) -> bool:
        """Whether a plugin may let in, allow or deny by what stands in none of the files that are known here."""
        return any(each.name not in HARMLESS for each in self.plugins)

    def paths(self, option: str) -> list[str]:
        """The files that this option names, of the broker, of a listener or of the plugin that reads the same."""
        scopes = [self.options, *(each.options for each in self.listeners)]
        scopes += [each.options for each in self.plugins if each.name == READS.get(option)]
        return sorted({options[option] for options in scopes if option in options})

    def flag(self, name: str) -> bool:
        """False where it is not set: so are the defaults of those that are asked here."""
        return self.options.get(name) == "true"

    @property
    def admits_nameless(self) -> bool:
        """Whether somewhere a client without a name is let in; without a listener Mosquitto lets this machine in."""
        scopes = [{**self.options, **each.options} for each in self.listeners]
        allowed = [each.get("listener_allow_anonymous", each.get("allow_anonymous")) for each in scopes]
        return not self.listeners or "true" in allowed

    def number(self, name: str, default: int) -> int:
        """`default` too where it is no number: such a broker would not start."""
        text = self.options.get(name, "")
        return int(text) if text.isdecimal() else default


def read(lines: Iterable[str]) -> Conf:
    """The configuration that these lines make, those of included files among them."""
    pairs = [_pair(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    own = LISTENERS_OWN | (OWN_BY_REQUEST if ("per_listener_settings", "true") in pairs else frozenset())
    options: dict[str, str] = {}
    listeners: list[Listener] = []
    plugins: list[Plugin] = []
    current: dict[str, str] = {}
    of_plugin: dict[str, str] = {}
    for name, value in pairs:
        if name in PLUGINS:
            of_plugin = {}
            plugins.append(Plugin(PurePosixPath(value).stem, of_plugin))
        elif name.startswith(("plugin_opt_", "auth_opt_")):
            of_plugin[name.partition("_opt_")[2]] = value
        elif name == "listener":
            port, _, address = value.partition(" ")
            current = {}
            listeners.append(Listener(int(port) if port.isdecimal() else 0, address.strip(), current))
        elif name in own:
            current[name] = value
        else:
            options[name] = value
    return Conf(options, tuple(listeners), tuple(plugins))


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.strip().partition(" ")
    return name, value.strip()
