"""Tries as the doctor's device what devices may do and what they may not. Decides nothing.

The device is `doctor/probe`: `edge-gateway devices init` makes it, and it is registered at no manager. An empty
retained hello means that there is none, so a running gateway ignores it; nothing is published on hb, get or read, which
the gateway would answer. It must never connect as any other device: the broker would disconnect that one.
"""

import asyncio
import base64
import secrets
import ssl
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

from gateway.doctor.checks.connection import NOT_AUTHORIZED, TlsFailure
from gateway.doctor.checks.device import DeviceTrial, NotTried, Obstacle
from gateway.doctor.probes.addresses import STEP_TIMEOUT
from gateway.doctor.probes.broker import attempt, connected_client
from gateway.doctor.probes.connection import connect_tcp_tls
from gateway.doctor.result import ProbeFailure
from gateway.errors import BrokerError, BrokerRefused, Code, ProvisioningError
from gateway.mqtt import FAILURE, BrokerEndpoint, ProbeClient
from gateway.protocol import Ack, Channel, encode_ack
from gateway.provisioning import PROBE, BoardFile

OTHERS = ("doctor/other", "doctor/prob", "doctor/probe2", "doctor2/probe")
"""Devices that do not exist: another one, and three with a similar name."""


async def probe_device(board_file: Path, gateway: BrokerEndpoint, root: str) -> DeviceTrial | NotTried:
    """By the board file; `gateway` publishes what the device may read."""
    try:
        board = BoardFile.from_json(await asyncio.to_thread(board_file.read_bytes), PROBE)
        endpoint = board_endpoint(board)
    except FileNotFoundError:
        return NotTried(Obstacle.NO_BOARD_FILE, str(board_file))
    except (OSError, ProvisioningError) as error:
        return NotTried(Obstacle.BOARD_FILE_UNUSABLE, f"{board_file}: {getattr(error, 'strerror', None) or error}")
    address = f"{board.host}:{board.port}"
    reached = await connect_tcp_tls(endpoint)
    if reached.problem:
        return NotTried(Obstacle.NOT_REACHED, f"{address}: {reached.problem}")
    if isinstance(reached.tls, TlsFailure):
        return NotTried(Obstacle.NO_TLS, f"{address}: {reached.tls.detail}")
    trial = await attempt(_try(board, endpoint, gateway, root))
    return NotTried(Obstacle.INTERRUPTED, f"{address}: {trial.detail}") if isinstance(trial, ProbeFailure) else trial


def board_endpoint(board: BoardFile) -> BrokerEndpoint:
    """How this board connects. Raises ProvisioningError where it has no credential, or none that TLS can use."""
    if board.kind is None:
        raise ProvisioningError("it holds no password, nor a certificate with its key")
    tls = None
    try:
        if board.ca is not None:
            tls = ssl.create_default_context(cadata=board.ca)
            if board.kind == "certificate":
                _load_certificate(tls, board)
    except (ssl.SSLError, ValueError) as error:
        raise ProvisioningError(f"its certificates cannot be used ({error})") from error
    user = str(board.device) if board.password is not None else None
    return BrokerEndpoint(board.host, board.port, "", user, board.password, tls)


def _load_certificate(context: ssl.SSLContext, board: BoardFile) -> None:
    """OpenSSL loads a certificate from a file alone, here one that only this user can read."""
    key = base64.encodebytes(board.key or b"").decode("ascii")
    pem = f"{ssl.DER_cert_to_PEM_cert(board.cert or b'')}-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n"
    with NamedTemporaryFile() as file:
        file.write(pem.encode("ascii"))
        file.flush()
        context.load_cert_chain(file.name)


async def _try(board: BoardFile, own: BrokerEndpoint, gateway: BrokerEndpoint, root: str) -> DeviceTrial | NotTried:
    user = str(board.device)
    try:
        async with connected_client(gateway) as publisher, connected_client(own) as device:
            code = await device.publish(f"{root}/{user}/{Channel.HELLO}", b"", retain=True)
            received, read = await _receive_acks(device, publisher, root, user)
        hellos = [f"{root}/{other}/{Channel.HELLO}" for other in OTHERS]
        written = [topic for topic in hellos if await _can_write(own, topic)]
        joins = await _can_join_group(own, root)
        return DeviceTrial(user, board.host, board.port, code, received, tuple(written), tuple(read), joins)
    except BrokerRefused as error:
        obstacle = Obstacle.LOGIN if error.code in NOT_AUTHORIZED else Obstacle.INTERRUPTED
        return NotTried(obstacle, f"{board.host}:{board.port}: {error}")


async def _receive_acks(
    device: ProbeClient, publisher: ProbeClient, root: str, user: str
) -> tuple[bool | None, list[str]]:
    """Whether the device's own ack arrives (None: none could be published), and which others' did before it."""
    *others, own = (f"{root}/{each}/{Channel.ACK}" for each in (*OTHERS, user))
    ack = encode_ack(Ack(None, Code.ACCEPTED, int(time.time())))
    for topic in (*others, own):
        await device.subscribe(topic)
    for topic in others:
        await publisher.publish(topic, ack)
    if await publisher.publish(own, ack) >= FAILURE:
        return None, []
    read: list[str] = []
    while message := await device.receive(STEP_TIMEOUT / 2):
        device.ack(message)
        if message.topic == own:
            return True, read
        read.append(message.topic)
    return False, read


async def _can_join_group(own: BrokerEndpoint, root: str) -> bool:
    """Whether the broker grants a shared subscription of all heartbeats, under a name that no gateway uses."""
    async with connected_client(own) as device:
        try:
            return (
                await device.subscribe(f"$share/{secrets.token_urlsafe(16)}/{root}/+/+/{Channel.HEARTBEAT}") < FAILURE
            )
        except BrokerError:
            return False


async def _can_write(own: BrokerEndpoint, topic: str) -> bool:
    """Whether the broker accepts an empty retained message.

    Some brokers close the connection to refuse it, and a client publishes what was not confirmed again on its next
    connection. So each topic has a connection of its own.
    """
    async with connected_client(own) as device:
        try:
            return await device.publish(topic, b"", retain=True) < FAILURE
        except BrokerError:
            return False
