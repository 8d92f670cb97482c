"""Model files end to end: a device, Mosquitto, the gateway's process, and S3.

S3 is moto's server, which nobody here wrote, and the embedded manager.
"""

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gateway.demo.brokers.address import free_ports
from tests.integration.downloads import BLOCK, KEY, MODEL, Download, Files, fetched_plan, pattern
from tests.integration.testbed import Testbed
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.manager_process import Manager
from tests.support.s3 import S3Proxy, S3Server


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    (port,) = free_ports(1)
    made = Manager(tmp_path / "manager", ["--port", str(port)])
    made.start()
    yield made
    made.end(signal.SIGTERM)


@pytest.fixture
def files(testbed: Testbed, s3: S3Server, s3_proxy: S3Proxy) -> Files:
    return Files(testbed, s3, s3_proxy)


def test_a_file_from_moto(files: Files) -> None:
    files.put()
    gateway = files.gateway()
    download = files.device()
    assert download.whole() == MODEL
    assert files.s3_proxy.gets == 1
    assert gateway.metrics()["blocks_published_total"] == len(download.parts) == 158


def test_a_file_from_the_manager_with_its_plan(testbed: Testbed, manager: Manager, tmp_path: Path) -> None:
    file = tmp_path / "kws.tflite"
    file.write_bytes(MODEL)
    manager.run("register", testbed.fleet, "d")
    manager.run("deploy", testbed.fleet, "d", f"kws={file}")
    at = settings(testbed.broker.address, manager.url, testbed.fleet, testbed.state) | {
        "AWS_ENDPOINT_URL_S3": manager.url
    }
    testbed.cleanup.enter_context(GatewayProcess(at))
    device = testbed.device("d")
    device.get()
    digest, ((_, _, ((_, _, checksum, size, _),)),) = device.plan().content
    assert (checksum, size) == (hashlib.sha1(MODEL, usedforsecurity=False).digest(), len(MODEL))
    assert Download(device, digest).whole() == MODEL


def test_the_size_is_in_the_plan_and_not_in_its_digest(files: Files) -> None:
    files.put(MODEL[:1000])
    files.gateway()
    digest = files.device("sized", MODEL[:1000]).digest
    (_, _, ((_, _, _, size, url),)) = sized_plan(files)
    assert (size, url) == (1000, files.url)
    other = files.device("unsized", MODEL[:1000], f"s3://{files.bucket}/gone").digest
    assert other != digest


def sized_plan(files: Files) -> list[Any]:
    """The plan of the device `sized`, which its broker keeps."""
    content = files.testbed.device("sized").plan().content
    return list(content[1][0])


def test_one_get_however_many_devices_ask_at_once(files: Files) -> None:
    files.put()
    files.gateway()
    downloads = [files.device(f"d{number}") for number in range(8)]
    files.s3_proxy.pause_after(1000)
    for download in downloads:
        download.ask()
    files.s3_proxy.paused.next()
    files.s3_proxy.resume()
    assert [download.whole() for download in downloads] == [MODEL] * 8
    assert files.s3_proxy.gets == 1


def test_the_cache_survives_a_restart_and_is_verified(files: Files) -> None:
    files.put()
    gateway = files.gateway()
    download = files.device()
    assert download.whole() == MODEL
    assert gateway.terminate() == 0
    files.s3_proxy.stop_listening()
    gateway.start()
    assert Download(download.device, download.digest).whole() == MODEL


def test_the_least_used_go_first_and_come_again(files: Files) -> None:
    """A cache of 64 KiB holds one of two files of 40 KB."""
    contents = [pattern(40_000, seed) for seed in (1, 2)]
    files.gateway(cache_bytes=65_536)
    downloads = []
    for number, content in enumerate(contents):
        files.s3.put(files.bucket, f"{number}", content)
        downloads.append(files.device(f"d{number}", content, f"s3://{files.bucket}/{number}"))
    for _ in range(2):
        for download, content in zip(downloads, contents, strict=True):
            assert Download(download.device, download.digest).whole() == content
    assert files.s3_proxy.gets == 4
    assert sum(path.stat().st_size for path in (files.testbed.state / "models").iterdir()) == 40_000


def test_a_device_reads_its_own_plan_and_no_other(files: Files) -> None:
    """A read with the digest of another's plan gets an error, and no block leaves."""
    files.put()
    files.gateway()
    mine, other = files.device("mine"), files.device("other", MODEL, f"s3://{files.bucket}/secret")
    thief = Download(mine.device, other.digest)
    thief.ask()
    assert mine.device.ack() == (5, f"no plan {other.digest} with a file 0 is known")
    beyond = Download(mine.device, mine.digest, index=1)
    beyond.ask()
    assert mine.device.ack() == (5, f"no plan {mine.digest} with a file 1 is known")
    assert mine.whole() == MODEL
    assert [line for line in files.s3_proxy.requests.so_far() if line.startswith("GET") and "secret" in line] == []


def test_blocks_are_answered_at_any_offset_and_one_at_the_end(files: Files) -> None:
    files.put()
    files.gateway()
    download = files.device()
    for offset, length, count in [(80_000, BLOCK, 64), (80_824, BLOCK, 2), (1 << 40, 1, 1), (7, 65_536, 1)]:
        download.device.send("read", msgpack.packb([download.digest, 0, offset, length, count]))
    blocks = [download.device.received.next(lambda each: each.channel == "block").content for _ in range(5)]
    assert [(offset, total, data) for _, _, offset, total, data in blocks] == [
        (80_000, 80_824, MODEL[80_000:80_512]),
        (80_512, 80_824, MODEL[80_512:]),
        (80_824, 80_824, b""),
        (1 << 40, 80_824, b""),
        (7, 80_824, MODEL[7 : 7 + 65_536]),
    ]


@pytest.mark.parametrize(
    ("read", "why"), [([0, BLOCK, 65], "65 blocks"), ([0, 65_537, 1], "65537 bytes"), ([0, 0, 1], "length: 0")]
)
def test_what_asks_for_too_much_is_code_4(read: list[int], why: str, files: Files) -> None:
    files.put()
    files.gateway()
    download = files.device()
    download.device.send("read", msgpack.packb([download.digest, 0, *read]))
    code, detail = download.device.ack()
    assert code == 4
    assert why in detail


def test_heartbeats_are_acked_while_s3_hangs(files: Files) -> None:
    files.put()
    files.gateway()
    download = files.device()
    files.s3_proxy.pause_after(1000)
    download.ask()
    files.s3_proxy.paused.next()
    for seq in range(2, 12):
        download.device.heartbeat(["1.0.0", [["sys", "free-heap"]]], None, [seq], None, None, None, seq)
        assert download.device.ack(seq) == (0, "")
    files.s3_proxy.resume()
    assert download.take() == len(MODEL)


def test_a_gateway_that_ends_while_s3_hangs_ends_at_once(files: Files) -> None:
    """The next one answers; the broker has kept nothing, since a read is acknowledged at once."""
    files.put()
    gateway = files.gateway(read_timeout=300, drain_timeout=1)
    download = files.device()
    files.s3_proxy.pause_after(1000)
    download.ask()
    files.s3_proxy.paused.next()
    assert gateway.terminate() == 0
    files.s3_proxy.cut()
    gateway.start()
    assert download.whole() == MODEL
    assert fetched_plan(download.device) == download.digest


def test_every_key_is_taken_as_it_is(files: Files) -> None:
    key = f"models/ü (1)+%20/{KEY}"
    files.s3.put(files.bucket, key, MODEL)
    files.gateway()
    assert files.device("d", MODEL, f"s3://{files.bucket}/{key}").whole() == MODEL
