"""The file that goes onto a board: where the broker is, who the device is, and how it proves that.

JSON with the members host, port, fleet, device; ca (the authority's certificate) where TLS is spoken; and password, or
cert and key. Certificates and keys are base64 of DER, which every TLS library of a board reads. No I/O. It must show no
secret in a repr.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from cryptography import x509

from gateway.errors import LimitError, ProvisioningError
from gateway.provisioning.certificate_authority import Identity
from gateway.provisioning.device_names import Device

Kind = Literal["password", "certificate"]
"""What the broker lets a device in by."""

PORTS: dict[Kind, int] = {"password": 8883, "certificate": 8884}
"""Of the doors with TLS, as they are shipped."""
PLAIN_PORT = 1883


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where devices find the broker. `port` None: the one of the door that fits. `tls` False: on a trusted network."""

    host: str
    port: int | None = None
    tls: bool = True

    @classmethod
    def parse(cls, url: str) -> Self:
        """`mqtts://host[:port]` or `mqtt://host[:port]`. Raises SiteError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ProvisioningError(f"{url!r} is no URL of a broker: {error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/") or parts.username:
            raise ProvisioningError(f"{url!r} is no URL of a broker: must be mqtts://host:port or mqtt://host:port")
        return cls(parts.hostname, port, parts.scheme == "mqtts")

    def port_for(self, kind: Kind) -> int:
        """Raises SiteError for a certificate without TLS."""
        if kind == "certificate" and not self.tls:
            raise ProvisioningError("a certificate needs TLS: give the broker as mqtts://")
        return self.port or (PORTS[kind] if self.tls else PLAIN_PORT)


@dataclass(frozen=True, slots=True)
class BoardFile:
    """One device's file. Certificates and the key are DER; either `password`, or `cert` and `key`."""

    device: Device
    host: str
    port: int
    ca: bytes | None = None
    password: str | None = field(default=None, repr=False)
    cert: bytes | None = None
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def with_password(cls, device: Device, broker: BrokerUrl, ca: bytes, password: str) -> Self:
        return cls(device, broker.host, broker.port_for("password"), ca if broker.tls else None, password)

    @classmethod
    def with_certificate(cls, device: Device, broker: BrokerUrl, ca: bytes, identity: Identity) -> Self:
        """Raises SiteError without TLS."""
        port = broker.port_for("certificate")
        return cls(device, broker.host, port, ca, None, identity.certificate_der, identity.key_der)

    @classmethod
    def from_json(cls, text: bytes, device: Device) -> Self:
        """Raises SiteError where it is no such file, or that of another device."""
        try:
            read = json.loads(text)
            found = cls(
                Device(read["fleet"], read["device"]),
                read["host"],
                read["port"],
                password=read.get("password"),
                **{name: base64.b64decode(read[name]) for name in ("ca", "cert", "key") if name in read},
            )
        except (ValueError, KeyError, TypeError, AttributeError, LimitError) as error:
            raise ProvisioningError(
                f"the board file of {device.user} cannot be read: {error!r}; --renew makes it anew"
            ) from error
        if found.device != device:
            raise ProvisioningError(
                f"the board file of {device.user} is that of {found.device.user}; --renew makes it anew"
            )
        return found

    def to_json(self) -> bytes:
        read: dict[str, Any] = {"host": self.host, "port": self.port}
        read |= {"fleet": self.device.fleet, "device": self.device.device}
        if self.password is not None:
            read["password"] = self.password
        ders = {"ca": self.ca, "cert": self.cert, "key": self.key}
        read |= {name: base64.b64encode(der).decode() for name, der in ders.items() if der is not None}
        return json.dumps(read, indent=1).encode() + b"\n"

    @property
    def kind(self) -> Kind | None:
        """None where it holds no credential whole."""
        if self.cert and self.key:
            return "certificate"
        return "password" if self.password else None

    @property
    def certificate(self) -> x509.Certificate | None:
        """Raises SiteError where it is none."""
        if self.cert is None:
            return None
        try:
            return x509.load_der_x509_certificate(self.cert)
        except ValueError as error:
            raise ProvisioningError(f"the certificate in {self.device.user}'s board file: {error}") from error
