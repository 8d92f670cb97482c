"""Deletes what the broker keeps for devices that are removed: plan, hello and what they said last on `live`.

It must never use the gateway's client id: the broker would end the gateway's connection.
"""

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path

from gateway.config import BrokerUrl
from gateway.errors import BrokerError, ProvisioningError
from gateway.mqtt import FAILURE, BrokerEndpoint, ProbeClient, explain
from gateway.protocol import Channel, Device, Topics

RETAINED = (Channel.PLAN, Channel.HELLO, Channel.LIVE)


def broker_endpoint(url: str, site: Path) -> BrokerEndpoint:
    """The broker at `url`, by the gateway's user and password of the site where the URL has none.

    Raises ProvisioningError where one of both cannot be used.
    """
    try:
        broker = BrokerUrl.parse(url)
        password = broker.password or (site / "gateway" / "password").read_text().strip()
        tls = ssl.create_default_context(cafile=site / "gateway" / "ca.pem") if broker.tls else None
    except (ValueError, OSError) as error:
        raise ProvisioningError(f"--mqtt-url: {error}") from error
    client_id = f"devices-remove-{secrets.token_hex(4)}"
    return BrokerEndpoint(broker.host, broker.port, client_id, broker.username or "gateway", password, tls)


def delete_retained(endpoint: BrokerEndpoint, root: str, devices: Sequence[Device]) -> None:
    """Raises ProvisioningError where the broker cannot be reached or refuses it."""
    try:
        asyncio.run(_delete(endpoint, root, devices))
    except BrokerError as error:
        todo = "the devices are removed; repeat the command, or the gateway deletes that later"
        raise ProvisioningError(f"what the broker keeps for them is not deleted: {error}; {todo}") from error


async def _delete(endpoint: BrokerEndpoint, root: str, devices: Sequence[Device]) -> None:
    client, topics = ProbeClient(endpoint), Topics(root)
    await client.open()
    try:
        for device in devices:
            for channel in RETAINED:
                topic = topics.format(device, channel)
                reason = await client.publish(topic, b"", retain=True)
                if reason >= FAILURE:
                    raise BrokerError(f"{topic}: {explain(reason)}; let the gateway's user write it")
    finally:
        await client.close()
