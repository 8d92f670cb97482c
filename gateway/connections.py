"""The endpoint of the broker, and the clients of the Edge Manager and S3, by the settings. It must never connect.

The doctor uses these too, so that what it finds is true for `run`.
"""

import ssl
from dataclasses import dataclass
from typing import Any

from gateway import cloud
from gateway.config import Settings
from gateway.errors import ConfigError, redact_credentials
from gateway.files import make_s3_client
from gateway.mqtt import BrokerEndpoint, Wanted
from gateway.storage import SessionFile

MAX_THREADS = 16
"""Calls by boto3 at once, at most: more threads make it slower."""


@dataclass(frozen=True, slots=True)
class EdgeManagerConnection:
    """The Edge Manager of the AWS settings: credentials, and boto3's session and client."""

    credentials: cloud.CredentialSource
    session: Any
    client: Any

    @property
    def url(self) -> str:
        """Without credentials."""
        return redact_credentials(self.client.meta.endpoint_url)

    @property
    def region(self) -> str:
        return str(self.client.meta.region_name)

    def make_transport(self, concurrency: int) -> tuple[cloud.Transport, int]:
        """The direct transport where it is possible, else boto3's, and its concurrency limit. Needs a running loop."""
        if cloud.supports_direct_transport(self.client):
            return cloud.DirectTransport(self.session, self.client, concurrency), concurrency
        limit = min(concurrency, MAX_THREADS)
        return cloud.BotoTransport(self.client, limit), limit


def wanted(settings: Settings) -> Wanted:
    """What the gateway wants of the broker, beside MQTT 5's defaults."""
    return Wanted(settings.root, settings.max_payload, settings.session_expiry, settings.group is not None)


def edge_manager(settings: Settings) -> EdgeManagerConnection:
    """Raises ConfigError where the AWS settings name no service."""
    timeouts = settings.connect_timeout, settings.read_timeout
    credentials = cloud.CredentialSource(settings.region, *timeouts)
    session = cloud.make_session(credentials)
    threads = min(settings.concurrency, MAX_THREADS)
    client = cloud.make_edge_client(session, settings.region, threads, *timeouts)
    return EdgeManagerConnection(credentials, session, client)


def s3_client(settings: Settings, service: EdgeManagerConnection) -> Any:
    """The boto3 client of S3, with the credentials and the region of the Edge Manager's. Raises ConfigError where the
    AWS settings name no endpoint."""
    session = cloud.make_session(service.credentials)
    return make_s3_client(session, service.region, settings.connect_timeout, settings.read_timeout)


def mqtt_endpoint(settings: Settings) -> BrokerEndpoint:
    """Raises ConfigError where the TLS files cannot be used."""
    url = settings.broker
    return BrokerEndpoint(
        host=url.host,
        port=url.port,
        client_id=settings.client_id,
        username=url.username,
        password=url.password,
        tls=_tls(settings) if url.tls else None,
        keepalive=settings.keepalive,
        session_expiry=settings.session_expiry,
    )


def session_file(settings: Settings) -> SessionFile:
    """What is known of the session at the broker. It changes nothing."""
    return SessionFile(settings.state_dir, settings.client_id, f"{settings.broker.host}:{settings.broker.port}")


def _tls(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 and up. Raises ConfigError where the files hold no certificates and keys."""
    try:
        context = ssl.create_default_context(cafile=settings.mqtt_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.mqtt_cert_file is not None:
            context.load_cert_chain(settings.mqtt_cert_file, settings.mqtt_key_file, _refuse_encrypted_key)
    except (ssl.SSLError, OSError) as error:
        names = "mqtt_ca_file, mqtt_cert_file, mqtt_key_file"
        raise ConfigError([f"{names}: should be PEM files that fit ({error})"]) from error
    return context


def _refuse_encrypted_key() -> str:
    """Called for the password of an encrypted key. Without it OpenSSL would ask the terminal."""
    todo = "openssl pkey -in ENCRYPTED -out PLAIN writes such a one"
    raise ConfigError([f"mqtt_key_file: is encrypted; should be a key without a password ({todo})"])
