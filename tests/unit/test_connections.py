"""URLs without credentials, for logs; keys that need a password."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from gateway.config import Settings
from gateway.connections import mqtt_endpoint
from gateway.errors import ConfigError, redact_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:S3CRET@edge.example:9470/x?y=1", "http://edge.example:9470/x?y=1"),
        ("https://a@b@[::1]:9470", "https://[::1]:9470"),
        ("http://127.0.0.1:9470", "http://127.0.0.1:9470"),
        ('no answer: "http://u:S3CRET@h:1/x", mail to a@b', 'no answer: "http://h:1/x", mail to a@b'),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert redact_credentials(url) == shown


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_encrypted_key_is_a_mistake_and_nobody_is_asked_for_its_password(tmp_path: Path, encrypted: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    cipher = serialization.BestAvailableEncryption(b"S3CRET") if encrypted else serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "key").write_bytes(key.private_bytes(pem, pkcs8, cipher))
    (tmp_path / "cert").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    files = {"mqtt_cert_file": tmp_path / "cert", "mqtt_key_file": tmp_path / "key"}
    settings = Settings(mqtt_url=SecretStr("mqtts://broker.example"), **files)
    if not encrypted:
        assert mqtt_endpoint(settings).tls is not None
        return
    with pytest.raises(ConfigError, match="mqtt_key_file: is encrypted; should be a key without a password") as caught:
        mqtt_endpoint(settings)
    assert len(caught.value.mistakes) == 1
