"""The fault table of model files, a test for each line: what the device gets, what the operator gets, and what ends it.

The table itself is in the SDK's protocol page. In every line no byte of a wrong file leaves.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.downloads import BLOCK, MODEL, Download, Files, deployment, fetched_plan, pattern, sha1
from tests.integration.testbed import Testbed
from tests.support.arrivals import DEADLINE_S
from tests.support.disks import fill, make_room, small_disk
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import until
from tests.support.s3 import S3Proxy, S3Server

UNUSABLE = "a model file cannot be used; devices get code 5; upload or deploy it again"
WAIT = "a model file cannot be fetched now; devices get code 7 and read again; check S3 and the disk"
SPOILT = "the disk has corrupted a model file; it is fetched again; check the disk"
REFUSED = "message rejected: error ack sent, payload published to the dead-letter topic"
CHANGED = pattern(len(MODEL), seed=1)
HALF = 64 * BLOCK
CHUNK = 65_536
"""Bytes that the gateway reads of a cached file at once; those that it has read, the disk cannot corrupt any more."""
AGAIN_S = 0.2

Trouble = Callable[[Files], str]
"""Makes it; what must be in the detail."""


@pytest.fixture
def files(testbed: Testbed, s3: S3Server, s3_proxy: S3Proxy) -> Files:
    made = Files(testbed, s3, s3_proxy)
    made.put()
    return made


def answers(download: Download) -> list[str]:
    """The channels of what came and was not taken."""
    return [each.channel for each in download.device.received.so_far()]


def rejected_read(files: Files, gateway: GatewayProcess, download: Download, line: str) -> tuple[int, str]:
    """The code and detail of a read that fails. The log and `dead` have the same, and no block has left."""
    operator = files.testbed.operator()
    download.ask()
    code, detail = download.device.ack(None, DEADLINE_S)
    said = gateway.wait_for_log(line)
    assert said["level"] == "error"
    assert said["reason"].startswith(detail)  # an ack is short
    dead_letter = operator.dead.next()
    assert dead_letter.topic == download.device.topic("dead")
    assert (dead_letter.properties["code"], dead_letter.properties["reason"]) == (str(code), said["reason"])
    assert gateway.wait_for_log(REFUSED)["why"] == said["reason"]
    assert answers(download) == []
    return code, detail


def heal(download: Download) -> None:
    """The device goes on asking, as the page says of code 7, until the file comes."""
    received = download.device.received
    download.ask(1)
    while received.next(lambda each: each.channel == "block" or each.content[0] is None).channel == "ack":
        time.sleep(AGAIN_S)  # no event says when the gateway would try again
        download.ask(1)
    assert download.whole() == MODEL


# Another object or another plan must come: code 5.


def gone(files: Files) -> str:
    files.s3.remove(files.bucket, "kws.tflite")
    return "NoSuchKey"


def another(files: Files) -> str:
    files.put(CHANGED)
    return f"{files.url} has the SHA1 {sha1(CHANGED)}"


def truncated(files: Files) -> str:
    files.put(MODEL[:-1])
    return f"{files.url} has the SHA1 {sha1(MODEL[:-1])}"


def too_large(files: Files) -> str:
    return f"{files.url} has 80824 bytes, the cache 65536"


@pytest.mark.parametrize("trouble", [gone, another, truncated, too_large])
def test_the_object_is_not_the_plans(trouble: Trouble, files: Files) -> None:
    gateway = files.gateway(cache_bytes=CHUNK if trouble is too_large else 1 << 20)
    download = files.device()
    why = trouble(files)
    code, detail = rejected_read(files, gateway, download, UNUSABLE)
    assert code == 5
    assert why in detail
    assert os.listdir(files.testbed.state / "models") == []


def test_the_bucket_is_gone(files: Files) -> None:
    gateway = files.gateway()
    download = files.device(url="s3://no-such-bucket/kws.tflite")
    code, detail = rejected_read(files, gateway, download, UNUSABLE)
    assert code == 5
    assert detail.startswith("s3://no-such-bucket/kws.tflite: NoSuchBucket")


# The plan and the object stay: code 7, and devices ask again until the fault is corrected.


@contextmanager
def forbidden(files: Files, gateway: GatewayProcess) -> Iterator[str]:
    files.s3.forbid(files.bucket)
    yield f"{files.url} cannot be fetched now: 403: Forbidden"
    files.s3.allow(files.bucket)


@contextmanager
def s3_is_down(files: Files, gateway: GatewayProcess) -> Iterator[str]:
    files.s3_proxy.stop_listening()
    yield f"{files.url} cannot be fetched now: EndpointConnectionError"
    files.s3_proxy.listen()


@contextmanager
def disk_is_full(files: Files, gateway: GatewayProcess) -> Iterator[str]:
    fill(files.testbed.state, leaving=40)
    yield "the gateway's disk: No space left on device"
    make_room(files.testbed.state)


@contextmanager
def quota_is_full(files: Files, gateway: GatewayProcess) -> Iterator[str]:
    """What a full disk is to the gateway, where the machine gives no disk to fill."""
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (CHUNK, hard))
    yield "the gateway's disk: File too large"
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("trouble", [forbidden, s3_is_down, quota_is_full])
def test_the_file_cannot_be_fetched_now(trouble: Callable[..., object], files: Files) -> None:
    lives_through(trouble, files)


def test_the_disk_is_full(files: Files) -> None:
    with small_disk(files.testbed.state, 1024):
        lives_through(disk_is_full, files)
        files.testbed.gateway.kill()


def lives_through(trouble: Callable[..., object], files: Files) -> None:
    gateway = files.gateway()
    download = files.device()
    with trouble(files, gateway) as why:  # type: ignore[attr-defined]
        code, detail = rejected_read(files, gateway, download, WAIT)
        assert code == 7
        assert detail.startswith(why)
        assert os.listdir(files.testbed.state / "models") == []
    heal(download)


def test_a_disk_smaller_than_the_cache_holds_what_it_can(files: Files) -> None:
    """The least used go, as if the disk were the limit."""
    contents = [pattern(300_000, seed) for seed in range(4)]
    with small_disk(files.testbed.state, 1024):
        files.gateway()
        for number, content in enumerate(contents):
            files.s3.put(files.bucket, str(number), content)
            assert files.device(f"d{number}", content, f"s3://{files.bucket}/{number}").whole() == content
        assert len(os.listdir(files.testbed.state / "models")) < len(contents)
        files.testbed.gateway.kill()


# The object changes, or its answer breaks off, in the middle.


def test_the_object_changes_while_a_device_reads_it(files: Files) -> None:
    """All blocks are of the file that was verified."""
    files.gateway()
    download = files.device()
    download.until(HALF)
    files.put(CHANGED)
    assert download.whole() == MODEL
    assert files.s3_proxy.gets == 1


def test_the_object_changes_and_the_cache_loses_it_while_a_device_reads_it(files: Files) -> None:
    gateway = files.gateway()
    download = files.device()
    download.until(HALF)
    files.put(CHANGED)
    gateway.kill()
    cached(files).unlink()
    gateway.start()
    assert rejected_read(files, gateway, download, UNUSABLE) == (5, f"{files.url} has the SHA1 {sha1(CHANGED)}")


def test_the_answer_breaks_off_in_the_middle(files: Files) -> None:
    """It is asked for again at once; no device gets an error."""
    files.gateway()
    download = files.device()
    files.s3_proxy.pause_after(10_000)
    download.ask()
    files.s3_proxy.paused.next()
    files.s3_proxy.cut()
    assert download.take() == len(MODEL)
    assert download.whole() == MODEL
    assert files.s3_proxy.gets == 2
    assert "ack" not in answers(download)


# The cache is corrupted on the disk.


def cached(files: Files) -> Path:
    """The one file of the cache."""
    (path,) = (files.testbed.state / "models").iterdir()
    return path


def spoil(files: Files) -> None:
    """Other bytes in the second chunk of the same file."""
    with cached(files).open("r+b") as file:
        file.seek(CHUNK)
        file.write(b"?" * 1000)


def test_the_cache_is_corrupted_while_a_device_reads_it(files: Files) -> None:
    """The chunk that comes next is not what was verified: the file is fetched again, and the device goes on."""
    gateway = files.gateway()
    download = files.device()
    download.until(HALF)
    spoil(files)
    assert download.whole() == MODEL
    assert gateway.wait_for_log(SPOILT)["url"] == files.url
    assert files.s3_proxy.gets == 2


def test_the_cache_is_corrupted_while_the_gateway_is_away(files: Files) -> None:
    gateway = files.gateway()
    download = files.device()
    download.until(HALF)
    assert gateway.terminate() == 0
    spoil(files)
    gateway.start()
    assert download.whole() == MODEL
    assert gateway.wait_for_log(SPOILT)["url"] == files.url
    assert files.s3_proxy.gets == 2


def test_the_cache_is_corrupted_and_the_object_is_gone(files: Files) -> None:
    gateway = files.gateway()
    download = files.device()
    download.until(HALF)
    assert gateway.terminate() == 0
    spoil(files)
    gone(files)
    gateway.start()
    code, detail = rejected_read(files, gateway, download, UNUSABLE)
    assert code == 5
    assert "NoSuchKey" in detail


# The gateway is killed with -9.


def test_the_gateway_is_killed_during_the_fetch(files: Files) -> None:
    """What was not finished is removed; after the restart it is fetched when the device asks again."""
    gateway = files.gateway()
    download = files.device()
    files.s3_proxy.pause_after(10_000)
    download.ask()
    files.s3_proxy.paused.next()
    models = files.testbed.state / "models"
    until(lambda: list(models.glob("*.part")) != [], lambda: f"no fetch was begun: {os.listdir(models)}")
    gateway.kill()
    assert cached(files).suffix == ".part"
    files.s3_proxy.cut()
    gateway.start()
    assert os.listdir(models) == []
    assert download.whole() == MODEL
    assert files.s3_proxy.gets == 2


def test_the_gateway_is_killed_during_the_sending(files: Files) -> None:
    """After the restart it is in the cache, and the device continues where it was."""
    gateway = files.gateway()
    download = files.device()
    download.until(HALF)
    download.ask()
    download.take()
    gateway.kill()
    gateway.start()
    download.device.received.clear()
    assert download.whole() == MODEL
    assert files.s3_proxy.gets == 1


# The plan changes.


def test_the_plan_changes_during_the_download(files: Files) -> None:
    """Blocks of the old one end as soon as the gateway knows: code 5, and `get` brings the new one."""
    files.gateway()
    download = files.device()
    download.until(HALF)
    files.s3.put(files.bucket, "new", CHANGED)
    files.testbed.service.deployments["d"] = [deployment(f"s3://{files.bucket}/new", CHANGED, "deploy-8")]
    download.until(HALF + BLOCK)  # the gateway does not know yet
    digest = fetched_plan(download.device)
    operator = files.testbed.operator()
    download.ask()
    assert download.device.ack() == (5, f"no plan {download.digest} with a file 0 is known")
    assert operator.dead.next().properties["code"] == "5"
    assert Download(download.device, digest).whole() == CHANGED
