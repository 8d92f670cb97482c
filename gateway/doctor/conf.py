"""mosquitto.conf as its lines say: the options of the broker, and those of each listener. Pure: lines are handed in.

Knows which options are a listener's, and no meanings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LISTENERS_OWN = frozenset(
    "accept_protocol_versions bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile "
    "http_dir keyfile max_connections max_qos max_topic_alias mount_point protocol psk_hint require_certificate "
    "socket_domain tls_engine tls_keyform tls_version use_identity_as_username use_subject_as_username "
    "use_username_as_clientid websockets_headers_size websockets_origin".split()
)
OWN_BY_REQUEST = frozenset("acl_file allow_anonymous auth_plugin password_file plugin psk_file".split())
"""A listener's own where `per_listener_settings true` says so."""


@dataclass(frozen=True, slots=True)
class Listener:
    """`address`: what it is bound to; empty: everything."""

    port: int
    address: str
    options: Mapping[str, str]

    def flag(self, name: str) -> bool:
        return self.options.get(name) == "true"


@dataclass(frozen=True, slots=True)
class Conf:
    """A configuration. Where an option stands twice, the last counts."""

    options: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()

    def flag(self, name: str) -> bool:
        """False where it is not set: so are the defaults of those that are asked here."""
        return self.options.get(name) == "true"

    @property
    def admits_nameless(self) -> bool:
        """Whether somewhere a client without a name is let in; without a listener Mosquitto lets this machine in."""
        everywhere = (self.options, *(each.options for each in self.listeners))
        return not self.listeners or any(options.get("allow_anonymous") == "true" for options in everywhere)

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
    current: dict[str, str] = {}
    for name, value in pairs:
        if name == "listener":
            port, _, address = value.partition(" ")
            current = {}
            listeners.append(Listener(int(port) if port.isdecimal() else 0, address.strip(), current))
        elif name in own:
            current[name] = value
        else:
            options[name] = value
    return Conf(options, tuple(listeners))


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.strip().partition(" ")
    return name, value.strip()
