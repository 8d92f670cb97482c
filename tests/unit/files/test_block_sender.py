"""Blocks take turns: windows for a device and for all, fairness, and nothing left of a device that stopped asking."""

from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.file_reads import TOTAL_BYTES, around
from gateway.files import block_sender, flow_control
from gateway.files.block_sender import BlockSender
from gateway.files.cache import FileCache, VerifiedFile
from gateway.protocol import codec
from gateway.protocol.messages import LARGEST_BLOCK, Read
from tests.unit.files.model_files import named, pattern

CONTENT = pattern(100_000)


class Wire:
    """A broker's side: what was published and is not confirmed yet."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[object]]] = []
        self.unconfirmed: deque[tuple[str, Callable[[int], None]]] = deque()
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
def wire() -> Wire:
    return Wire()


@pytest.fixture
def sender(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> BlockSender:
    """The broker confirms in no time: all devices have the whole window."""
    monkeypatch.setattr(flow_control, "START", flow_control.MOST)
    return BlockSender(wire.publish, wire.later, lambda: 0.0)


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
def test_what_is_asked_for_is_what_comes(offset: int, length: int, count: int, file: VerifiedFile) -> None:
    wire = Wire()
    sender = BlockSender(wire.publish, wire.later)
    sender.send("a", file, Read(5, 2, offset, length, count), never)
    wire.confirm_all()
    starts = [offset + number * length for number in range(count) if number == 0 or offset + number * length < 100_000]
    assert wire.blocks() == [[5, 2, start, 100_000, CONTENT[start : start + length]] for start in starts]
    assert is_empty(sender)


@pytest.mark.parametrize("offset", [100_000, 100_001, 2**32, 2**63])
@pytest.mark.parametrize("count", [1, 64])
def test_at_or_past_the_end_one_empty_block(
    offset: int, count: int, sender: BlockSender, wire: Wire, file: VerifiedFile
) -> None:
    sender.send("a", file, Read(5, 0, offset, 512, count), never)
    assert wire.blocks() == [[5, 0, offset, 100_000, b""]]


def test_an_empty_file_is_one_empty_block(sender: BlockSender, wire: Wire, tmp_path: Path) -> None:
    empty = FileCache(tmp_path, 10).put(named(b""), 0, [])
    sender.send("a", empty, Read(5, 0, 0, 512, 8), never)
    assert wire.blocks() == [[5, 0, 0, 0, b""]]


@pytest.mark.parametrize("digest", [1, 200, 0x3FFFFFFF])
@pytest.mark.parametrize("index", [0, 99, 128])
@pytest.mark.parametrize(
    ("length", "count", "offset", "total"),
    [
        (100, 1, 0, 100),
        (255, 1, 0, 255),
        (256, 1, 127, 383),
        (992, 4, 128, 80_824),
        (LARGEST_BLOCK, 2, 1 << 16, 1 << 31),
    ],
)
def test_what_a_read_is_judged_by_is_what_its_blocks_take(
    digest: int, index: int, length: int, count: int, offset: int, total: int
) -> None:
    """But for the file's size, which is not known then: of that, at most."""
    read = Read(digest, index, offset, length, count)
    last = codec.block(digest, index, offset + length * (count - 1), total, bytes(length))
    size = len(codec.block(0, 0, 0, total, b"")) - len(codec.block(0, 0, 0, 0, b"")) + 1
    assert len(last) == length + around(read) - TOTAL_BYTES + size


def test_a_device_has_its_window(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    assert len(wire.sent) == block_sender.DEVICE_WINDOW
    wire.confirm(3)
    assert len(wire.sent) == block_sender.DEVICE_WINDOW + 3
    wire.confirm_all()
    assert len(wire.sent) == 64


def test_all_devices_have_a_window(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    for number in range(20):
        sender.send(str(number), file, Read(5, 0, 0, 100, 64), never)
    assert len(wire.unconfirmed) == flow_control.MOST
    wire.confirm(10)
    assert len(wire.unconfirmed) == len(wire.sent) - 10 == flow_control.MOST
    wire.confirm_all()
    assert Counter(topic for topic, _ in wire.sent) == {str(number): 64 for number in range(20)}
    assert is_empty(sender)


def test_a_broker_that_confirms_slowly_has_little_in_front_of_it(wire: Wire, file: VerifiedFile) -> None:
    now = [0.0]
    sender = BlockSender(wire.publish, wire.later, lambda: now[0])
    for number in range(20):
        sender.send(str(number), file, Read(5, 0, 0, 100, 64), never)
    for slow in range(400):
        now[0] += 0.001 * slow
        wire.confirm()
    assert len(wire.unconfirmed) == flow_control.LEAST


def test_while_others_are_served_blocks_keep_to_a_rate_and_go_on_by_themselves(wire: Wire, file: VerifiedFile) -> None:
    now = [100.0]
    sender = BlockSender(wire.publish, wire.later, lambda: now[0])
    for number in range(10):
        sender.make_way()
        sender.send(str(number), file, Read(5, 0, 0, 100, 64), never)
    assert 0 < len(wire.sent) <= flow_control.BURST + 1
    for step in range(1, 501):
        now[0] = 100.0 + step / 1000
        sender.make_way()
        wire.confirm_all()
        for _, action in [wire.actions.pop() for _ in range(len(wire.actions))]:
            action()
    assert len(wire.sent) == 640
    assert not wire.unconfirmed


def test_as_soon_as_nobody_else_is_served_blocks_go_as_they_can(wire: Wire, file: VerifiedFile) -> None:
    now = [100.0]
    sender = BlockSender(wire.publish, wire.later, lambda: now[0])
    sender.make_way()
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    early = len(wire.sent)
    now[0] += flow_control.QUIET
    ((_, action),) = wire.actions
    action()
    wire.confirm_all()
    assert (early < 64, len(wire.sent)) == (True, 64)


def test_large_blocks_are_bounded_in_bytes(sender: BlockSender, wire: Wire, tmp_path: Path) -> None:
    content = pattern(64 * LARGEST_BLOCK)
    large = FileCache(tmp_path, len(content)).put(named(content), len(content), [content])
    for topic in "abcd":
        sender.send(topic, large, Read(5, 0, 0, LARGEST_BLOCK, 64), never)
    assert len(wire.unconfirmed) == block_sender.WINDOW_BYTES // LARGEST_BLOCK
    wire.confirm_all()
    assert len(wire.sent) == 4 * 64


def test_the_turns_are_fair(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    """A device that asks for one block waits for one block of each other device, not for all of theirs."""
    for number in range(20):
        sender.send(f"busy-{number}", file, Read(5, 0, 0, 100, 64), never)
    sender.send("late", file, Read(5, 0, 0, 100), never)
    sent_before = len(wire.sent)
    wire.confirm(21)
    between = [topic for topic, _ in wire.sent[sent_before:]]
    assert "late" in between
    assert max(Counter(between).values()) <= 2


def test_reads_of_a_device_are_answered_in_their_order(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    for offset in (300, 0, 600):
        sender.send("a", file, Read(5, 0, offset, 100, 3), never)
    wire.confirm_all()
    assert [block[2] for block in wire.blocks()] == [300, 400, 500, 0, 100, 200, 600, 700, 800]


def test_a_device_that_stops_confirming_holds_up_nobody(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    sender.send("stopped", file, Read(5, 0, 0, 100, 64), never)
    stuck = list(wire.unconfirmed)
    wire.unconfirmed.clear()
    for number in range(10):
        sender.send("a", file, Read(5, 0, number * 6400, 100, 64), never)
    wire.confirm_all()
    assert (len(stuck), len(wire.blocks("a"))) == (block_sender.DEVICE_WINDOW, 640)


def test_a_device_that_is_gone_is_sent_nothing_more(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    for number in range(10):
        sender.send("a", file, Read(5, 0, number * 6400, 100, 64), never)
    wire.confirm(block_sender.DEVICE_WINDOW, reason=0x10)
    assert (len(wire.sent), is_empty(sender)) == (block_sender.DEVICE_WINDOW, True)


def test_a_read_that_waits_already_is_not_kept_twice(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    """Whoever asks again for what is only slow does not make it slower."""
    for _ in range(10):
        sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    wire.confirm_all()
    assert [block[2] for block in wire.blocks()] == list(range(0, 6400, 100))
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    wire.confirm_all()
    assert len(wire.blocks()) == 128


def test_bytes_that_wait_for_a_device_are_bounded_and_the_newest_stay(
    sender: BlockSender, wire: Wire, tmp_path: Path
) -> None:
    content = pattern(2 * block_sender.BYTES_KEPT)
    large = FileCache(tmp_path, len(content)).put(named(content), len(content), [content])
    for offset in range(20):
        sender.send("a", large, Read(5, 0, offset, LARGEST_BLOCK, 64), never)
    early = len(wire.sent)
    wire.confirm_all()
    assert early <= block_sender.DEVICE_WINDOW
    assert [block[2] for block in wire.blocks()][-64:] == list(range(19, block_sender.BYTES_KEPT, LARGEST_BLOCK))
    assert len(wire.sent) <= early + 64


def test_what_a_read_asks_for_beyond_the_end_is_not_counted(
    sender: BlockSender, wire: Wire, file: VerifiedFile
) -> None:
    for offset in range(30):
        sender.send("a", file, Read(5, 0, offset, LARGEST_BLOCK, 64), never)
    wire.confirm_all()
    assert {block[2] for block in wire.blocks()} >= set(range(30))


def test_a_device_that_stops_asking_leaves_nothing(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    for number in range(1000):
        sender.send(str(number), file, Read(5, 0, 0, 100), never)
    wire.confirm_all()
    assert is_empty(sender)


def test_a_flood_of_reads_is_bounded_and_the_newest_stay(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    for number in range(block_sender.READS_KEPT + block_sender.DEVICE_WINDOW + 500):
        sender.send("a", file, Read(5, 0, number, 1), never)
    wire.confirm_all()
    assert len(wire.sent) == block_sender.READS_KEPT + block_sender.DEVICE_WINDOW
    assert wire.blocks()[-1][2] == block_sender.READS_KEPT + block_sender.DEVICE_WINDOW + 499


def test_what_the_disk_corrupted_is_told_for_each_read_and_holds_up_nobody(
    sender: BlockSender, wire: Wire, file: VerifiedFile, tmp_path: Path
) -> None:
    broken = corrupted(tmp_path)
    told: list[int] = []
    for number in range(3):
        sender.send("a", broken, Read(5, 0, number, 1), lambda number=number: told.append(number))  # type: ignore[misc]
    assert (told, wire.sent, is_empty(sender)) == ([0, 1, 2], [], True)
    sender.send("a", file, Read(5, 0, 0, 10), never)
    assert len(wire.blocks()) == 1


def test_what_is_asked_for_anew_while_the_disk_is_found_wrong_takes_one_turn(
    sender: BlockSender, wire: Wire, file: VerifiedFile, tmp_path: Path
) -> None:
    broken = corrupted(tmp_path)
    for number in range(flow_control.MOST // 32):
        sender.send(str(number), file, Read(5, 0, 0, 100, 32), never)
    again = Read(5, 0, 0, 100, 32)
    sender.send("a", broken, again, lambda: sender.send("a", file, again, never))
    sender.send("b", file, again, never)
    wire.confirm(64)
    order = [topic for topic, _ in wire.sent[flow_control.MOST :]]
    assert max(abs(order[:end].count("a") - order[:end].count("b")) for end in range(65)) == 1


def test_a_broker_that_refuses_blocks_ends_the_download(sender: BlockSender, wire: Wire, file: VerifiedFile) -> None:
    sender.send("a", file, Read(5, 0, 0, 100, 64), never)
    wire.confirm(block_sender.DEVICE_WINDOW, reason=0x87)
    assert (len(wire.sent), is_empty(sender)) == (block_sender.DEVICE_WINDOW, True)


def corrupted(folder: Path) -> VerifiedFile:
    found = FileCache(folder, 10).put(named(b"abc"), 3, [b"abc"])
    next(folder.iterdir()).write_bytes(b"abd")
    return found
