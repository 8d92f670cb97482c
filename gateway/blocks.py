"""Sends blocks of model files, in turn to the devices that asked, under a limit for each and for all.

So a download never delays a heartbeat, and a device that stops asking costs nothing. Knows no S3; bytes are handed in.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway import codec
from gateway.messages import Read
from gateway.modelcache import Corrupted, VerifiedFile
from gateway.pace import Pace

DEVICE_WINDOW = 32
"""Unconfirmed blocks of a device at most."""
WINDOW_BYTES = 1_048_576
"""No block is sent while so many bytes are unconfirmed: an ack waits behind no more than that, and a block."""
FAILURE = 0x80
"""MQTT 5: reason codes from here on are refusals."""
READS_KEPT = 1024
"""Reads of a device that wait at most; then the oldest is dropped, and the device asks again for what it misses."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Request:
    file: VerifiedFile
    read: Read
    corrupted: Callable[[], None]
    sent: int = 0


@dataclass(slots=True, eq=False)
class _Device:
    topic: str
    unconfirmed: int = 0
    has_turn: bool = False
    requests: deque[_Request] = field(default_factory=deque)

    @property
    def ready(self) -> bool:
        return bool(self.requests) and self.unconfirmed < DEVICE_WINDOW


class BlockSender:
    """`publish(topic, payload, confirmed)` sends a block with QoS 1 and calls `confirmed` when the broker has it."""

    def __init__(
        self,
        publish: Callable[[str, bytes, Callable[[int], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._pace = Pace()
        self._devices: dict[str, _Device] = {}
        self._turns: deque[_Device] = deque()
        self._unconfirmed = 0
        self._unconfirmed_bytes = 0

    def __repr__(self) -> str:
        return f"<BlockSender: {len(self._devices)} devices, {self._unconfirmed} unconfirmed>"

    def send(self, topic: str, file: VerifiedFile, read: Read, corrupted: Callable[[], None]) -> None:
        """Queue what `read` asks for, to be published on `topic`; `corrupted` is called where the disk fails."""
        device = self._devices.setdefault(topic, _Device(topic))
        if len(device.requests) == READS_KEPT:
            device.requests.popleft()
        device.requests.append(_Request(file, read, corrupted))
        self._take_turn(device)
        self._pump()

    def _take_turn(self, device: _Device) -> None:
        """The last in the row; at most once."""
        if device.ready and not device.has_turn:
            device.has_turn = True
            self._turns.append(device)

    @property
    def _full(self) -> bool:
        return self._unconfirmed >= self._pace.window

    def _pump(self) -> None:
        while self._turns and not self._full and self._unconfirmed_bytes < WINDOW_BYTES:
            device = self._turns.popleft()
            device.has_turn = False
            if device.ready:
                self._send_next(device)
            self._take_turn(device)
            self._forget_idle(device)

    def _send_next(self, device: _Device) -> None:
        request = device.requests[0]
        read = request.read
        offset = read.offset + request.sent * read.length
        try:
            data = request.file.read(offset, read.length)
        except (Corrupted, OSError):
            device.requests.popleft()
            request.corrupted()
            return
        request.sent += 1
        if request.sent == read.count or offset + len(data) >= request.file.total:
            device.requests.popleft()
        payload = codec.block(read.digest, read.index, offset, request.file.total, data)
        device.unconfirmed += 1
        self._unconfirmed += 1
        self._unconfirmed_bytes += len(payload)
        sent = self._clock()
        self._publish(device.topic, payload, lambda reason: self._confirmed(device, len(payload), sent, reason))

    def _confirmed(self, device: _Device, size: int, sent: float, reason: int) -> None:
        self._pace.confirmed(sent, self._clock(), self._full)
        device.unconfirmed -= 1
        self._unconfirmed -= 1
        self._unconfirmed_bytes -= size
        if reason >= FAILURE:
            device.requests.clear()
            _log.error(
                "the broker refuses a block: its ACL must let the gateway write it", topic=device.topic, reason=reason
            )
        self._take_turn(device)
        self._forget_idle(device)
        self._pump()

    def _forget_idle(self, device: _Device) -> None:
        if not device.requests and not device.unconfirmed:
            self._devices.pop(device.topic, None)
