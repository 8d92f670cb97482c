"""Sends blocks of model files, in turn to the devices that asked, under a limit for each and for all.

So a download never delays a heartbeat, and a device that stops asking costs nothing. Knows no S3; bytes are handed in.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.files.cache import Corrupted, VerifiedFile
from gateway.files.flow_control import CongestionControl
from gateway.mqtt.packets import FAILURE, NO_MATCHING_SUBSCRIBERS
from gateway.protocol import encoder
from gateway.protocol.messages import MAX_BLOCK_BYTES, MAX_BLOCKS, Read

DEVICE_WINDOW = 32
"""Unconfirmed blocks of a device at most."""
WINDOW_BYTES = 1_048_576
"""No block is sent while so many bytes are unconfirmed: an ack waits behind no more than that, and a block."""
READS_KEPT = 256
"""Reads of a device that wait at most; then the oldest is dropped, and the device asks again for what it misses."""
BYTES_KEPT = MAX_BLOCKS * MAX_BLOCK_BYTES
"""Bytes that wait for a device at most, one of the largest reads: a broker may have to keep them for a sleeper."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Request:
    file: VerifiedFile
    read: Read
    corrupted: Callable[[], None]
    sent: int = 0

    @property
    def offset(self) -> int:
        """Of the next block."""
        return self.read.offset + self.sent * self.read.length

    @property
    def bytes_left(self) -> int:
        return max(0, min((self.read.count - self.sent) * self.read.length, self.file.total - self.offset))


@dataclass(slots=True, eq=False)
class _Device:
    topic: str
    unconfirmed: int = 0
    has_turn: bool = False
    requests: dict[Read, _Request] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return bool(self.requests) and self.unconfirmed < DEVICE_WINDOW

    def queue(self, request: _Request) -> None:
        """In place of the oldest ones where it is too much. What waits already is not kept twice."""
        self.requests.setdefault(request.read, request)
        waits = sum(each.bytes_left for each in self.requests.values())
        while len(self.requests) > READS_KEPT or waits > BYTES_KEPT:
            waits -= self.requests.pop(next(iter(self.requests))).bytes_left


class BlockSender:
    """`publish(topic, payload, confirmed)` sends a block with QoS 1 and calls `confirmed` when the broker has it;
    `later(seconds, action)` acts after so many seconds."""

    def __init__(
        self,
        publish: Callable[[str, bytes, Callable[[int], None]], None],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._later = later
        self._clock = clock
        self._pace = CongestionControl()
        self._devices: dict[str, _Device] = {}
        self._turns: deque[_Device] = deque()
        self._unconfirmed = 0
        self._unconfirmed_bytes = 0
        self._rests = False

    def __repr__(self) -> str:
        return f"<BlockSender: {len(self._devices)} devices, {self._unconfirmed} unconfirmed>"

    def send(self, topic: str, file: VerifiedFile, read: Read, corrupted: Callable[[], None]) -> None:
        """Queue what `read` asks for, to be published on `topic`; `corrupted` is called where the disk fails."""
        device = self._devices.setdefault(topic, _Device(topic))
        device.queue(_Request(file, read, corrupted))
        self._take_turn(device)
        self._pump()

    def make_way(self) -> None:
        """Others are served: blocks go slower for a while."""
        self._pace.serves_others(self._clock())

    def _take_turn(self, device: _Device) -> None:
        """The last in the row; at most once."""
        if device.ready and not device.has_turn:
            device.has_turn = True
            self._turns.append(device)

    @property
    def _full(self) -> bool:
        return self._unconfirmed >= self._pace.window

    def _pump(self) -> None:
        while self._turns and not self._full and self._unconfirmed_bytes < WINDOW_BYTES and not self._resting():
            device = self._turns.popleft()
            device.has_turn = False
            if device.ready:
                self._send_next(device)
            self._take_turn(device)
            self._forget_idle(device)

    def _resting(self) -> bool:
        """Whether none may go now; then it goes on by itself."""
        seconds = 0.0 if self._rests else self._pace.rest(self._clock())
        if seconds > 0:
            self._rests = True
            self._later(seconds, self._rested)
        return self._rests

    def _rested(self) -> None:
        self._rests = False
        self._pump()

    def _send_next(self, device: _Device) -> None:
        read, request = next(iter(device.requests.items()))
        offset = request.offset
        try:
            data = request.file.read(offset, read.length)
        except (Corrupted, OSError):
            del device.requests[read]
            request.corrupted()
            return
        request.sent += 1
        if request.sent == read.count or offset + len(data) >= request.file.total:
            del device.requests[read]
        payload = encoder.encode_block(read.digest, read.index, offset, request.file.total, data)
        device.unconfirmed += 1
        self._unconfirmed += 1
        self._unconfirmed_bytes += len(payload)
        sent = self._clock()
        self._pace.sends(sent)
        self._publish(device.topic, payload, lambda reason: self._confirmed(device, len(payload), sent, reason))

    def _confirmed(self, device: _Device, size: int, sent: float, reason: int) -> None:
        self._pace.confirmed(sent, self._clock(), self._full)
        device.unconfirmed -= 1
        self._unconfirmed -= 1
        self._unconfirmed_bytes -= size
        if reason >= FAILURE and (device.requests or not device.unconfirmed):
            mend = "the broker refuses a block: its ACL must let the gateway write it"
            _log.error(mend, topic=device.topic, reason=reason)
        if reason >= FAILURE or reason == NO_MATCHING_SUBSCRIBERS:
            device.requests.clear()
        self._take_turn(device)
        self._forget_idle(device)
        self._pump()

    def _forget_idle(self, device: _Device) -> None:
        if not device.requests and not device.unconfirmed:
            self._devices.pop(device.topic, None)
