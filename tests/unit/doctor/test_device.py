"""What a device may do, judged; and how a board file becomes a way to the broker."""

from dataclasses import replace

import pytest

from gateway.doctor import probe_device
from gateway.doctor.facts import AsDevice, NotTried, Obstacle
from gateway.doctor.judge_device import devices
from gateway.doctor.probe_device import PROBE
from gateway.doctor.verdict import Level
from gateway.errors import ProvisioningError
from gateway.provisioning.board_file import BoardFile
from gateway.provisioning.certificate_authority import NOT_AFTER, CertificateAuthority

GOOD = AsDevice("doctor/probe", "broker.example", 8883, 0, heard=True)
DENIED = 135


@pytest.mark.parametrize(
    ("found", "level", "said"),
    [
        (GOOD, Level.PASS, "doctor/probe at broker.example:8883"),
        (replace(GOOD, code=16), Level.PASS, ""),
        (replace(GOOD, code=DENIED), Level.FAIL, "doctor/probe writing hello (reason 135)"),
        (replace(GOOD, heard=False), Level.FAIL, "doctor/probe reading ack"),
        (replace(GOOD, code=DENIED, heard=False), Level.FAIL, "writing hello (reason 135) and reading ack"),
        (replace(GOOD, heard=None), Level.WARN, "the gateway's user may not write ack"),
        (replace(GOOD, code=DENIED, heard=None), Level.FAIL, "reason 135"),
        (replace(GOOD, wrote=("a/hello",)), Level.FAIL, "doctor/probe may write a/hello"),
        (replace(GOOD, wrote=("a", "b"), read=("c",)), Level.FAIL, "may write a, b and read c"),
        (replace(GOOD, heard=False, read=("c",)), Level.FAIL, "may read c"),
    ],
    ids=range(10),
)
def test_what_a_device_may_do(found: AsDevice, level: Level, said: str) -> None:
    verdict = devices(found)
    assert verdict.level is level
    assert said in verdict.found
    assert bool(verdict.todo) is (level is not Level.PASS)
    assert ("devices convert" in verdict.todo) is (level is Level.FAIL)


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_device_that_could_try_nothing(obstacle: Obstacle) -> None:
    verdict = devices(NotTried(obstacle, "/a/file"))
    assert verdict.level is (Level.FAIL if obstacle in (Obstacle.NO_TLS, Obstacle.LOGIN) else Level.WARN)
    assert "not tried" in verdict.found
    assert "/a/file" in verdict.found
    assert verdict.todo


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate("a site")


def test_a_board_with_a_password() -> None:
    found = probe_device.endpoint(BoardFile(PROBE, "host", 1883, password="secret"))
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
    found = probe_device.endpoint(board)
    assert found.tls is not None
    assert found.tls.get_ca_certs(binary_form=True) == [ca]
    assert found.username == ("doctor/probe" if kind == "password" else None)


def test_boards_that_cannot_be_used(authority: CertificateAuthority) -> None:
    with pytest.raises(ProvisioningError, match="no password"):
        probe_device.endpoint(BoardFile(PROBE, "host", 1))
    with pytest.raises(ProvisioningError, match="certificates"):
        probe_device.endpoint(BoardFile(PROBE, "host", 1, b"no certificate", "secret"))
    other = authority.issue_device(str(PROBE), NOT_AFTER)
    mixed = BoardFile(PROBE, "host", 1, authority.identity.certificate_der, None, other.certificate_der, b"no key")
    with pytest.raises(ProvisioningError, match="certificates"):
        probe_device.endpoint(mixed)
