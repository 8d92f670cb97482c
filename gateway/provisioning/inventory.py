"""The site's records of its devices: passwords, certificates, revocations, ACL, board files; and planned changes.

`commit` writes the changes, each file once for any number of devices. It must never lose the record of a certificate
that still works: the revocation list is written before a record is deleted.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import ProvisioningError
from gateway.protocol import Device
from gateway.provisioning import atomic_files
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.board_file import BoardFile, CredentialKind
from gateway.provisioning.certificate_authority import CertificateAuthority, common_name, hosts_of, revoked_serials
from gateway.provisioning.device_names import PROBE, devices_of_users, file_stem
from gateway.provisioning.site import Site


class DeviceInventory:
    """Reads the files of a site, which the caller must have locked. Raises ProvisioningError before `init`.

    `read_only`: only to list the devices. It needs no lock, and not the key of the authority.
    """

    def __init__(self, site: Site, now: datetime, read_only: bool = False) -> None:
        self._authority = None if read_only else site.authority()
        broker = site.broker_certificate()
        if broker is None or not (read_only or self._authority):
            raise ProvisioningError(f"no site in {site.root}: `edge-gateway devices init` makes one")
        self.hosts = hosts_of(broker)
        """Host names and addresses of the broker."""
        self._site = site
        self._now = now
        self._passwords = site.passwords()
        self._crl = site.crl()
        self._revoked = revoked_serials(self._crl)
        self._to_revoke: set[int] = set()
        self._records: dict[Device, x509.Certificate | None] = {}
        # Mosquitto 2.1 ends at a SIGHUP if a user has two lines. The next write removes the duplicates.
        self._passwords_changed = self._passwords.had_duplicates
        self._acl = site.acl()
        self._acl_changed = False

    @property
    def authority(self) -> CertificateAuthority:
        assert self._authority is not None
        return self._authority

    @property
    def has_acl(self) -> bool:
        """False for a site from the time before each device had an entry."""
        return self._acl is not None

    @property
    def root(self) -> str | None:
        """What every topic begins with, by the ACL; None: there is no ACL."""
        return None if self._acl is None else self._acl.root

    def replace_acl(self, acl: AclFile) -> None:
        self._acl, self._acl_changed = acl, True

    def grant_topics(self, device: Device) -> bool:
        """Plan the device's entry in the ACL. False if it has one, or the site has no ACL."""
        granted = self._acl is not None and self._acl.grant(str(device))
        self._acl_changed |= granted
        return granted

    def devices(self) -> set[Device]:
        """All devices that have a credential or a board file, without the doctor's."""
        # Path.glob would pass over a folder that this user may not read.
        paths = (*self._site.issued.iterdir(), *self._site.devices.iterdir())
        users = (path.stem.replace(".", "/") for path in paths if path.suffix in (".pem", ".json"))
        return devices_of_users((*self._passwords.users(), *users)) - {PROBE}

    def kind(self, device: Device) -> CredentialKind | None:
        """The credential that the broker accepts. None: the broker does not know the device."""
        if self.certificate(device) is not None:
            return "certificate"
        return "password" if str(device) in self._passwords else None

    def certificate(self, device: Device) -> x509.Certificate | None:
        """The recorded certificate. Raises ProvisioningError if the record cannot be read."""
        if device in self._records:
            return self._records[device]
        pem = atomic_files.read(self._record_path(device))
        try:
            return None if pem is None else x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise ProvisioningError(f"{self._record_path(device)} is not a certificate: {error}") from error

    def certificates(self, device: Device) -> list[x509.Certificate]:
        """The recorded certificate, and one that an interrupted command left in the board file."""
        certificates = [self.certificate(device)]
        with suppress(ProvisioningError):  # a board file that cannot be read can still be replaced and removed
            board = self.board_file(device)
            certificates.append(None if board is None else board.certificate)
        return [each for each in certificates if each is not None and self.authority.is_issuer_of(each)]

    def board_file(self, device: Device) -> BoardFile | None:
        content = atomic_files.read(self.board_file_path(device))
        return None if content is None else BoardFile.from_json(content, device)

    def usable_board_file(self, device: Device, kind: CredentialKind) -> BoardFile | None:
        """The board file, if its credential is of this kind and can still be valid."""
        board = self.board_file(device)
        if board is None or board.kind != kind:
            return None
        certificate = board.certificate
        return board if certificate is None or self._is_valid(certificate, device) else None

    def board_file_path(self, device: Device) -> Path:
        return self._site.probe if device == PROBE else self._site.devices / f"{file_stem(device)}.json"

    def write_board_file(self, board: BoardFile) -> None:
        """Write it now: it does not wait for `commit`."""
        atomic_files.write(self.board_file_path(board.device), board.to_json(), atomic_files.SECRET)

    def delete_board_file(self, device: Device) -> None:
        """Delete it now: it does not wait for `commit`."""
        atomic_files.remove(self.board_file_path(device))

    def is_current(self, board: BoardFile) -> bool:
        """Whether the broker accepts the credential in the board file."""
        if board.password is not None:
            return self._passwords.matches(str(board.device), board.password)
        return self.certificate(board.device) == board.certificate

    def grant(self, board: BoardFile) -> None:
        """Plan that the broker accepts the credential in the board file, and no other."""
        certificate = board.certificate
        if board.password is not None:
            self._passwords.set(str(board.device), board.password)
            self._passwords_changed = True
            self._delete_record(board.device)
        else:
            self._records[board.device] = certificate
            self._passwords_changed |= self._passwords.remove(str(board.device))

    def revoke_all(self, device: Device) -> bool:
        """Plan that the broker accepts no credential of the device. False if there is nothing to change."""
        certificates = self.certificates(device)
        self.revoke_certificates(certificates)
        had_password = self._passwords.remove(str(device))
        self._delete_record(device)
        had_entry = self._acl is not None and self._acl.revoke(str(device))
        self._passwords_changed |= had_password
        self._acl_changed |= had_entry
        return bool(certificates) or had_password or had_entry

    def revoke_certificates(self, certificates: Iterable[x509.Certificate]) -> None:
        """Plan their revocation."""
        self._to_revoke |= {each.serial_number for each in certificates}

    def commit(self) -> None:
        if self._to_revoke - self._revoked:
            self._site.save_crl(self.authority.revocation_list(self._crl, self._to_revoke, self._now))
        if self._passwords_changed:
            self._site.save_passwords(self._passwords)
        if self._acl_changed and self._acl is not None:
            self._site.save_acl(self._acl)
        for device, certificate in self._records.items():
            if certificate is None:
                atomic_files.remove(self._record_path(device))
            else:
                pem = certificate.public_bytes(Encoding.PEM)
                atomic_files.write(self._record_path(device), pem, atomic_files.PUBLIC)

    def _delete_record(self, device: Device) -> None:
        if self.certificate(device) is not None:
            self._records[device] = None

    def _is_valid(self, certificate: x509.Certificate, device: Device) -> bool:
        return (
            self.authority.is_issuer_of(certificate)
            and common_name(certificate) == str(device)
            and certificate.serial_number not in self._revoked
            and certificate.not_valid_after_utc > self._now
        )

    def _record_path(self, device: Device) -> Path:
        return self._site.issued / f"{file_stem(device)}.pem"
