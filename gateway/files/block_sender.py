"""Publishes the blocks of model files: one block of each device in turn, with a limit for each device and for all.

Downloads must never delay heartbeats. A device that stops reading must leave no state here, and little at the broker.
It does not use S3.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.files.cache import Corrupted, VerifiedFile
from gateway.files.flow_control import CongestionControl, RepeatLimiter
from gateway.mqtt import FAILURE, NO_MATCHING_SUBSCRIBERS, explain
from gateway.protocol import MAX_BLOCK_BYTES, MAX_BLOCKS, Read, encode_block

DEVICE_WINDOW = 32
"""Unconfirmed blocks of one device, at most."""
WINDOW_BYTES = 1_048_576
"""With so many unconfirmed bytes no block is sent: an ack waits behind no more than that, and one block."""
MAX_QUEUED_READS = 256
"""Queued reads of one device. Above, the oldest is dropped: the device reads again what it misses."""
MAX_QUEUED_BYTES = MAX_BLOCKS * MAX_BLOCK_BYTES
"""Queued bytes of one device: one of the largest reads. A broker may have to keep them for a sleeping device."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _QueuedRead:
    file: VerifiedFile
    read: Read
    on_corrupted: Callable[[], None]
    on_refused: Callable[[str], None]
    sent: int = 0

    @property
    def offset(self) -> int:
        """Of the next block."""
        return self.read.offset + self.sent * self.read.length

    @property
    def bytes_left(self) -> int:
        return max(0, min((self.read.count - self.sent) * self.read.length, self.file.total - self.offset))


@dataclass(slots=True, eq=False)
class _Download:
    """Of one device. `in_turn`: it is in the queue of turns. `refused`: of its last read, a block was."""

    topic: str
    unconfirmed: int = 0
    in_turn: bool = False
    refused: bool = False
    reads: dict[Read, _QueuedRead] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return bool(self.reads) and self.unconfirmed < DEVICE_WINDOW

    def queue(self, queued: _QueuedRead) -> None:
        """A read that is queued already is not queued twice. Drops the oldest reads above the limits."""
        self.reads.setdefault(queued.read, queued)
        self.refused = False
        total = sum(each.bytes_left for each in self.reads.values())
        while len(self.reads) > MAX_QUEUED_READS or total > MAX_QUEUED_BYTES:
            total -= self.reads.pop(next(iter(self.reads))).bytes_left


class BlockSender:
    """`publish(topic, payload, on_confirmed)` publishes with QoS 1 and calls `on_confirmed(reason code)` at the PUBACK;
    `call_later(seconds, action)` as asyncio's; `on_published` is called for each block, and `on_refused` for each that
    the broker did not take."""

    def __init__(
        self,
        publish: Callable[[str, bytes, Callable[[int], None]], None],
        call_later: Callable[[float, Callable[[], None]], object],
        on_published: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._publish = publish
        self._call_later = call_later
        self._on_published, self._on_refused = on_published, on_refused
        self._clock = clock
        self._congestion = CongestionControl()
        self._repeats = RepeatLimiter()
        self._downloads: dict[str, _Download] = {}
        self._turns: deque[_Download] = deque()
        self._unconfirmed = 0
        self._unconfirmed_bytes = 0
        self._throttled = False

    def __repr__(self) -> str:
        return f"<BlockSender: {len(self._downloads)} devices, {self._unconfirmed} unconfirmed>"

    def send(
        self,
        topic: str,
        file: VerifiedFile,
        read: Read,
        on_corrupted: Callable[[], None],
        on_refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        """Queue the blocks of `read` for `topic`; `on_corrupted` is called if the disk fails, `on_refused` with the
        reason, once, if the broker does not take a block."""
        download = self._downloads.setdefault(topic, _Download(topic))
        download.queue(_QueuedRead(file, read, on_corrupted, on_refused))
        self._enqueue(download)
        self._pump()

    def yield_to_traffic(self) -> None:
        """There is other traffic: blocks are limited to a rate for a while."""
        self._congestion.note_traffic(self._clock())

    def _enqueue(self, download: _Download) -> None:
        """At the end of the turns, at most once."""
        if download.ready and not download.in_turn:
            download.in_turn = True
            self._turns.append(download)

    @property
    def _full(self) -> bool:
        return self._unconfirmed >= self._congestion.window

    def _pump(self) -> None:
        while self._turns and not self._full and self._unconfirmed_bytes < WINDOW_BYTES and not self._is_throttled():
            download = self._turns.popleft()
            download.in_turn = False
            if download.ready:
                self._send_next(download)
            self._enqueue(download)
            self._forget_idle(download)

    def _is_throttled(self) -> bool:
        """Whether no block may be sent now; a timer then calls `_pump`."""
        seconds = 0.0 if self._throttled else self._congestion.delay(self._clock())
        if seconds > 0:
            self._throttled = True
            self._call_later(seconds, self._on_delay_over)
        return self._throttled

    def _on_delay_over(self) -> None:
        self._throttled = False
        self._pump()

    def _send_next(self, download: _Download) -> None:
        read, queued = next(iter(download.reads.items()))
        offset, sent = queued.offset, self._clock()
        if not self._repeats.allows(download.topic, read, queued.file.total, sent):
            del download.reads[read]  # the device reads again
            return
        try:
            data = queued.file.read(offset, read.length)
        except (Corrupted, OSError):
            del download.reads[read]
            queued.on_corrupted()
            return
        queued.sent += 1
        if queued.sent == read.count or offset + len(data) >= queued.file.total:
            del download.reads[read]
        payload = encode_block(read.digest, read.index, offset, queued.file.total, data)
        download.unconfirmed += 1
        self._unconfirmed += 1
        self._unconfirmed_bytes += len(payload)
        self._congestion.on_sent(sent)
        self._repeats.on_sent(download.topic, read, len(payload), sent)
        self._publish(
            download.topic, payload, lambda reason: self._on_confirmed(download, queued, len(payload), sent, reason)
        )
        self._on_published()

    def _on_confirmed(self, download: _Download, queued: _QueuedRead, size: int, sent: float, reason: int) -> None:
        self._congestion.on_confirmed(sent, self._clock(), self._full)
        download.unconfirmed -= 1
        self._unconfirmed -= 1
        self._unconfirmed_bytes -= size
        if reason >= FAILURE:
            self._on_refused()
            if not download.refused:
                download.refused = True
                why = explain(reason)
                event = "the broker does not take a block of a model file: the download ends"
                _log.error(event, topic=download.topic, reason=why)
                queued.on_refused(why)
        if reason >= FAILURE or reason == NO_MATCHING_SUBSCRIBERS:
            download.reads.clear()
        self._enqueue(download)
        self._forget_idle(download)
        self._pump()

    def _forget_idle(self, download: _Download) -> None:
        if not download.reads and not download.unconfirmed:
            self._downloads.pop(download.topic, None)
