"""Asks the service and the model store for what does not exist, and boto3 for its credentials. Decides nothing."""

import asyncio
import secrets
import time
from collections.abc import Awaitable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from gateway import connections
from gateway.cloud import boto_transport
from gateway.cloud.boto_transport import BotoTransport, CredentialInfo
from gateway.cloud.client import Transport
from gateway.cloud.serializer import ApiResponse
from gateway.config import Settings
from gateway.doctor.facts import Fault, ModelStore, Service
from gateway.errors import CloudError, FileError
from gateway.files import fetcher
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import Call, GetDeployments, GetDeviceRegistration, Registration

Fact = TypeVar("Fact")


async def ask_service(service: connections.EdgeManagerConnection, settings: Settings) -> Service | Fault:
    """One call of each kind that changes nothing, for a device that nobody has."""
    name = f"doctor-{secrets.token_hex(6)}"
    device = Device(name, name)
    calls: list[Call] = [GetDeviceRegistration(device)] if settings.ask_registration else []
    calls.append(GetDeployments(device, retryable=False))
    dates: list[float] = []
    boto_transport.on_response_date(service.client, lambda date: dates.extend(_ahead(date, time.time())))
    (lane, _), plain = service.lane(settings.concurrency), BotoTransport(service.client, 1)
    try:
        async with asyncio.timeout((len(calls) + 1) * (settings.connect_timeout + settings.read_timeout)):
            answers = {type(call).__name__: await _answer(lane, call) for call in calls}
            await _answer(plain, calls[-1])  # for its Date alone
    except TimeoutError:
        return Fault(f"{service.url} does not answer in time")
    finally:
        lane.close()
        plain.close()
    faults = {call: answer if isinstance(answer, CloudError) else None for call, answer in answers.items()}
    words = [answer.status for answer in answers.values() if isinstance(answer, Registration)]
    return Service(service.url, faults, words[0] if words else None, dates[0] if dates else None)


async def _answer(lane: Transport, call: Call) -> ApiResponse | CloudError:
    answered: asyncio.Future[ApiResponse | CloudError] = asyncio.get_running_loop().create_future()
    lane.send(call, lambda answer: None if answered.done() else answered.set_result(answer))
    return await answered


def _ahead(date: str, now: float) -> list[float]:
    """The seconds by which we are ahead of a Date header; nothing where it cannot be read."""
    try:
        return [now - parsedate_to_datetime(date).timestamp()]
    except ValueError:
        return []


async def find_credentials(session: Any) -> CredentialInfo | CloudError | Fault | None:
    """As boto3 finds them, which may mean to ask other services."""
    return await _in_time(
        asyncio.to_thread(boto_transport.credential_info, session), 30.0, "boto3's search for credentials"
    )


async def ask_model_store(client: Any, settings: Settings, asked: str | None) -> ModelStore | Fault:
    """S3 for the file at `asked` (`s3://BUCKET/KEY`), of which nothing is read; else for one that does not exist."""
    url = asked or f"s3://edge-gateway-doctor-{secrets.token_hex(6)}/model"
    where = connections.without_login(client.meta.endpoint_url)
    try:
        patience = 2 * (settings.connect_timeout + settings.read_timeout)
        return await _in_time(asyncio.to_thread(_read, client, url, where, asked), patience, where)
    finally:
        client.close()


def _read(client: Any, url: str, where: str, asked: str | None) -> ModelStore:
    try:
        answer = fetcher.ask(client.get_object, url)
    except (CloudError, FileError) as fault:
        return ModelStore(where, asked, fault)
    answer["Body"].close()
    return ModelStore(where, asked, None, int(answer["ContentLength"]))


async def _in_time(found: Awaitable[Fact], seconds: float, who: str) -> Fact | Fault:
    try:
        return await asyncio.wait_for(found, seconds)
    except TimeoutError:
        return Fault(f"{who} did not end in {seconds:g} s")
