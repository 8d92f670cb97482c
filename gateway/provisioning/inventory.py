"""What the site knows of its devices: passwords, certificates, revocations, ACL, board files; and planned changes.

`commit` writes the plan, each file once however many devices there are. It must never lose sight of a certificate that
still works: the list of revocations is written before a record goes.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import ProvisioningError
from gateway.provisioning import atomic_files
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.board_file import BoardFile, Kind
from gateway.provisioning.certificate_authority import common_name, hosts_of, revoked_serials
from gateway.provisioning.device_names import PROBE, Device
from gateway.provisioning.site import Site, devices_in


class Books:
    """The files of a site that the caller has locked. Raises SiteError where `init` was not there before."""

    def __init__(self, site: Site, now: datetime) -> None:
        authority, broker = site.authority(), site.broker_certificate()
        if authority is None or broker is None:
            raise ProvisioningError(f"no site in {site.root}: `edge-gateway devices init` makes one")
        self.authority = authority
        self.hosts = hosts_of(broker)
        """How devices find the broker."""
        self._site = site
        self._now = now
        self._passwords = site.passwords()
        self._crl = site.crl()
        self._revoked = revoked_serials(self._crl)
        self._revoking: set[int] = set()
        self._records: dict[Device, x509.Certificate | None] = {}
        # A user that stood there twice (2.1 would end at the next SIGHUP) is gone as soon as something is written.
        self._new_passwords = self._passwords.had_duplicates
        self._acl = site.acl()
        self._new_acl = False

    @property
    def has_acl(self) -> bool:
        """False on a site that was made before there was an entry for each device."""
        return self._acl is not None

    def use_acl(self, acl: AclFile) -> None:
        """Plan that this is the site's ACL."""
        self._acl, self._new_acl = acl, True

    def grant(self, device: Device) -> bool:
        """Plan the device's entry in the ACL. False where it has it, or the site has no ACL."""
        granted = self._acl is not None and self._acl.grant(device.user)
        self._new_acl |= granted
        return granted

    def devices(self) -> set[Device]:
        """All that have a credential or a board file, but the doctor's probe."""
        paths = (*self._site.issued.glob("*.pem"), *self._site.devices.glob("*.json"))
        users = (*self._passwords.users(), *(path.stem.replace(".", "/") for path in paths))
        return devices_in(users) - {PROBE}

    def kind(self, device: Device) -> Kind | None:
        """None: the broker does not know the device."""
        if self.certificate(device) is not None:
            return "certificate"
        return "password" if device.user in self._passwords else None

    def certificate(self, device: Device) -> x509.Certificate | None:
        """The recorded one. Raises SiteError where the record cannot be read."""
        if device in self._records:
            return self._records[device]
        found = atomic_files.read(self._record_path(device))
        try:
            return None if found is None else x509.load_pem_x509_certificate(found)
        except ValueError as error:
            raise ProvisioningError(f"{self._record_path(device)} is no certificate: {error}") from error

    def certificates(self, device: Device) -> list[x509.Certificate]:
        """The recorded one, and one that an interrupted command left in the board file."""
        found = [self.certificate(device)]
        with suppress(ProvisioningError):  # a file that cannot be read can be replaced and removed all the same
            board = self.board(device)
            found.append(None if board is None else board.certificate)
        return [each for each in found if each is not None and self.authority.issued(each)]

    def board(self, device: Device) -> BoardFile | None:
        found = atomic_files.read(self.board_path(device))
        return None if found is None else BoardFile.from_json(found, device)

    def usable_board(self, device: Device, kind: Kind) -> BoardFile | None:
        """The board file, where it has such a credential and that can still be good."""
        board = self.board(device)
        if board is None or board.kind != kind:
            return None
        certificate = board.certificate
        return board if certificate is None or self._is_good(certificate, device) else None

    def board_path(self, device: Device) -> Path:
        return self._site.probe if device == PROBE else self._site.devices / f"{device.stem}.json"

    def write_board(self, board: BoardFile) -> None:
        atomic_files.write(self.board_path(board.device), board.to_json(), atomic_files.SECRET)

    def forget_board(self, device: Device) -> None:
        atomic_files.remove(self.board_path(device))

    def holds(self, board: BoardFile) -> bool:
        """Whether the broker goes by the credential in the file."""
        if board.password is not None:
            return self._passwords.matches(board.device.user, board.password)
        return self.certificate(board.device) == board.certificate

    def admit(self, board: BoardFile) -> None:
        """Plan that the broker goes by the credential in the file, and by no other."""
        certificate = board.certificate
        if board.password is not None:
            self._passwords.set(board.device.user, board.password)
            self._new_passwords = True
            self._strike(board.device)
        else:
            self._records[board.device] = certificate
            self._new_passwords |= self._passwords.drop(board.device.user)

    def shut_out(self, device: Device) -> bool:
        """Plan that the broker goes by nothing. False where it does so already."""
        certificates = self.certificates(device)
        self.revoke(certificates)
        had_password = self._passwords.drop(device.user)
        self._strike(device)
        had_entry = self._acl is not None and self._acl.revoke(device.user)
        self._new_passwords |= had_password
        self._new_acl |= had_entry
        return bool(certificates) or had_password or had_entry

    def revoke(self, certificates: Iterable[x509.Certificate]) -> None:
        self._revoking |= {each.serial_number for each in certificates}

    def commit(self) -> None:
        if self._revoking - self._revoked:
            self._site.save_crl(self.authority.revocations(self._crl, self._revoking, self._now))
        if self._new_passwords:
            self._site.save_passwords(self._passwords)
        if self._new_acl and self._acl is not None:
            self._site.save_acl(self._acl)
        for device, certificate in self._records.items():
            if certificate is None:
                atomic_files.remove(self._record_path(device))
            else:
                pem = certificate.public_bytes(Encoding.PEM)
                atomic_files.write(self._record_path(device), pem, atomic_files.PUBLIC)

    def _strike(self, device: Device) -> None:
        if self.certificate(device) is not None:
            self._records[device] = None

    def _is_good(self, certificate: x509.Certificate, device: Device) -> bool:
        return (
            self.authority.issued(certificate)
            and common_name(certificate) == device.user
            and certificate.serial_number not in self._revoked
            and certificate.not_valid_after_utc > self._now
        )

    def _record_path(self, device: Device) -> Path:
        return self._site.issued / f"{device.stem}.pem"
