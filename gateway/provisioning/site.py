"""The folder of a site, file by file, and its beginning: `init`.

    SITE/ca/        ca.key, ca.pem, issued/FLEET.DEVICE.pem: whoever reads the key can be any device; for root alone
    SITE/broker/    passwords, acl, ca.pem, crl.pem, broker.pem, broker.key: what Mosquitto reads; of its account
    SITE/gateway/   password, ca.pem: what the gateway reads; probe.json: what the doctor connects with; of its account
    SITE/operator/  password
    SITE/devices/   FLEET.DEVICE.json: what goes onto the boards

It decides nothing about devices. A private key or a password is in no file that others may read.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from gateway.errors import ProvisioningError
from gateway.provisioning import atomic_files
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.certificate_authority import END, Authority, Identity, hosts_of
from gateway.provisioning.device_names import Device
from gateway.provisioning.password_file import PasswordFile

USERS = ("gateway", "operator")
"""Those who are no device. Each has a folder with its password."""
ACCOUNTS = {"broker": "mosquitto", "gateway": "edge-gateway"}
"""Which folder is given to which account of the machine, where root makes it and there is such a one."""


@dataclass(frozen=True, slots=True)
class Site:
    """The files below `root`. Raises OSError where one cannot be read or written, SiteError where one is unusable."""

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
        """The board file of the doctor's probe."""
        return self.root / "gateway" / "probe.json"

    def authority(self) -> Authority | None:
        """None before `init`."""
        certificate, key = atomic_files.read(self.ca / "ca.pem"), atomic_files.read(self.ca / "ca.key")
        if certificate is None or key is None:
            return None
        return Authority(Identity.from_pem(certificate, key))

    def broker_certificate(self) -> x509.Certificate | None:
        found = atomic_files.read(self.broker / "broker.pem")
        return None if found is None else x509.load_pem_x509_certificate(found)

    def passwords(self) -> PasswordFile:
        return read_passwords(self.broker / "passwords")

    def save_passwords(self, passwords: PasswordFile) -> None:
        atomic_files.write(self.broker / "passwords", str(passwords).encode(), atomic_files.SECRET)

    @property
    def acl_path(self) -> Path:
        return self.broker / "acl"

    def acl(self) -> AclFile | None:
        """None before `init`. Raises SiteError where it is none of a gateway's."""
        return read_acl(self.acl_path)

    def save_acl(self, acl: AclFile) -> None:
        atomic_files.write(self.acl_path, str(acl).encode(), atomic_files.SECRET)

    def crl(self) -> bytes | None:
        return atomic_files.read(self.broker / "crl.pem")

    def save_crl(self, crl: bytes) -> None:
        atomic_files.write(self.broker / "crl.pem", crl, atomic_files.PUBLIC)


def read_acl(path: Path) -> AclFile | None:
    """None where there is no such file. Raises SiteError where it is none of a gateway's."""
    found = atomic_files.read(path)
    try:
        return None if found is None else AclFile.parse(found.decode())
    except ValueError as error:
        raise ProvisioningError(f"{path}: {error}") from error


def read_passwords(path: Path) -> PasswordFile:
    """Empty where there is no such file. Raises SiteError where it is no text."""
    try:
        return PasswordFile.parse((atomic_files.read(path) or b"").decode())
    except UnicodeDecodeError as error:
        raise ProvisioningError(f"{path}: {error}") from error


def devices_in(users: Iterable[str]) -> set[Device]:
    """Those that are devices."""
    return {device for device in map(Device.of_user, users) if device is not None}


def draw_password() -> str:
    """144 bits: nobody guesses it, however few rounds its hash has."""
    return secrets.token_urlsafe(18)


def init(site: Site, hosts: Sequence[str], now: datetime, renew: bool = False) -> list[str]:
    """Make what is missing but the ACL, and keep what is there; `renew` draws the broker a new key. Says what it made.

    The caller has locked the site. Raises SiteError where a host name is none, or none was given and the broker has no
    certificate yet.
    """
    authority, made = _authority(site)
    made += _broker(site, authority, hosts, renew)
    if site.crl() is None:
        site.save_crl(authority.revocations(None, (), now))
    return made + _users(site)


def make_folders(site: Site) -> None:
    """Raises OSError."""
    atomic_files.make_folder(site.root, atomic_files.PUBLIC_FOLDER)
    for folder in (site.ca, site.issued, site.devices, *(site.root / name for name in ("broker", *USERS))):
        atomic_files.make_folder(folder, atomic_files.SECRET_FOLDER, ACCOUNTS.get(folder.name))


def _authority(site: Site) -> tuple[Authority, list[str]]:
    authority, told = site.authority(), []
    if authority is None:
        authority = Authority.make("edge-gateway site")
        # The certificate last: with a key alone this begins anew, and nobody has trusted it.
        atomic_files.write(site.ca / "ca.key", authority.identity.key_pem, atomic_files.SECRET)
        atomic_files.write(site.ca / "ca.pem", authority.identity.certificate_pem, atomic_files.PUBLIC)
        told.append(f"a certificate authority, in {site.ca}: keep a copy of it where nobody else reads it")
    for folder in (site.broker, site.root / "gateway"):
        if atomic_files.read(folder / "ca.pem") != authority.identity.certificate_pem:
            atomic_files.write(folder / "ca.pem", authority.identity.certificate_pem, atomic_files.PUBLIC)
    return authority, told


def _broker(site: Site, authority: Authority, hosts: Sequence[str], renew: bool) -> list[str]:
    known = site.broker_certificate()
    old = hosts_of(known) if known is not None and authority.issued(known) else []
    if not (hosts or old):
        raise ProvisioningError(
            "under which host names and addresses do devices and the gateway find the broker? Name them"
        )
    wanted = list(hosts) or old
    if wanted == old and not renew and atomic_files.read(site.broker / "broker.key") is not None:
        return []
    identity = authority.issue_broker(wanted, END)
    atomic_files.write(site.broker / "broker.key", identity.key_pem, atomic_files.SECRET)
    atomic_files.write(site.broker / "broker.pem", identity.certificate_pem, atomic_files.PUBLIC)
    return [f"the broker's certificate for {', '.join(wanted)}"]


def _users(site: Site) -> list[str]:
    """The password's own file first: what an interruption leaves undone, the next call completes from it."""
    passwords, told = site.passwords(), []
    for user in USERS:
        path = site.root / user / "password"
        known = atomic_files.read(path)
        password = draw_password() if known is None else known.decode().strip()
        if known is None:
            atomic_files.write(path, password.encode() + b"\n", atomic_files.SECRET)
        if not passwords.matches(user, password):
            passwords.set(user, password)
            told.append(f"a password of the user {user}, in {path}")
    if told:
        site.save_passwords(passwords)
    return told
