"""Goes the way to the broker, TCP and then TLS, and enters by MQTT 5. Decides nothing."""

import asyncio
import secrets
import ssl
from collections.abc import Coroutine
from dataclasses import replace

from gateway.doctor.facts import Announced, Entry, Tls, TlsFault, Way
from gateway.errors import BrokerError, BrokerRefused
from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.probe import MQTT_3_1_1, MQTT_5, answers, connack
from gateway.mqtt.probe_client import ProbeClient

PATIENCE = 5.0
"""Seconds that one step may take."""
SESSION = 60
"""Seconds after which the broker forgets a session of ours that we could not end."""


def visiting(endpoint: BrokerEndpoint, session_expiry: int = 0) -> BrokerEndpoint:
    """The gateway's endpoint with a client id of our own, drawn now."""
    client_id = f"edge-gateway-doctor-{secrets.token_hex(6)}"
    return replace(endpoint, client_id=client_id, session_expiry=session_expiry, timeout=PATIENCE)


async def approach(endpoint: BrokerEndpoint) -> Way:
    """TCP, then TLS where the endpoint speaks it."""
    host, port = endpoint.host, endpoint.port
    try:
        await _connect(host, port, None)
    except (OSError, TimeoutError) as error:
        return Way(host, port, _why(error))
    if endpoint.tls is None:
        return Way(host, port)
    try:
        return Way(host, port, tls=await _connect(host, port, endpoint.tls))
    except ssl.SSLCertVerificationError as error:
        return Way(host, port, tls=TlsFault(error.verify_code, error.verify_message))
    except (OSError, TimeoutError) as error:
        return Way(host, port, tls=TlsFault(0, _why(error)))


async def _connect(host: str, port: int, tls: ssl.SSLContext | None) -> Tls | None:
    """What TLS is there. Raises OSError and TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        found = writer.get_extra_info("ssl_object")
        if found is None:
            return None
        certificate = found.getpeercert()
        return Tls(str(found.version()), float(ssl.cert_time_to_seconds(certificate["notAfter"])))
    finally:
        writer.transport.abort()


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    return str(error) or f"no answer in {PATIENCE:g} s"


async def enter(endpoint: BrokerEndpoint) -> Entry:
    """CONNECT as the gateway does, under a client id of our own, and leave no session behind."""
    here = visiting(endpoint, endpoint.session_expiry)
    visitor = ProbeClient(here)
    try:
        await visitor.open()
        return Entry(_announced(visitor.announced))
    except BrokerRefused as error:
        return Entry(code=error.code, detail=str(error), older=await _is_older(endpoint))
    except BrokerError as error:
        return Entry(detail=str(error), older=await _is_older(endpoint))
    finally:
        await to_its_end(leave(visitor, here))


async def to_its_end(work: Coroutine[None, None, None]) -> None:
    """Whatever takes something back is not cut short by a Ctrl-C that comes meanwhile; that has its effect then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def leave(visitor: ProbeClient, endpoint: BrokerEndpoint) -> None:
    """Close the connection, and end the session."""
    await visitor.close()
    if endpoint.session_expiry:
        await forget(endpoint)


async def forget(endpoint: BrokerEndpoint) -> None:
    """End the session of this client id, if the broker keeps it."""
    last = ProbeClient(replace(endpoint, session_expiry=0))
    try:
        await last.open()
    except BrokerError:
        pass  # it ends by its expiry
    finally:
        await last.close()


async def is_nameless_let_in(endpoint: BrokerEndpoint, has_certificate: bool) -> bool | None:
    """Whether a client without a name is; None where our certificate would be its name."""
    if has_certificate:
        return None
    code = await asyncio.to_thread(connack, endpoint.host, endpoint.port, MQTT_5, endpoint.tls, PATIENCE)
    return code == 0


async def _is_older(endpoint: BrokerEndpoint) -> bool:
    return await asyncio.to_thread(answers, endpoint.host, endpoint.port, MQTT_3_1_1, endpoint.tls, PATIENCE)


def _announced(properties: dict[str, object]) -> Announced:
    """By the names of MQTT 5; what is absent has MQTT 5's default."""
    largest, expiry = properties.get("MaximumPacketSize"), properties.get("SessionExpiryInterval")
    return Announced(
        session_expiry=expiry if isinstance(expiry, int) else None,
        maximum_qos=int(str(properties.get("MaximumQoS", 2))),
        retain=properties.get("RetainAvailable") != 0,
        wildcards=properties.get("WildcardSubscriptionAvailable") != 0,
        shared=properties.get("SharedSubscriptionAvailable") != 0,
        largest_packet=largest if isinstance(largest, int) else None,
    )
