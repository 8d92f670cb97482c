"""The settings of the console. No I/O."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.manager.control.users import USER_ROLES
from gateway.manager.errors import ManagerError

PORT = 9471
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
LOOPBACK = ("127.0.0.0/8", "::1")


@dataclass(frozen=True, slots=True)
class ConsoleConfig:
    """Raises ManagerError where a value cannot work.

    `port`: 0 takes a free one, None PORT, or none at all where that is taken. `trust_header`: in which a proxy names
    the user; None: no proxy does. `role_header`: in which it names the role; without it the role is `trust_role`.
    `trust_from`: addresses and networks whose headers are believed. `max_object`: bytes of a file that is uploaded.
    """

    host: str = "127.0.0.1"
    port: int | None = 0
    trust_header: str | None = None
    role_header: str | None = None
    trust_role: str = "viewer"
    trust_from: Sequence[str] = LOOPBACK
    max_object: int = 1024**3

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ManagerError(f"--console-port {self.port} is not a port: 0 (a free one) to 65535")
        for option, name in (("--trust-header", self.trust_header), ("--trust-role-header", self.role_header)):
            if name is not None and not _HEADER.fullmatch(name):
                raise ManagerError(f"{option} {name!r} is not a header: letters, digits and '-', as X-Remote-User")
        if self.role_header is not None and self.trust_header is None:
            raise ManagerError("--trust-role-header needs --trust-header, which names the user")
        if self.trust_role not in USER_ROLES:
            raise ManagerError(f"--trust-role {self.trust_role!r} is none: should be {', '.join(USER_ROLES)}")
        for each in self.trust_from:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ManagerError(f"--trust-from {each!r}: should be an address or a network ({error})") from None

    def trusts(self, address: str) -> bool:
        """Whether the headers of a proxy are believed that calls from that address."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in ipaddress.ip_network(each) for each in self.trust_from)
