"""The site's certificate authority: certificates of devices and of the broker, and the revocation list.

Keys are P-256: small, and every TLS library of a board supports them. It reads no clock and no file. It must never
issue a certificate for both ends: that of a device must not work for a broker, nor that of the broker for a client.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import ProvisioningError

MAX_COMMON_NAME = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""
NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
"""Certificates are valid from 1970 on: a board without a clock starts at 1970, 2000 or its firmware's year, and would
reject a broker whose certificate begins later."""
NOT_AFTER = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of the authority and its revocation list. With an expired list no device could connect."""
CRL_BACKDATE = timedelta(hours=1)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
"""A label of a host name (RFC 1123), with the underscore that names of containers have."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key. `repr` shows no key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"<Identity {self.certificate.subject.rfc4514_string()}>"

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Self:
        """Raises ProvisioningError if they cannot be read or do not belong together."""
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError) as error:
            raise ProvisioningError(f"certificate or key cannot be read: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != parsed.public_key():
            raise ProvisioningError("the key is not that of the certificate")
        return cls(parsed, private)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self._key(serialization.Encoding.PEM)

    @property
    def key_der(self) -> bytes:
        return self._key(serialization.Encoding.DER)

    def _key(self, encoding: serialization.Encoding) -> bytes:
        return self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Issues and revokes certificates."""

    identity: Identity

    @classmethod
    def generate(cls, name: str) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        extensions = [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(signs_certificates=True), True)]
        return cls(Identity(_signed(subject, subject, key, key, NOT_AFTER, extensions), key))

    def issue_device(self, user: str, end: datetime) -> Identity:
        """A client's certificate, its common name is the MQTT user name. Raises ProvisioningError for a long one."""
        return self._issue(user, end, ExtendedKeyUsageOID.CLIENT_AUTH)

    def issue_broker(self, hosts: Sequence[str], end: datetime) -> Identity:
        """A server's certificate for host names and IP addresses. Raises ProvisioningError if one is neither."""
        return self._issue("MQTT broker", end, ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def _issue(self, name: str, end: datetime, purpose: x509.ObjectIdentifier, hosts: Sequence[str] = ()) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.identity.key.public_key()), False),
        ]
        if hosts:
            extensions.append((x509.SubjectAlternativeName([_host(host) for host in hosts]), False))
        issuer = self.identity.certificate.subject
        return Identity(_signed(_name(name), issuer, key, self.identity.key, min(end, NOT_AFTER), extensions), key)

    def is_issuer_of(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.identity.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def revocation_list(self, previous: bytes | None, serials: Iterable[int], now: datetime) -> bytes:
        """The revocation list (CRL) as PEM: the certificates of `previous` (PEM) and `serials`.

        A running broker keeps older lists and uses the newest: each list is at least a second newer than the previous
        one, and its time is never in the future.
        """
        old = None if previous is None else x509.load_pem_x509_crl(previous)
        dates = {each.serial_number: each.revocation_date_utc for each in old or ()}
        issued_at = now - CRL_BACKDATE
        if old is not None and old.last_update_utc is not None:
            issued_at = max(issued_at, old.last_update_utc + timedelta(seconds=1))
        builder = x509.CertificateRevocationListBuilder(self.identity.certificate.subject, issued_at, NOT_AFTER)
        for serial, date in (dict.fromkeys(sorted(serials), now) | dates).items():
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, date).build())
        return builder.sign(self.identity.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def revoked_serials(crl: bytes | None) -> set[int]:
    return set() if crl is None else {each.serial_number for each in x509.load_pem_x509_crl(crl)}


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The host names and IP addresses in a broker's certificate, in order."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def check_common_name(common_name: str) -> None:
    """Raises ProvisioningError for one that is too long for a certificate."""
    if len(common_name) > MAX_COMMON_NAME:
        raise ProvisioningError(
            f"{common_name}: {len(common_name)} characters, a certificate's common name takes {MAX_COMMON_NAME}; "
            "a password has no such limit"
        )


def _name(common_name: str) -> x509.Name:
    check_common_name(common_name)
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def check_host_names(hosts: Iterable[str]) -> None:
    """Raises ProvisioningError if one is neither a host name nor an IP address."""
    for host in hosts:
        _host(host)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        raise ProvisioningError(f"{host!r} is not a host name or an address: give it without port and mqtts://")
    return x509.DNSName(host)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    end: datetime,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), NOT_BEFORE, end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )  # fmt: skip
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())
