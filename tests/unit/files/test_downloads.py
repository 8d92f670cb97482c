"""From a read to its blocks: one open for all, a fault told once to each device, and a disk that fails in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgpack
import pytest

from gateway.errors import Code, FileError
from gateway.files import block_sender
from gateway.files.block_sender import BlockSender
from gateway.files.downloads import ReadQueue
from gateway.files.fetcher import ModelFileStore
from gateway.protocol.messages import Read
from gateway.retry import RetryPolicy
from tests.unit.files.model_files import S3, named, pattern

CONTENT = pattern(10_000)
FILE = named(CONTENT)


class Desk:
    """Downloads over a wire that confirms at once, and what became of each device's reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.s3 = S3(kws_tflite=CONTENT)
        self.models = ModelFileStore(
            lambda: self.s3, folder, 1 << 20, RetryPolicy(asyncio.Event(), base=0.001, cap=0.001)
        )
        self.downloads = ReadQueue(self.models, BlockSender(self._publish, asyncio.get_running_loop().call_later))
        self.received: dict[str, dict[int, bytes]] = {}
        self.blocks: Counter[str] = Counter()
        self.faults: list[tuple[str, FileError]] = []
        self.news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read(self, topic: str, offset: int = 0, length: int = 1000, count: int = 10) -> None:
        def unreadable(fault: FileError) -> None:
            self.faults.append((topic, fault))
            self.news.set()

        self.downloads.send(topic, FILE, Read(5, 0, offset, length, count), unreadable)

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(10.0):
            while not there():
                self.news.clear()
                await self.news.wait()

    def whole(self, topic: str) -> bool:
        parts = self.received.get(topic, {})
        return b"".join(parts[offset] for offset in sorted(parts)) == CONTENT

    def _publish(self, topic: str, payload: bytes, then: Callable[[int], None]) -> None:
        _, _, offset, _, data = msgpack.unpackb(payload)
        self.received.setdefault(topic, {})[offset] = data
        self.blocks[topic] += 1
        self._loop.call_soon(then, 0)
        self.news.set()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.downloads.close()


async def test_one_fetch_however_many_ask(desk: Desk) -> None:
    topics = [f"edge/f/d{number}/block" for number in range(1000)]
    for topic in topics:
        desk.read(topic)
    await desk.until(lambda: all(map(desk.whole, topics)))
    assert desk.s3.calls == {"GET": 1}


async def test_a_read_that_waits_is_not_kept_twice(desk: Desk) -> None:
    for _ in range(50):
        desk.read("a")
    await desk.until(lambda: desk.whole("a"))
    assert desk.blocks == {"a": 10}


async def test_what_waits_is_bounded_for_each_device_and_the_newest_stay(desk: Desk) -> None:
    for number in range(block_sender.READS_KEPT + 10):
        desk.read("a", number, 1, 1)
    await desk.until(lambda: desk.blocks["a"] == block_sender.READS_KEPT)
    assert sorted(desk.received["a"]) == list(range(10, block_sender.READS_KEPT + 10))


async def test_a_fault_is_told_once_to_each_device(desk: Desk) -> None:
    desk.s3.objects.clear()
    for topic in ("a", "b"):
        for number in range(20):
            desk.read(topic, number)
    await desk.until(lambda: len(desk.faults) == 2)
    assert [(topic, fault.code) for topic, fault in desk.faults] == [("a", Code.UNKNOWN_PLAN), ("b", Code.UNKNOWN_PLAN)]
    assert desk.received == {}


async def test_after_the_fault_was_told_a_new_read_is_told_it_again(desk: Desk) -> None:
    desk.s3.objects.clear()
    for number in (1, 2):
        desk.read("a")
        await desk.until(lambda number=number: len(desk.faults) == number)  # type: ignore[misc]
    assert desk.s3.calls == {"GET": 1}


async def test_what_the_disk_corrupts_in_between_is_fetched_anew(desk: Desk) -> None:
    desk.read("a", 0, 1000, 5)
    await desk.until(lambda: desk.blocks["a"] == 5)
    desk.models.drop(FILE, await desk.models.open(FILE))
    await desk.models.open(FILE)  # read anew: no chunk of it is in memory
    spoil(desk.folder)
    desk.read("a", 5000, 1000, 5)
    desk.read("b")
    await desk.until(lambda: desk.whole("a") and desk.whole("b"))
    assert (desk.s3.calls, desk.faults) == ({"GET": 2}, [])


async def test_where_it_cannot_be_fetched_anew_the_device_is_told(desk: Desk) -> None:
    await desk.models.open(FILE)
    spoil(desk.folder)
    desk.s3.objects["kws.tflite"] = b"changed in the middle"
    desk.read("a")
    await desk.until(lambda: bool(desk.faults))
    assert (desk.received, desk.faults[0][1].code) == ({}, Code.UNKNOWN_PLAN)


async def test_a_fault_of_the_gateway_itself_is_told_too(desk: Desk) -> None:
    desk.s3.get_object = lambda **parameters: 1 / 0  # type: ignore[method-assign]
    desk.read("a")
    await desk.until(lambda: bool(desk.faults))
    assert "division by zero" in desk.faults[0][1].detail


async def test_nothing_is_sent_after_the_end(desk: Desk) -> None:
    desk.s3.gate.clear()
    desk.read("a")
    await asyncio.sleep(0)
    desk.downloads.close()
    desk.s3.gate.set()
    await asyncio.gather(*desk.models._opening.values(), return_exceptions=True)
    assert (desk.received, desk.faults) == ({}, [])


def spoil(folder: Path) -> None:
    (path,) = folder.iterdir()
    path.write_bytes(b"?" * 10_000)
