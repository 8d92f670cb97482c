"""The certificate authority: OpenSSL's rules and other readers accept its certificates."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from gateway.errors import ProvisioningError
from gateway.provisioning.certificate_authority import (
    NOT_AFTER,
    NOT_BEFORE,
    CertificateAuthority,
    Identity,
    common_name,
    hosts_of,
    revoked_serials,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)
AUTHORITY = CertificateAuthority.generate("a site")
DEVICE = AUTHORITY.issue_device("fleet/dev", NOT_AFTER)
BROKER = AUTHORITY.issue_broker(["broker.example", "10.0.0.1", "::1"], NOT_AFTER)


def purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_certificates_of_devices_and_broker_have_separate_purposes() -> None:
    assert purposes(DEVICE.certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert purposes(BROKER.certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_strict_verifier_accepts_the_brokers_certificate() -> None:
    def verify(authority: CertificateAuthority, host: str) -> None:
        builder = PolicyBuilder().store(Store([authority.identity.certificate])).time(NOW)
        builder.build_server_verifier(x509.DNSName(host)).verify(BROKER.certificate, [])

    verify(AUTHORITY, "broker.example")
    with pytest.raises(VerificationError):
        verify(AUTHORITY, "other.example")
    with pytest.raises(VerificationError):
        verify(CertificateAuthority.generate("a site"), "broker.example")


def test_names_are_read_back() -> None:
    assert common_name(DEVICE.certificate) == "fleet/dev"
    assert hosts_of(BROKER.certificate) == ["broker.example", "10.0.0.1", "::1"]


def test_what_was_issued_is_known_and_nothing_else() -> None:
    stranger = CertificateAuthority.generate("a site").issue_device("fleet/dev", NOT_AFTER)
    assert [AUTHORITY.is_issuer_of(each.certificate) for each in (DEVICE, BROKER, stranger)] == [True, True, False]


def test_certificates_are_valid_for_a_board_without_a_clock() -> None:
    assert BROKER.certificate.not_valid_before_utc == NOT_BEFORE == datetime(1970, 1, 1, tzinfo=UTC)
    assert AUTHORITY.identity.certificate.not_valid_before_utc == NOT_BEFORE


def test_no_certificate_outlives_the_authority() -> None:
    issued = AUTHORITY.issue_device("fleet/dev", NOT_AFTER + timedelta(days=1))
    assert issued.certificate.not_valid_after_utc == NOT_AFTER == AUTHORITY.identity.certificate.not_valid_after_utc


def test_a_name_that_is_too_long_for_a_common_name() -> None:
    assert AUTHORITY.issue_device("f/" + 62 * "d", NOT_AFTER)
    with pytest.raises(
        ProvisioningError, match="65 characters, a certificate's common name takes 64; a password has no such"
    ):
        AUTHORITY.issue_device("f/" + 63 * "d", NOT_AFTER)


@pytest.mark.parametrize(
    "host", ["bad host", "broker.example:8883", "mqtts://broker.example", "", "a..b", "-a", "x" * 64, "b\u00fc.example"]
)
def test_what_is_neither_a_host_name_nor_an_address(host: str) -> None:
    with pytest.raises(ProvisioningError, match="is not a host name or an address"):
        AUTHORITY.issue_broker([host], NOT_AFTER)


def test_a_host_name_that_is_not_valid() -> None:
    with pytest.raises(ProvisioningError, match="is not a host name"):
        AUTHORITY.issue_broker(["broker.exämple"], NOT_AFTER)


def test_a_list_of_revocations_keeps_the_older_and_is_newer() -> None:
    empty = AUTHORITY.revocation_list(None, (), NOW)
    first = AUTHORITY.revocation_list(empty, [1], NOW)
    second = AUTHORITY.revocation_list(first, [2, 1], NOW + timedelta(milliseconds=1))
    assert [revoked_serials(each) for each in (None, empty, first, second)] == [set(), set(), {1}, {1, 2}]
    dates = [x509.load_pem_x509_crl(each).last_update_utc for each in (empty, first, second)]
    assert dates == sorted(set(dates))
    assert max(dates) < NOW
    crl = x509.load_pem_x509_crl(second)
    assert crl.next_update_utc == NOT_AFTER
    assert crl.is_signature_valid(AUTHORITY.identity.key.public_key())
    assert isinstance(crl.signature_hash_algorithm, hashes.SHA256)


def test_pem_comes_back() -> None:
    parsed = Identity.from_pem(DEVICE.certificate_pem, DEVICE.key_pem)
    assert (parsed.certificate, parsed.key_der) == (DEVICE.certificate, DEVICE.key_der)


@pytest.mark.parametrize(
    ("certificate", "key", "message"),
    [
        (b"", DEVICE.key_pem, "cannot be read"),
        (DEVICE.certificate_pem, b"nonsense", "cannot be read"),
        (DEVICE.certificate_pem, BROKER.key_pem, "the key is not that of the certificate"),
    ],
)
def test_pem_that_is_not_an_identity(certificate: bytes, key: bytes, message: str) -> None:
    with pytest.raises(ProvisioningError, match=message):
        Identity.from_pem(certificate, key)


def test_no_repr_shows_a_key() -> None:
    assert repr(DEVICE) == "<Identity CN=fleet/dev>"
