"""The files in the folder of a site, and `init`, which makes them.

    SITE/ca/        ca.key, ca.pem, issued/FLEET.DEVICE.pem: only root reads it, since ca.key can make any device
    SITE/broker/    passwords, acl, ca.pem, crl.pem, broker.pem, broker.key: what Mosquitto reads; owned by its account
    SITE/gateway/   password, ca.pem, group: what the gateway reads; probe.json: for the doctor; owned by its account
    SITE/operator/  password
    SITE/devices/   FLEET.DEVICE.json: the board files

A private key or a password must never be in a file that other accounts may read.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from gateway.errors import ProvisioningError
from gateway.provisioning import atomic_files
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.certificate_authority import (
    NOT_AFTER,
    CertificateAuthority,
    Identity,
    check_host_names,
    hosts_of,
)
from gateway.provisioning.password_file import PasswordFile

USERS = ("gateway", "operator")
"""The users that are not devices. Each has a folder with its password."""
ACCOUNTS = {"broker": "mosquitto", "gateway": "edge-gateway"}
"""Folders that root gives to an account of the machine, if there is such an account."""


@dataclass(frozen=True, slots=True)
class Site:
    """The files below `root`. Raises OSError for a file without access, ProvisioningError for a wrong one."""

    root: Path

    @property
    def ca(self) -> Path:
        return self.root / "ca"

    @property
    def broker(self) -> Path:
        return self.root / "broker"

    @property
    def devices(self) -> Path:
        return self.root / "devices"

    @property
    def issued(self) -> Path:
        return self.ca / "issued"

    @property
    def probe(self) -> Path:
        """The board file of the doctor."""
        return self.root / "gateway" / "probe.json"

    def authority(self) -> CertificateAuthority | None:
        """None before `init`."""
        certificate, key = atomic_files.read(self.ca / "ca.pem"), atomic_files.read(self.ca / "ca.key")
        if certificate is None or key is None:
            return None
        return CertificateAuthority(Identity.from_pem(certificate, key))

    def broker_certificate(self) -> x509.Certificate | None:
        pem = atomic_files.read(self.broker / "broker.pem")
        return None if pem is None else x509.load_pem_x509_certificate(pem)

    def passwords(self) -> PasswordFile:
        return read_passwords(self.broker / "passwords")

    def save_passwords(self, passwords: PasswordFile) -> None:
        atomic_files.write(self.broker / "passwords", str(passwords).encode(), atomic_files.SECRET)

    @property
    def acl_path(self) -> Path:
        return self.broker / "acl"

    def acl(self) -> AclFile | None:
        """None before `init`. Raises ProvisioningError if it is not an ACL for a gateway."""
        return read_acl(self.acl_path)

    def save_acl(self, acl: AclFile) -> None:
        atomic_files.write(self.acl_path, str(acl).encode(), atomic_files.SECRET)

    def crl(self) -> bytes | None:
        return atomic_files.read(self.broker / "crl.pem")

    def save_crl(self, crl: bytes) -> None:
        atomic_files.write(self.broker / "crl.pem", crl, atomic_files.PUBLIC)


def read_acl(path: Path) -> AclFile | None:
    """None if there is no such file. Raises ProvisioningError if it is not an ACL for a gateway."""
    content = atomic_files.read(path)
    try:
        return None if content is None else AclFile.parse(content.decode())
    except ValueError as error:
        raise ProvisioningError(f"{path}: {error}") from error


def read_passwords(path: Path) -> PasswordFile:
    """Empty if there is no such file. Raises ProvisioningError if it is not UTF-8 text."""
    try:
        return PasswordFile.parse((atomic_files.read(path) or b"").decode())
    except UnicodeDecodeError as error:
        raise ProvisioningError(f"{path}: {error}") from error


def generate_password() -> str:
    """144 random bits: nobody can guess it, even with few iterations of the hash."""
    return secrets.token_urlsafe(18)


def check_hosts(site: Site, hosts: Sequence[str]) -> None:
    """Raises ProvisioningError for a wrong host name, or if no name is given and the broker has no certificate yet."""
    check_host_names(hosts)
    if not hosts and not _hosts(site, site.authority()):
        question = "under which host names and addresses do devices and the gateway find the broker?"
        raise ProvisioningError(f"{question} Name them: edge-gateway devices init HOST...")


def init(site: Site, hosts: Sequence[str], now: datetime, made: list[str], renew: bool = False) -> None:
    """Make the files that are missing, except the ACL, and for `renew` a new key of the broker.

    What is made is appended to `made` at once. The caller must have locked the site and checked `hosts`.
    """
    authority = _ensure_authority(site, made)
    _ensure_certificate(site, authority, hosts, renew, made)
    if site.crl() is None:
        site.save_crl(authority.revocation_list(None, (), now))
    _ensure_users(site, made)


def make_folders(site: Site) -> None:
    """Raises OSError."""
    atomic_files.make_folder(site.root, atomic_files.PUBLIC_FOLDER)
    for folder in (site.ca, site.issued, site.devices, *(site.root / name for name in ("broker", *USERS))):
        atomic_files.make_folder(folder, atomic_files.SECRET_FOLDER, ACCOUNTS.get(folder.name))


def _ensure_authority(site: Site, made: list[str]) -> CertificateAuthority:
    authority = site.authority()
    if authority is None:
        authority = CertificateAuthority.generate("edge-gateway site")
        # The certificate is written last: if there is only a key, a new authority is made. Nobody has trusted it yet.
        atomic_files.write(site.ca / "ca.key", authority.identity.key_pem, atomic_files.SECRET)
        atomic_files.write(site.ca / "ca.pem", authority.identity.certificate_pem, atomic_files.PUBLIC)
        made.append(f"a certificate authority, in {site.ca}: keep a copy of it where nobody else reads it")
    for folder in (site.broker, site.root / "gateway"):
        if atomic_files.read(folder / "ca.pem") != authority.identity.certificate_pem:
            atomic_files.write(folder / "ca.pem", authority.identity.certificate_pem, atomic_files.PUBLIC)
    return authority


def _ensure_certificate(
    site: Site, authority: CertificateAuthority, hosts: Sequence[str], renew: bool, made: list[str]
) -> None:
    old = _hosts(site, authority)
    wanted = list(hosts) or old
    if wanted == old and not renew and atomic_files.read(site.broker / "broker.key") is not None:
        return
    identity = authority.issue_broker(wanted, NOT_AFTER)
    atomic_files.write(site.broker / "broker.key", identity.key_pem, atomic_files.SECRET)
    atomic_files.write(site.broker / "broker.pem", identity.certificate_pem, atomic_files.PUBLIC)
    made.append(f"the broker's certificate for {', '.join(wanted)}")


def _hosts(site: Site, authority: CertificateAuthority | None) -> list[str]:
    """Those of the broker's certificate; empty where there is none of this authority."""
    certificate = site.broker_certificate()
    if authority is None or certificate is None or not authority.is_issuer_of(certificate):
        return []
    return hosts_of(certificate)


def _ensure_users(site: Site, made: list[str]) -> None:
    """Passwords, and the name of a group. Each password's own file is written first: after an interruption the next
    call continues from it."""
    passwords, new = site.passwords(), list[str]()
    for user in USERS:
        path = site.root / user / "password"
        content = atomic_files.read(path)
        password = generate_password() if content is None else content.decode().strip()
        if content is None:
            atomic_files.write(path, password.encode() + b"\n", atomic_files.SECRET)
        if not passwords.matches(user, password):
            passwords.set(user, password)
            new.append(f"a password of the user {user}, in {path}")
    if new:
        site.save_passwords(passwords)
    group = site.root / "gateway" / "group"
    if atomic_files.read(group) is None:
        atomic_files.write(group, generate_password().encode() + b"\n", atomic_files.SECRET)
        new.append(f"a name for a group of gateways, in {group}: whoever knows it can take their messages")
    made += new
