"""Connects to the broker: TCP, TLS, then CONNECT of MQTT 5 under a client id of the doctor's own. Decides nothing."""

import asyncio
import secrets
import ssl
from collections.abc import Coroutine
from dataclasses import replace

from gateway.addresses import attempt_delay
from gateway.doctor.checks.connection import ConnectResult, Reachability, TlsFailure, TlsHandshake
from gateway.doctor.probes.addresses import STEP_TIMEOUT, connect_problem, probe_addresses
from gateway.errors import BrokerError, BrokerRefused
from gateway.mqtt import (
    MQTT_3_1_1,
    MQTT_5,
    BrokerEndpoint,
    ProbeClient,
    connack_code,
    speaks_mqtt,
)

SESSION_EXPIRY = 60
"""Seconds after which the broker ends a session of the doctor that the doctor could not end."""


def own_endpoint(endpoint: BrokerEndpoint, session_expiry: int = 0) -> BrokerEndpoint:
    """The gateway's endpoint with a new random client id."""
    client_id = f"edge-gateway-doctor-{secrets.token_hex(6)}"
    return replace(endpoint, client_id=client_id, session_expiry=session_expiry, timeout=STEP_TIMEOUT)


async def connect_tcp_tls(endpoint: BrokerEndpoint) -> Reachability:
    """TCP to each address, then TLS where the endpoint uses it."""
    host, port = endpoint.host, endpoint.port
    try:
        addresses = await probe_addresses(host, port)
    except (OSError, TimeoutError) as error:
        return Reachability(host, port, connect_problem(error))
    if all(each.problem for each in addresses):
        return Reachability(host, port, addresses[0].problem, addresses=addresses)
    if endpoint.tls is None:
        return Reachability(host, port, addresses=addresses)
    return Reachability(host, port, tls=await _handshake(host, port, endpoint.tls), addresses=addresses)


async def _handshake(host: str, port: int, tls: ssl.SSLContext) -> TlsHandshake | TlsFailure:
    try:
        async with asyncio.timeout(STEP_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port, ssl=tls, happy_eyeballs_delay=attempt_delay(host))
    except ssl.SSLCertVerificationError as error:
        return TlsFailure(error.verify_code, error.verify_message)
    except (OSError, TimeoutError) as error:
        return TlsFailure(0, connect_problem(error))
    try:
        connection = writer.get_extra_info("ssl_object")
        certificate = connection.getpeercert()
        return TlsHandshake(str(connection.version()), float(ssl.cert_time_to_seconds(certificate["notAfter"])))
    finally:
        writer.transport.abort()


async def connect_mqtt(endpoint: BrokerEndpoint) -> ConnectResult:
    """CONNECT as the gateway does, and leave no session behind."""
    own = own_endpoint(endpoint, endpoint.session_expiry)
    client = ProbeClient(own)
    try:
        await client.open()
        return ConnectResult(client.limits)
    except BrokerRefused as error:
        return ConnectResult(code=error.code, detail=str(error), mqtt_3_1_1=await _speaks_3_1_1(endpoint))
    except BrokerError as error:
        return ConnectResult(detail=str(error), mqtt_3_1_1=await _speaks_3_1_1(endpoint))
    finally:
        await finish_before_cancel(disconnect(client, own))


async def finish_before_cancel(work: Coroutine[None, None, None]) -> None:
    """Await `work` to its end, also where a Ctrl-C cancels the caller meanwhile; CancelledError is raised after it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def disconnect(client: ProbeClient, endpoint: BrokerEndpoint) -> None:
    """Close the connection, and end the session."""
    await client.close()
    if endpoint.session_expiry:
        await end_session(endpoint)


async def end_session(endpoint: BrokerEndpoint) -> None:
    """End the session of this client id, if the broker keeps one."""
    last = ProbeClient(replace(endpoint, session_expiry=0))
    try:
        await last.open()
    except BrokerError:
        pass  # it ends by its expiry
    finally:
        await last.close()


async def is_anonymous_allowed(endpoint: BrokerEndpoint, has_certificate: bool) -> bool | None:
    """Whether a client without a user name may connect; None where the gateway's certificate would be its name."""
    if has_certificate:
        return None
    code = await asyncio.to_thread(connack_code, endpoint.host, endpoint.port, MQTT_5, endpoint.tls, STEP_TIMEOUT)
    return code == 0


async def _speaks_3_1_1(endpoint: BrokerEndpoint) -> bool:
    return await asyncio.to_thread(speaks_mqtt, endpoint.host, endpoint.port, MQTT_3_1_1, endpoint.tls, STEP_TIMEOUT)
