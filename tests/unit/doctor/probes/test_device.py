"""How a board file becomes an endpoint."""

import pytest

from gateway.doctor.probes.device import PROBE, board_endpoint
from gateway.errors import ProvisioningError
from gateway.provisioning.board_file import BoardFile
from gateway.provisioning.certificate_authority import NOT_AFTER, CertificateAuthority


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate("a site")


def test_a_board_with_a_password() -> None:
    found = board_endpoint(BoardFile(PROBE, "host", 1883, password="secret"))
    assert (found.host, found.port, found.username, found.password) == ("host", 1883, "doctor/probe", "secret")
    assert found.tls is None
    assert found.session_expiry == 0


@pytest.mark.parametrize("kind", ["password", "certificate"])
def test_a_board_with_tls_trusts_its_authority_alone(authority: CertificateAuthority, kind: str) -> None:
    ca = authority.identity.certificate_der
    identity = authority.issue_device(str(PROBE), NOT_AFTER)
    board = BoardFile(PROBE, "host", 8883, ca, "secret")
    if kind == "certificate":
        board = BoardFile(PROBE, "host", 8884, ca, None, identity.certificate_der, identity.key_der)
    found = board_endpoint(board)
    assert found.tls is not None
    assert found.tls.get_ca_certs(binary_form=True) == [ca]
    assert found.username == ("doctor/probe" if kind == "password" else None)


def test_boards_that_cannot_be_used(authority: CertificateAuthority) -> None:
    with pytest.raises(ProvisioningError, match="no password"):
        board_endpoint(BoardFile(PROBE, "host", 1))
    with pytest.raises(ProvisioningError, match="certificates"):
        board_endpoint(BoardFile(PROBE, "host", 1, b"no certificate", "secret"))
    other = authority.issue_device(str(PROBE), NOT_AFTER)
    mixed = BoardFile(PROBE, "host", 1, authority.identity.certificate_der, None, other.certificate_der, b"no key")
    with pytest.raises(ProvisioningError, match="certificates"):
        board_endpoint(mixed)
