"""Tries as a device of the doctor's own what devices may do and what they may not. Decides nothing.

The device is `doctor/probe`: `edge-gateway devices init` makes it, and no manager knows it. An empty retained hello
says that there is none, so a gateway that runs takes no notice; nothing goes to hb, get or read, which it would answer.
It must never connect as any other device: the broker would throw that one out.
"""

import asyncio
import base64
import ssl
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

from gateway.doctor.facts import AsDevice, Fault, NotTried, Obstacle, TlsFault
from gateway.doctor.probe_broker import REFUSED, connected, tried
from gateway.doctor.probe_way import PATIENCE, approach
from gateway.errors import BrokerError, BrokerRefused, Code, ProvisioningError
from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.probe_client import ProbeClient
from gateway.protocol import codec
from gateway.protocol.messages import Ack
from gateway.protocol.topics import Channel
from gateway.provisioning.board_file import BoardFile
from gateway.provisioning.device_names import PROBE

OTHERS = ("doctor/other", "doctor/prob", "doctor/probe2", "doctor2/probe")
"""Devices that nobody has: another one, and three whose names begin alike."""
LOGIN = (0x86, 0x87)
"""MQTT 5: bad user name or password, not authorized."""


async def try_as_device(board: Path, gateway: BrokerEndpoint, root: str) -> AsDevice | NotTried:
    """By the board file at `board`; `gateway` is the way of the gateway, which publishes what the device may read."""
    try:
        found = BoardFile.from_json(await asyncio.to_thread(board.read_bytes), PROBE)
        device = endpoint(found)
    except FileNotFoundError:
        return NotTried(Obstacle.NO_BOARD, str(board))
    except (OSError, ProvisioningError) as error:
        return NotTried(Obstacle.NO_BOARD_TO_US, f"{board}: {getattr(error, 'strerror', None) or error}")
    where = f"{found.host}:{found.port}"
    way = await approach(device)
    if way.fault:
        return NotTried(Obstacle.NOT_REACHED, f"{where}: {way.fault}")
    if isinstance(way.tls, TlsFault):
        return NotTried(Obstacle.NO_TLS, f"{where}: {way.tls.detail}")
    trial = await tried(_trial(found, device, gateway, root))
    return NotTried(Obstacle.BROKE, f"{where}: {trial.detail}") if isinstance(trial, Fault) else trial


def endpoint(board: BoardFile) -> BrokerEndpoint:
    """Where and as whom this board connects. Raises ProvisioningError without a usable credential."""
    if board.kind is None:
        raise ProvisioningError("it holds no password, nor a certificate with its key")
    tls = None
    try:
        if board.ca is not None:
            tls = ssl.create_default_context(cadata=board.ca)
            if board.kind == "certificate":
                _show(tls, board)
    except (ssl.SSLError, ValueError) as error:
        raise ProvisioningError(f"its certificates cannot be used ({error})") from error
    user = str(board.device) if board.password is not None else None
    return BrokerEndpoint(board.host, board.port, "", user, board.password, tls)


def _show(context: ssl.SSLContext, board: BoardFile) -> None:
    """Have the context show the board's certificate. OpenSSL takes it from a file alone, which only we can read."""
    key = base64.encodebytes(board.key or b"").decode("ascii")
    pem = f"{ssl.DER_cert_to_PEM_cert(board.cert or b'')}-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n"
    with NamedTemporaryFile() as file:
        file.write(pem.encode("ascii"))
        file.flush()
        context.load_cert_chain(file.name)


async def _trial(board: BoardFile, way: BrokerEndpoint, gateway: BrokerEndpoint, root: str) -> AsDevice | NotTried:
    user = str(board.device)
    try:
        async with connected(gateway) as sender, connected(way) as device:
            code = await device.publish(f"{root}/{user}/{Channel.HELLO}", b"", retain=True)
            heard, read = await _listen(device, sender, root, user)
        hellos = [f"{root}/{other}/{Channel.HELLO}" for other in OTHERS]
        wrote = [topic for topic in hellos if await _writes(way, topic)]
        return AsDevice(user, board.host, board.port, code, heard, tuple(wrote), tuple(read))
    except BrokerRefused as error:
        obstacle = Obstacle.LOGIN if error.code in LOGIN else Obstacle.BROKE
        return NotTried(obstacle, f"{board.host}:{board.port}: {error}")


async def _listen(device: ProbeClient, sender: ProbeClient, root: str, user: str) -> tuple[bool | None, list[str]]:
    """Whether its own ack arrives (None: none could be sent), and which others' did before it."""
    *others, own = (f"{root}/{each}/{Channel.ACK}" for each in (*OTHERS, user))
    receipt = codec.ack(Ack(None, Code.ACCEPTED, int(time.time())))
    for topic in (*others, own):
        await device.subscribe(topic)
    for topic in others:
        await sender.publish(topic, receipt)
    if await sender.publish(own, receipt) >= REFUSED:
        return None, []
    read: list[str] = []
    while message := await device.hear(PATIENCE / 2):
        device.ack(message)
        if message.topic == own:
            return True, read
        read.append(message.topic)
    return False, read


async def _writes(way: BrokerEndpoint, topic: str) -> bool:
    """Whether the broker takes an empty retained message there.

    Some close the connection to say no. So each topic has one of its own: what was not confirmed is sent again on the
    next connection of a client.
    """
    async with connected(way) as device:
        try:
            return await device.publish(topic, b"", retain=True) < REFUSED
        except BrokerError:
            return False
