"""Connects to each address of a host name by TCP. Decides nothing."""

import asyncio
import socket

from gateway.doctor.checks.addresses import AddressResult

STEP_TIMEOUT = 5.0
"""Seconds that one step may take."""


async def probe_addresses(host: str, port: int) -> tuple[AddressResult, ...]:
    """Each, all at once. Raises OSError, TimeoutError where the name cannot be resolved."""
    async with asyncio.timeout(STEP_TIMEOUT):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return tuple(await asyncio.gather(*[_probe(each, port) for each in addresses]))


async def _probe(address: str, port: int) -> AddressResult:
    try:
        async with asyncio.timeout(STEP_TIMEOUT):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError) as error:
        return AddressResult(address, connect_problem(error), isinstance(error, TimeoutError))
    writer.transport.abort()
    return AddressResult(address)


def connect_problem(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    return getattr(error, "strerror", None) or str(error) or f"no answer in {STEP_TIMEOUT:g} s"
