"""From a read to its blocks: one open for all, one error for each device, and a disk that fails meanwhile."""

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
from gateway.ops.metrics import Counter as Counts
from gateway.protocol.messages import Read
from gateway.retry import RetryPolicy
from tests.support.arrivals import DEADLINE_S
from tests.unit.files.model_files import S3, named, pattern

CONTENT = pattern(10_000)
FILE = named(CONTENT)


class Site:
    """Downloads over a broker that confirms at once, and what became of each device's reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.s3 = S3(kws_tflite=CONTENT)
        self.store = ModelFileStore(
            lambda: self.s3, folder, 1 << 20, RetryPolicy(asyncio.Event(), base=0.001, cap=0.001)
        )
        sender = BlockSender(self._publish, asyncio.get_running_loop().call_later, Counts().inc)
        self.downloads = ReadQueue(self.store, sender)
        self.received: dict[str, dict[int, bytes]] = {}
        self.blocks: Counter[str] = Counter()
        self.errors: list[tuple[str, FileError]] = []
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read(self, topic: str, offset: int = 0, length: int = 1000, count: int = 10) -> None:
        def on_error(error: FileError) -> None:
            self.errors.append((topic, error))
            self.changed.set()

        self.downloads.send(topic, FILE, Read(5, 0, offset, length, count), on_error)

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not there():
                self.changed.clear()
                await self.changed.wait()

    def whole(self, topic: str) -> bool:
        parts = self.received.get(topic, {})
        return b"".join(parts[offset] for offset in sorted(parts)) == CONTENT

    def _publish(self, topic: str, payload: bytes, then: Callable[[int], None]) -> None:
        _, _, offset, _, data = msgpack.unpackb(payload)
        self.received.setdefault(topic, {})[offset] = data
        self.blocks[topic] += 1
        self._loop.call_soon(then, 0)
        self.changed.set()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    yield made
    made.downloads.close()


async def test_one_fetch_however_many_read(site: Site) -> None:
    topics = [f"edge/f/d{number}/block" for number in range(1000)]
    for topic in topics:
        site.read(topic)
    await site.until(lambda: all(map(site.whole, topics)))
    assert site.s3.calls == {"GET": 1}


async def test_a_read_that_waits_is_not_queued_twice(site: Site) -> None:
    for _ in range(50):
        site.read("a")
    await site.until(lambda: site.whole("a"))
    assert site.blocks == {"a": 10}


async def test_waiting_reads_of_a_device_are_bounded_and_the_newest_stay(site: Site) -> None:
    for number in range(block_sender.MAX_QUEUED_READS + 10):
        site.read("a", number, 1, 1)
    await site.until(lambda: site.blocks["a"] == block_sender.MAX_QUEUED_READS)
    assert sorted(site.received["a"]) == list(range(10, block_sender.MAX_QUEUED_READS + 10))


async def test_each_device_gets_an_error_once(site: Site) -> None:
    site.s3.objects.clear()
    for topic in ("a", "b"):
        for number in range(20):
            site.read(topic, number)
    await site.until(lambda: len(site.errors) == 2)
    assert [(topic, error.code) for topic, error in site.errors] == [("a", Code.UNKNOWN_PLAN), ("b", Code.UNKNOWN_PLAN)]
    assert site.received == {}


async def test_a_new_read_gets_the_kept_error_again(site: Site) -> None:
    site.s3.objects.clear()
    for number in (1, 2):
        site.read("a")
        await site.until(lambda number=number: len(site.errors) == number)  # type: ignore[misc]
    assert site.s3.calls == {"GET": 1}


async def test_a_file_that_the_disk_corrupts_meanwhile_is_fetched_again(site: Site) -> None:
    site.read("a", 0, 1000, 5)
    await site.until(lambda: site.blocks["a"] == 5)
    site.store.drop(FILE, await site.store.get(FILE))
    await site.store.get(FILE)  # opened again: no chunk of it is in memory
    corrupt(site.folder)
    site.read("a", 5000, 1000, 5)
    site.read("b")
    await site.until(lambda: site.whole("a") and site.whole("b"))
    assert (site.s3.calls, site.errors) == ({"GET": 2}, [])


async def test_the_device_gets_an_error_if_it_cannot_be_fetched_again(site: Site) -> None:
    await site.store.get(FILE)
    corrupt(site.folder)
    site.s3.objects["kws.tflite"] = b"changed in the middle"
    site.read("a")
    await site.until(lambda: bool(site.errors))
    assert (site.received, site.errors[0][1].code) == ({}, Code.UNKNOWN_PLAN)


async def test_a_defect_of_the_gateway_is_an_error_too(site: Site) -> None:
    site.s3.get_object = lambda **parameters: 1 / 0  # type: ignore[method-assign]
    site.read("a")
    await site.until(lambda: bool(site.errors))
    assert "division by zero" in site.errors[0][1].detail


async def test_nothing_is_sent_after_the_end(site: Site) -> None:
    site.s3.gate.clear()
    site.read("a")
    await asyncio.sleep(0)
    site.downloads.close()
    site.s3.gate.set()
    await asyncio.gather(*site.store._opening.values(), return_exceptions=True)
    assert (site.received, site.errors) == ({}, [])


def corrupt(folder: Path) -> None:
    (path,) = folder.iterdir()
    path.write_bytes(b"?" * 10_000)
