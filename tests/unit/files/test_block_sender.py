"""Blocks are sent in turn: windows for a device and for all, fairness, no state of a device that stopped reading."""

from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.file_reads import TOTAL_BYTES, block_overhead
from gateway.files import block_sender, flow_control
from gateway.files.block_sender import BlockSender
from gateway.files.cache import FileCache, VerifiedFile
from gateway.ops.metrics import Counter as Counts
from gateway.protocol import encoder
from gateway.protocol.messages import MAX_BLOCK_BYTES, Read
from tests.unit.files.model_files import named, pattern

CONTENT = pattern(100_000)


class Broker:
    """The broker's side: what was published and is not confirmed yet."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[object]]] = []
        self.unconfirmed: deque[tuple[str, Callable[[int], None]]] = deque()
        self.published = Counts()
        self.actions: list[tuple[float, Callable[[], None]]] = []

    def publish(self, topic: str, payload: bytes, then: Callable[[int], None]) -> None:
        self.sent.append((topic, msgpack.unpackb(payload)))
        self.unconfirmed.append((topic, then))

    def confirm(self, count: int = 1, reason: int = 0) -> None:
        for _ in range(count):
            self.unconfirmed.popleft()[1](reason)

    def confirm_all(self) -> None:
        while self.unconfirmed:
            self.confirm()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.actions.append((seconds, action))

    def blocks(self, topic: str = "a") -> list[list[object]]:
        return [block for to, block in self.sent if to == topic]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def sender(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> BlockSender:
    """The broker confirms in no time: all devices have the whole window."""
    monkeypatch.setattr(flow_control, "START_WINDOW", flow_control.MAX_WINDOW)
    return BlockSender(broker.publish, broker.later, broker.published.inc, lambda: 0.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> VerifiedFile:
    cache = FileCache(tmp_path_factory.mktemp("cache"), 1 << 20)
    return cache.put(named(CONTENT), len(CONTENT), [CONTENT])


def never() -> None:
    raise AssertionError("the disk is right")


def is_empty(sender: BlockSender) -> bool:
    return repr(sender) == "<BlockSender: 0 devices, 0 unconfirmed>"


@given(offset=st.integers(0, 100_100), length=st.integers(1, 65_536), count=st.integers(1, 64))
@settings(max_examples=200)
def test_the_blocks_are_those_of_the_read(offset: int, length: int, count: int, file: VerifiedFile) -> None:
    broker = Broker()
    sender = BlockSender(broker.publish, broker.later, broker.published.inc)
    sender.send("a", file, Read(5, 2, offset, length, count), never)
    broker.confirm_all()
    starts = [offset + number * length for number in range(count) if number == 0 or offset + number * length < 100_000]
    assert broker.blocks() == [[5, 2, start, 100_000, CONTENT[start : start + length]] for start in starts]
    assert is_empty(sender)


@pytest.mark.parametrize("offset", [100_000, 100_001, 2**32, 2**63])
@pytest.mark.parametrize("count", [1, 64])
def test_at_or_past_the_end_one_empty_block(
    offset: int, count: int, sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    sender.send("a", file, Read(5, 0, offset, 512, count), never)
    assert broker.blocks() == [[5, 0, offset, 100_000, b""]]


def test_an_empty_file_is_one_empty_block(sender: BlockSender, broker: Broker, tmp_path: Path) -> None:
    empty = FileCache(tmp_path, 10).put(named(b""), 0, [])
    sender.send("a", empty, Read(5, 0, 0, 512, 8), never)
    assert broker.blocks() == [[5, 0, 0, 0, b""]]


@pytest.mark.parametrize("digest", [1, 200, 0x3FFFFFFF])
@pytest.mark.parametrize("index", [0, 99, 128])
@pytest.mark.parametrize(
    ("length", "count", "offset", "total"),
    [
        (100, 1, 0, 100),
        (255, 1, 0, 255),
        (256, 1, 127, 383),
        (992, 4, 128, 80_824),
        (MAX_BLOCK_BYTES, 2, 1 << 16, 1 << 31),
    ],
)
def test_the_size_that_a_read_is_checked_by_is_that_of_its_blocks(
    digest: int, index: int, length: int, count: int, offset: int, total: int
) -> None:
    """But for the file's size, which is not known then: of that, at most."""
    read = Read(digest, index, offset, length, count)
    last = encoder.encode_block(digest, index, offset + length * (count - 1), total, bytes(length))
    size = len(encoder.encode_block(0, 0, 0, total, b"")) - len(encoder.encode_block(0, 0, 0, 0, b"")) + 1
    assert len(last) == length + block_overhead(read) - TOTAL_BYTES + size


def test_a_device_has_its_window(sender: BlockSender, broker: Broker, file: VerifiedFile) -> None:
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    assert len(broker.sent) == block_sender.DEVICE_WINDOW
    broker.confirm(3)
    assert len(broker.sent) == block_sender.DEVICE_WINDOW + 3
    broker.confirm_all()
    assert len(broker.sent) == 64


def test_all_devices_have_a_window(sender: BlockSender, broker: Broker, file: VerifiedFile) -> None:
    for number in range(20):
        sender.send(str(number), file, Read(5, 0, 0, 100, 64), never)
    assert len(broker.unconfirmed) == flow_control.MAX_WINDOW
    broker.confirm(10)
    assert len(broker.unconfirmed) == len(broker.sent) - 10 == flow_control.MAX_WINDOW
    broker.confirm_all()
    assert Counter(topic for topic, _ in broker.sent) == {str(number): 64 for number in range(20)}
    assert broker.published.value == 20 * 64
    assert is_empty(sender)


def test_a_broker_that_confirms_slowly_gets_a_small_window(broker: Broker, file: VerifiedFile) -> None:
    now = [0.0]
    sender = BlockSender(broker.publish, broker.later, broker.published.inc, lambda: now[0])
    for number in range(20):
        sender.send(str(number), file, Read(5, 0, 0, 100, 64), never)
    for slow in range(400):
        now[0] += 0.001 * slow
        broker.confirm()
    assert len(broker.unconfirmed) == flow_control.MIN_WINDOW


def test_while_there_is_traffic_blocks_are_limited_to_a_rate_and_a_timer_sends_them(
    broker: Broker, file: VerifiedFile
) -> None:
    now = [100.0]
    sender = BlockSender(broker.publish, broker.later, broker.published.inc, lambda: now[0])
    for number in range(10):
        sender.yield_to_traffic()
        sender.send(str(number), file, Read(5, 0, 0, 100, 64), never)
    assert 0 < len(broker.sent) <= flow_control.BURST + 1
    for step in range(1, 501):
        now[0] = 100.0 + step / 1000
        sender.yield_to_traffic()
        broker.confirm_all()
        for _, action in [broker.actions.pop() for _ in range(len(broker.actions))]:
            action()
    assert len(broker.sent) == 640
    assert not broker.unconfirmed


def test_without_traffic_there_is_no_rate(broker: Broker, file: VerifiedFile) -> None:
    now = [100.0]
    sender = BlockSender(broker.publish, broker.later, broker.published.inc, lambda: now[0])
    sender.yield_to_traffic()
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    early = len(broker.sent)
    now[0] += flow_control.TRAFFIC_PERIOD
    ((_, action),) = broker.actions
    action()
    broker.confirm_all()
    assert (early < 64, len(broker.sent)) == (True, 64)


def test_large_blocks_are_bounded_in_bytes(sender: BlockSender, broker: Broker, tmp_path: Path) -> None:
    content = pattern(64 * MAX_BLOCK_BYTES)
    large = FileCache(tmp_path, len(content)).put(named(content), len(content), [content])
    for topic in "abcd":
        sender.send(topic, large, Read(5, 0, 0, MAX_BLOCK_BYTES, 64), never)
    assert len(broker.unconfirmed) == block_sender.WINDOW_BYTES // MAX_BLOCK_BYTES
    broker.confirm_all()
    assert len(broker.sent) == 4 * 64


def test_the_turns_are_fair(sender: BlockSender, broker: Broker, file: VerifiedFile) -> None:
    """A device that reads one block waits for one block of each other device, not for all of theirs."""
    for number in range(20):
        sender.send(f"busy-{number}", file, Read(5, 0, 0, 100, 64), never)
    sender.send("late", file, Read(5, 0, 0, 100), never)
    sent_before = len(broker.sent)
    broker.confirm(21)
    between = [topic for topic, _ in broker.sent[sent_before:]]
    assert "late" in between
    assert max(Counter(between).values()) <= 2


def test_reads_of_a_device_are_answered_in_their_order(sender: BlockSender, broker: Broker, file: VerifiedFile) -> None:
    for offset in (300, 0, 600):
        sender.send("a", file, Read(5, 0, offset, 100, 3), never)
    broker.confirm_all()
    assert [block[2] for block in broker.blocks()] == [300, 400, 500, 0, 100, 200, 600, 700, 800]


def test_a_device_whose_blocks_stay_unconfirmed_delays_no_other(
    sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    sender.send("stopped", file, Read(5, 0, 0, 100, 64), never)
    stuck = list(broker.unconfirmed)
    broker.unconfirmed.clear()
    for number in range(10):
        sender.send("a", file, Read(5, 0, number * 6400, 100, 64), never)
    broker.confirm_all()
    assert (len(stuck), len(broker.blocks("a"))) == (block_sender.DEVICE_WINDOW, 640)


def test_a_device_that_is_offline_gets_no_more_blocks(sender: BlockSender, broker: Broker, file: VerifiedFile) -> None:
    for number in range(10):
        sender.send("a", file, Read(5, 0, number * 6400, 100, 64), never)
    broker.confirm(block_sender.DEVICE_WINDOW, reason=0x10)
    assert (len(broker.sent), is_empty(sender)) == (block_sender.DEVICE_WINDOW, True)


def test_a_read_that_is_queued_already_is_not_queued_twice(
    sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    """A device that repeats a slow read does not make it slower."""
    for _ in range(10):
        sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    broker.confirm_all()
    assert [block[2] for block in broker.blocks()] == list(range(0, 6400, 100))
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    broker.confirm_all()
    assert len(broker.blocks()) == 128


def test_queued_bytes_of_a_device_are_bounded_and_the_newest_stay(
    sender: BlockSender, broker: Broker, tmp_path: Path
) -> None:
    content = pattern(2 * block_sender.MAX_QUEUED_BYTES)
    large = FileCache(tmp_path, len(content)).put(named(content), len(content), [content])
    for offset in range(20):
        sender.send("a", large, Read(5, 0, offset, MAX_BLOCK_BYTES, 64), never)
    early = len(broker.sent)
    broker.confirm_all()
    assert early <= block_sender.DEVICE_WINDOW
    assert [block[2] for block in broker.blocks()][-64:] == list(
        range(19, block_sender.MAX_QUEUED_BYTES, MAX_BLOCK_BYTES)
    )
    assert len(broker.sent) <= early + 64


def test_bytes_of_a_read_beyond_the_end_are_not_counted(
    sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    for offset in range(30):
        sender.send("a", file, Read(5, 0, offset, MAX_BLOCK_BYTES, 64), never)
    broker.confirm_all()
    assert {block[2] for block in broker.blocks()} >= set(range(30))


def test_a_device_that_stops_reading_leaves_no_state(sender: BlockSender, broker: Broker, file: VerifiedFile) -> None:
    for number in range(1000):
        sender.send(str(number), file, Read(5, 0, 0, 100), never)
    broker.confirm_all()
    assert is_empty(sender)


def test_what_a_device_reads_again_and_again_is_limited(
    sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    """Nothing tells the gateway whether the device reads its socket: the broker may have to keep all of it."""
    for _ in range(100):
        sender.send("a", file, Read(5, 0, 0, MAX_BLOCK_BYTES, 2), never)
        broker.confirm_all()
    total = sum(len(block[4]) for block in broker.blocks())  # type: ignore[arg-type]
    assert total == pytest.approx(flow_control.FREE_BYTES, abs=2 * MAX_BLOCK_BYTES)
    assert is_empty(sender)
    sender.send("b", file, Read(5, 0, 0, 100), never)
    sender.send("a", file, Read(6, 0, 0, 100), never)
    assert [broker.sent[-2][0], broker.blocks()[-1][0]] == ["b", 6]


def test_a_flood_of_reads_is_bounded_and_the_newest_stay(
    sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    for number in range(block_sender.MAX_QUEUED_READS + block_sender.DEVICE_WINDOW + 500):
        sender.send("a", file, Read(5, 0, number, 1), never)
    broker.confirm_all()
    assert len(broker.sent) == block_sender.MAX_QUEUED_READS + block_sender.DEVICE_WINDOW
    assert broker.blocks()[-1][2] == block_sender.MAX_QUEUED_READS + block_sender.DEVICE_WINDOW + 499


def test_a_corrupted_file_is_reported_for_each_read_and_delays_no_other(
    sender: BlockSender, broker: Broker, file: VerifiedFile, tmp_path: Path
) -> None:
    broken = corrupted(tmp_path)
    reported: list[int] = []
    for number in range(3):
        sender.send("a", broken, Read(5, 0, number, 1), lambda number=number: reported.append(number))  # type: ignore[misc]
    assert (reported, broker.sent, is_empty(sender)) == ([0, 1, 2], [], True)
    sender.send("a", file, Read(5, 0, 0, 10), never)
    assert len(broker.blocks()) == 1


def test_a_read_that_is_repeated_from_on_corrupted_takes_one_turn(
    sender: BlockSender, broker: Broker, file: VerifiedFile, tmp_path: Path
) -> None:
    broken = corrupted(tmp_path)
    for number in range(flow_control.MAX_WINDOW // 32):
        sender.send(str(number), file, Read(5, 0, 0, 100, 32), never)
    repeated = Read(5, 0, 0, 100, 32)
    sender.send("a", broken, repeated, lambda: sender.send("a", file, repeated, never))
    sender.send("b", file, repeated, never)
    broker.confirm(64)
    order = [topic for topic, _ in broker.sent[flow_control.MAX_WINDOW :]]
    assert max(abs(order[:end].count("a") - order[:end].count("b")) for end in range(65)) == 1


def test_a_broker_that_rejects_blocks_ends_the_download(
    sender: BlockSender, broker: Broker, file: VerifiedFile
) -> None:
    reasons: list[str] = []
    for _ in range(2):  # a device that reads again is answered again
        sender.send("a", file, Read(5, 0, 0, 100, 64), never, reasons.append)
        broker.confirm(block_sender.DEVICE_WINDOW, reason=0x95)
    assert (len(broker.sent), is_empty(sender)) == (2 * block_sender.DEVICE_WINDOW, True)
    assert [each[:23] for each in reasons] == ["Packet too large (0x95)"] * 2


def corrupted(folder: Path) -> VerifiedFile:
    found = FileCache(folder, 10).put(named(b"abc"), 3, [b"abc"])
    next(folder.iterdir()).write_bytes(b"abd")
    return found
