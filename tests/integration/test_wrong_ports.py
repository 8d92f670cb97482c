"""With TLS to a port without it, without TLS to one with it: the error says so, of the broker and of the service."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from gateway.cloud import (
    ApiResponse,
    BotoTransport,
    CredentialSource,
    DirectTransport,
    Transport,
    make_edge_client,
    make_session,
)
from gateway.errors import BrokerError, CloudError
from gateway.mqtt.connection import NO_CERTIFICATE, PLAIN_PORT, TLS_PORT, BrokerConnection, BrokerEndpoint
from gateway.protocol import Device, GetDeviceRegistration
from tests.support.arrivals import DEADLINE_S
from tests.support.site import SiteBroker

HOST = "127.0.0.1"
PLAIN, TLS = "If not, the URL begins with http://", "Then the URL begins with https://"


def direct(session: Any, client: Any) -> Transport:
    return DirectTransport(session, client, 1)


def boto(session: Any, client: Any) -> Transport:
    return BotoTransport(client, 1)


def trusting(site: SiteBroker) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(site.site / "gateway" / "ca.pem"))


@pytest.mark.parametrize(
    ("listener", "with_tls", "hint"),
    [("plain", True, PLAIN_PORT), ("gateway", False, TLS_PORT), ("certificate", True, NO_CERTIFICATE)],
)
async def test_the_other_kind_of_port_of_the_broker(site: SiteBroker, listener: str, with_tls: bool, hint: str) -> None:
    tls = trusting(site) if with_tls else None
    endpoint = BrokerEndpoint(HOST, site.ports[listener], "wrong-port", tls=tls, timeout=DEADLINE_S)
    connection = BrokerConnection(endpoint, lambda message: None)
    with pytest.raises(BrokerError) as caught:
        await connection.open()
    assert str(caught.value).endswith(f"; {hint}")
    await connection.close()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What most servers say to a request that is not HTTP."""
    with closing(writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("make_transport", "scheme", "serves_tls", "hint"),
    [(direct, "https", False, PLAIN), (boto, "https", False, PLAIN), (direct, "http", True, TLS)],
)
async def test_the_other_kind_of_port_of_the_service(
    site: SiteBroker,
    make_transport: Callable[[Any, Any], Transport],
    scheme: str,
    serves_tls: bool,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(site.site / "broker" / "broker.pem", site.site / "broker" / "broker.key")
    server = await asyncio.start_server(refuse, HOST, 0, ssl=context if serves_tls else None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", f"{scheme}://{HOST}:{port}")
    source = CredentialSource("eu-west-1", DEADLINE_S, DEADLINE_S)
    session = make_session(source)
    transport = make_transport(session, make_edge_client(session, "eu-west-1", 1, DEADLINE_S, DEADLINE_S))
    answer: asyncio.Future[ApiResponse | CloudError] = asyncio.get_running_loop().create_future()
    transport.send(GetDeviceRegistration(Device("f", "d")), answer.set_result)
    error = await answer
    assert isinstance(error, CloudError)
    assert hint in str(error)
    transport.close()
    source.close()
    server.close()
    await server.wait_closed()
