"""The file that goes onto a board: the address of the broker, the device's names and its credential.

JSON with the members host, port, fleet, device; ca (the authority's certificate) for TLS; and password, or cert and
key. Certificates and keys are base64 of DER, which every TLS library of a board reads. No I/O. It must never show a
secret in a repr.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from cryptography import x509

from gateway.errors import LimitError, ProvisioningError
from gateway.protocol import Device
from gateway.provisioning.certificate_authority import Identity

CredentialKind = Literal["password", "certificate"]

PORTS: dict[CredentialKind, int] = {"password": 8883, "certificate": 8884}
"""Of the shipped listeners with TLS."""
PLAIN_PORT = 1883


@dataclass(frozen=True, slots=True)
class AdvertisedBroker:
    """The address at which devices reach the broker. `port` None: that of the shipped listener for the credential.

    `tls` False: only on a trusted network.
    """

    host: str
    port: int | None = None
    tls: bool = True

    @classmethod
    def parse(cls, url: str) -> Self:
        """`mqtts://host[:port]` or `mqtt://host[:port]`. Raises ProvisioningError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ProvisioningError(f"--broker {url!r} is no URL of a broker: {error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/") or parts.username:
            raise ProvisioningError(
                f"--broker {url!r} is no URL of a broker: must be mqtts://host:port or mqtt://host:port"
            )
        return cls(parts.hostname, port, parts.scheme == "mqtts")

    def port_for(self, kind: CredentialKind) -> int:
        """Raises ProvisioningError for a certificate without TLS."""
        if kind == "certificate" and not self.tls:
            raise ProvisioningError("a certificate needs TLS: give the broker as mqtts://")
        return self.port or (PORTS[kind] if self.tls else PLAIN_PORT)


@dataclass(frozen=True, slots=True)
class BoardFile:
    """The file of one device. It has `password`, or `cert` and `key`, which are DER as `ca` is."""

    device: Device
    host: str
    port: int
    ca: bytes | None = None
    password: str | None = field(default=None, repr=False)
    cert: bytes | None = None
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def with_password(cls, device: Device, broker: AdvertisedBroker, ca: bytes, password: str) -> Self:
        return cls(device, broker.host, broker.port_for("password"), ca if broker.tls else None, password)

    @classmethod
    def with_certificate(cls, device: Device, broker: AdvertisedBroker, ca: bytes, identity: Identity) -> Self:
        """Raises ProvisioningError without TLS."""
        port = broker.port_for("certificate")
        return cls(device, broker.host, port, ca, None, identity.certificate_der, identity.key_der)

    @classmethod
    def from_json(cls, text: bytes, device: Device) -> Self:
        """Raises ProvisioningError if it cannot be read, or belongs to another device."""
        try:
            members = json.loads(text)
            board = cls(
                Device(members["fleet"], members["device"]),
                members["host"],
                members["port"],
                password=members.get("password"),
                **{name: base64.b64decode(members[name]) for name in ("ca", "cert", "key") if name in members},
            )
        except (ValueError, KeyError, TypeError, AttributeError, LimitError) as error:
            problem = f"the board file of {device} cannot be read: {error!r}"
            raise ProvisioningError(f"{problem}; --renew makes a new one") from error
        if board.device != device:
            raise ProvisioningError(f"the board file of {device} is that of {board.device}; --renew makes a new one")
        return board

    def to_json(self) -> bytes:
        members: dict[str, Any] = {"host": self.host, "port": self.port}
        members |= {"fleet": self.device.fleet, "device": self.device.name}
        if self.password is not None:
            members["password"] = self.password
        ders = {"ca": self.ca, "cert": self.cert, "key": self.key}
        members |= {name: base64.b64encode(der).decode() for name, der in ders.items() if der is not None}
        return json.dumps(members, indent=1).encode() + b"\n"

    @property
    def kind(self) -> CredentialKind | None:
        """None without a complete credential."""
        if self.cert and self.key:
            return "certificate"
        return "password" if self.password else None

    @property
    def certificate(self) -> x509.Certificate | None:
        """None without one. Raises ProvisioningError if it cannot be read."""
        if self.cert is None:
            return None
        try:
            return x509.load_der_x509_certificate(self.cert)
        except ValueError as error:
            raise ProvisioningError(f"the certificate in {self.device}'s board file: {error}") from error
