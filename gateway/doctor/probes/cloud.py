"""Asks the service and S3 for what does not exist, and boto3 for its credentials. Decides nothing."""

import asyncio
import secrets
import time
from collections.abc import Awaitable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from gateway.cloud import (
    ApiResponse,
    BotoTransport,
    CredentialInfo,
    CredentialSource,
    Transport,
    direct_address,
    on_response_date,
)
from gateway.config import Settings
from gateway.connections import EdgeManagerConnection
from gateway.doctor.checks.addresses import AddressResult
from gateway.doctor.checks.cloud import ModelStoreAnswer, ServiceAnswers
from gateway.doctor.probes.addresses import probe_addresses
from gateway.doctor.result import ProbeFailure
from gateway.errors import CloudError, FileError, redact_credentials
from gateway.files import s3_call
from gateway.protocol import Call, Device, GetDeployments, GetDeviceRegistration, Registration

T = TypeVar("T")


async def probe_service(service: EdgeManagerConnection, settings: Settings) -> ServiceAnswers | ProbeFailure:
    """One call of each operation that changes nothing, for a device that does not exist."""
    name = f"doctor-{secrets.token_hex(6)}"
    device = Device(name, name)
    calls: list[Call] = [GetDeviceRegistration(device)] if settings.ask_registration else []
    calls.append(GetDeployments(device, retryable=False))
    offsets: list[float] = []
    on_response_date(service.client, lambda date: offsets.extend(_clock_ahead(date, time.time())))
    (transport, _), boto = service.make_transport(settings.concurrency), BotoTransport(service.client, 1)
    try:
        async with asyncio.timeout((len(calls) + 1) * (settings.connect_timeout + settings.read_timeout)):
            answers = {type(call).__name__: await _call(transport, call) for call in calls}
            await _call(boto, calls[-1])  # for its Date alone
    except TimeoutError:
        return ProbeFailure(f"{service.url} does not answer in time")
    finally:
        transport.close()
        boto.close()
    errors = {call: answer if isinstance(answer, CloudError) else None for call, answer in answers.items()}
    registration = next((each.status for each in answers.values() if isinstance(each, Registration)), None)
    addresses = await _addresses(service.client)
    return ServiceAnswers(service.url, errors, registration, offsets[0] if offsets else None, addresses)


async def _addresses(client: Any) -> tuple[AddressResult, ...]:
    """Of the host of the endpoint of a boto3 client; none through a proxy, which resolves the name."""
    address = direct_address(client)
    try:
        return () if address is None else await probe_addresses(*address)
    except (OSError, TimeoutError):
        return ()  # the calls say it


async def _call(transport: Transport, call: Call) -> ApiResponse | CloudError:
    result: asyncio.Future[ApiResponse | CloudError] = asyncio.get_running_loop().create_future()
    transport.send(call, lambda answer: None if result.done() else result.set_result(answer))
    return await result


def _clock_ahead(date: str, now: float) -> list[float]:
    """The seconds by which our clock is ahead of a Date header; empty where it cannot be read."""
    try:
        return [now - parsedate_to_datetime(date).timestamp()]
    except ValueError:
        return []


async def probe_credentials(source: CredentialSource) -> CredentialInfo | CloudError | None:
    """As boto3 finds them, which may ask other services."""
    return await asyncio.to_thread(source.info)


async def probe_model_store(client: Any, settings: Settings, object_url: str | None) -> ModelStoreAnswer | ProbeFailure:
    """Ask S3 for the object (`s3://BUCKET/KEY`), of which nothing is read; without one for an object that does not
    exist."""
    url = object_url or f"s3://edge-gateway-doctor-{secrets.token_hex(6)}/model"
    endpoint = redact_credentials(client.meta.endpoint_url)
    try:
        seconds = 2 * (settings.connect_timeout + settings.read_timeout)
        asked = asyncio.to_thread(_get_object, client, url, endpoint, object_url)
        answer = await _within(asked, seconds, endpoint)
        return answer if isinstance(answer, ProbeFailure) else replace(answer, addresses=await _addresses(client))
    finally:
        client.close()


def _get_object(client: Any, url: str, endpoint: str, object_url: str | None) -> ModelStoreAnswer:
    try:
        answer = s3_call(client.get_object, url)
    except (CloudError, FileError) as error:
        return ModelStoreAnswer(endpoint, object_url, error)
    answer["Body"].close()
    return ModelStoreAnswer(endpoint, object_url, None, int(answer["ContentLength"]))


async def _within(work: Awaitable[T], seconds: float, what: str) -> T | ProbeFailure:
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError:
        return ProbeFailure(f"{what} did not end in {seconds:g} s")
