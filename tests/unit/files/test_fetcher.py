"""Model files from S3: one fetch for all readers, verified; errors are kept for a while; no wait without an end."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ParamValidationError, ResponseStreamingError

from gateway.errors import Code, FileError
from gateway.files import fetcher
from gateway.files.fetcher import ModelFileStore
from gateway.protocol.messages import ModelFile
from gateway.retry import RetryPolicy
from tests.unit.files.model_files import S3, named, pattern, s3_error, sha1

CONTENT = pattern(100_000)
FILE = named(CONTENT)


@pytest.fixture
def s3() -> S3:
    return S3(kws_tflite=CONTENT)


@pytest.fixture
async def store(s3: S3, tmp_path: Path) -> AsyncIterator[ModelFileStore]:
    made = make_store(s3, tmp_path)
    yield made
    made.close()


def make_store(s3: S3, folder: Path, limit: int = 1 << 20) -> ModelFileStore:
    return ModelFileStore(lambda: s3, folder, limit, RetryPolicy(asyncio.Event(), base=0.001, cap=0.001))


async def until_sized(store: ModelFileStore) -> None:
    while True:
        if await store.sizes([FILE]):
            return
        await asyncio.sleep(0)


async def error_of(store: ModelFileStore, file: ModelFile) -> FileError:
    with pytest.raises(FileError) as caught:
        await store.get(file)
    return caught.value


async def test_concurrent_callers_share_one_fetch(s3: S3, store: ModelFileStore) -> None:
    s3.gate.clear()
    waiting = [asyncio.create_task(store.get(FILE)) for _ in range(1000)]
    await asyncio.sleep(0)
    assert store.cached(FILE) is None
    s3.gate.set()
    found = await asyncio.gather(*waiting)
    assert s3.calls == {"GET": 1}
    assert {id(each) for each in found} == {id(store.cached(FILE))}
    assert found[0].read(0, 100_000) == CONTENT


async def test_a_caller_that_is_cancelled_does_not_end_the_fetch(s3: S3, store: ModelFileStore) -> None:
    s3.gate.clear()
    first, second = (asyncio.create_task(store.get(FILE)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    s3.gate.set()
    assert (await second).total == 100_000
    assert s3.calls == {"GET": 1}


async def test_a_restart_fetches_nothing(s3: S3, store: ModelFileStore, tmp_path: Path) -> None:
    await store.get(FILE)
    again = make_store(s3, tmp_path)
    assert (await again.get(FILE)).read(99_990, 100) == CONTENT[99_990:]
    again.close()
    assert s3.calls == {"GET": 1}


@pytest.mark.parametrize(
    ("raised", "code", "gets"),
    [
        (s3_error("NoSuchBucket", 404), Code.UNKNOWN_PLAN, 1),
        (s3_error("AccessDenied", 403), Code.GAVE_UP, 1),
        (s3_error("ExpiredToken", 400), Code.GAVE_UP, 1),
        (s3_error("404", 404), Code.GAVE_UP, 1),
        (s3_error("SlowDown", 503), Code.GAVE_UP, fetcher.ATTEMPTS),
        (ConnectTimeoutError(endpoint_url="http://s3"), Code.GAVE_UP, fetcher.ATTEMPTS),
        (ParamValidationError(report='Invalid bucket name "a\nb"'), Code.UNKNOWN_PLAN, 1),
    ],
)
async def test_only_transient_errors_are_retried(
    raised: Exception, code: Code, gets: int, s3: S3, store: ModelFileStore
) -> None:
    s3.error = raised
    error = await error_of(store, FILE)
    assert (error.code, s3.calls["GET"]) == (code, gets)
    assert error.detail.startswith("s3://models/kws.tflite")
    assert error.detail.isprintable()


async def test_a_missing_object_is_not_fetched_again_for_a_while(
    s3: S3, store: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(fetcher, "time", SimpleNamespace(monotonic=lambda: now[0]))
    s3.objects.clear()
    errors = [await error_of(store, FILE) for _ in range(3)]
    assert (s3.calls["GET"], {error.code for error in errors}) == (1, {Code.UNKNOWN_PLAN})
    s3.objects["kws.tflite"] = CONTENT
    now[0] += fetcher.ERROR_TTL[Code.UNKNOWN_PLAN]
    await store.get(FILE)
    assert s3.calls["GET"] == 2


async def test_the_traceback_of_a_kept_error_does_not_grow(s3: S3, store: ModelFileStore) -> None:
    s3.objects.clear()
    depths = []
    for _ in range(5):
        traceback, depth = (await error_of(store, FILE)).__traceback__, 0
        while traceback is not None:
            traceback, depth = traceback.tb_next, depth + 1
        depths.append(depth)
    assert depths[1] == depths[4]


async def test_wrong_content_is_an_error_with_its_checksum_and_not_kept(
    s3: S3, store: ModelFileStore, tmp_path: Path
) -> None:
    s3.objects["kws.tflite"] = CONTENT[:-1] + b"?"
    error = await error_of(store, FILE)
    assert error.code is Code.UNKNOWN_PLAN
    assert sha1(CONTENT[:-1] + b"?") in error.detail
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("declared", [100_001, 1 << 19])
async def test_a_response_that_ends_early_is_retried(declared: int, s3: S3, store: ModelFileStore) -> None:
    s3.declared = declared
    error = await error_of(store, FILE)
    assert (error.code, s3.calls["GET"]) == (Code.GAVE_UP, fetcher.ATTEMPTS)


async def test_an_object_longer_than_its_length_is_an_error(s3: S3, store: ModelFileStore, tmp_path: Path) -> None:
    s3.declared = 50_000
    error = await error_of(store, FILE)
    assert (error.code, s3.calls["GET"]) == (Code.UNKNOWN_PLAN, 1)
    assert "more than the 50000 bytes" in error.detail
    assert os.listdir(tmp_path) == []


async def test_a_failing_disk_is_named_in_the_error(store: ModelFileStore, tmp_path: Path) -> None:
    os.rmdir(tmp_path)
    error = await error_of(store, FILE)
    assert (error.code, error.detail) == (Code.GAVE_UP, "the gateway's disk: No such file or directory")


@pytest.mark.parametrize(
    "url",
    [
        "kws",
        "s3://",
        "s3://models",
        "s3://models/",
        "s3:///kws",
        "https://models.s3.amazonaws.com/kws",
        "S3://models/kws",
    ],
)
async def test_a_url_that_is_not_s3_is_an_error_without_a_request(url: str, s3: S3, store: ModelFileStore) -> None:
    error = await error_of(store, named(CONTENT, url))
    assert (error.code, error.detail) == (Code.UNKNOWN_PLAN, f"{url} is not s3://BUCKET/KEY")
    assert s3.calls == {}


@pytest.mark.parametrize(
    "key", ["ä/ö ü.bin", "a%20b?c#d+e&f", "/leading", "a//b", "../up", "\N{GRINNING FACE}", "x\ty"]
)
async def test_a_key_is_used_unchanged(key: str, s3: S3, store: ModelFileStore) -> None:
    s3.objects[key] = b"abc"
    assert (await store.get(named(b"abc", f"s3://models/{key}"))).total == 3
    assert await store.sizes([named(b"abc", f"s3://models/{key}")]) == {f"s3://models/{key}": 3}


async def test_no_control_character_of_a_url_is_in_the_error(store: ModelFileStore) -> None:
    error = await error_of(store, named(CONTENT, "s3://models/a\nb\x7f\x00c"))
    assert error.detail.isprintable()


async def test_a_long_url_is_cut_in_the_error(store: ModelFileStore) -> None:
    assert len((await error_of(store, named(CONTENT, "s3://models/" + "x" * 70_000))).detail) <= 500


async def test_the_sizes_of_100_files_are_requested_once_however_many_plans_name_them(
    s3: S3, store: ModelFileStore
) -> None:
    files = [named(bytes(number), f"s3://models/{number}") for number in range(100)]
    s3.objects |= {str(number): bytes(number) for number in range(100)}
    answers = await asyncio.gather(*(store.sizes(files) for _ in range(50)))
    assert all(sizes == {f"s3://models/{number}": number for number in range(100)} for sizes in answers)
    assert s3.calls == {"HEAD": 100}


async def test_an_unknown_size_is_left_out_and_not_requested_for_each_plan(s3: S3, store: ModelFileStore) -> None:
    other = named(b"a", "s3://models/gone")
    for _ in range(3):
        assert await store.sizes([FILE, other]) == {FILE.url: 100_000}
    assert s3.calls == {"HEAD": 2}


async def test_an_unknown_size_is_requested_again_later(
    s3: S3, store: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "NO_SIZE_TTL", 0.0)
    s3.error = s3_error("AccessDenied", 403)
    assert await store.sizes([FILE]) == {}
    s3.error = None
    await until_sized(store)
    assert s3.calls == {"HEAD": 2}


async def test_a_hanging_s3_delays_one_plan_only(
    s3: S3, store: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "SIZE_WAIT", 0.01)
    s3.gate.clear()
    assert await store.sizes([FILE]) == {}
    monkeypatch.setattr(fetcher, "SIZE_WAIT", 3600.0)
    assert await store.sizes([FILE]) == {}
    s3.gate.set()
    await until_sized(store)
    assert s3.calls == {"HEAD": 1}


async def test_hanging_fetches_do_not_delay_the_sizes(s3: S3, tmp_path: Path) -> None:
    hanging = S3(**s3.objects)
    hanging.gate.clear()
    hanging.head_object = s3.head_object  # type: ignore[method-assign]
    store = make_store(hanging, tmp_path)
    s3.objects |= {str(number): b"" for number in range(8)}
    fetches = [asyncio.create_task(store.get(named(b"", f"s3://models/{number}"))) for number in range(8)]
    assert await store.sizes([FILE]) == {FILE.url: 100_000}
    hanging.objects = dict.fromkeys(map(str, range(8)), b"")
    hanging.gate.set()
    await asyncio.gather(*fetches)
    store.close()


async def test_a_fetched_file_needs_no_request_for_its_size(s3: S3, store: ModelFileStore) -> None:
    await store.get(FILE)
    assert await store.sizes([FILE]) == {FILE.url: 100_000}
    assert s3.calls == {"GET": 1}


async def test_the_size_of_wrong_content_is_forgotten(s3: S3, store: ModelFileStore) -> None:
    s3.objects["kws.tflite"] = b"another"
    assert await store.sizes([FILE]) == {FILE.url: 7}
    await error_of(store, FILE)
    s3.objects["kws.tflite"] = CONTENT
    assert await store.sizes([FILE]) == {FILE.url: 100_000}


async def test_a_dropped_file_is_verified_again_and_a_late_drop_changes_nothing(s3: S3, store: ModelFileStore) -> None:
    first = await store.get(FILE)
    store.drop(FILE, first)
    assert store.cached(FILE) is None
    second = await store.get(FILE)
    store.drop(FILE, first)
    assert store.cached(FILE) is second
    assert s3.calls == {"GET": 1}


async def test_open_files_are_limited_and_those_in_use_stay_readable(
    s3: S3, store: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "MAX_OPEN_FILES", 2)
    files = [named(bytes([number]), f"s3://models/{number}") for number in range(4)]
    s3.objects |= {str(number): bytes([number]) for number in range(4)}
    held = [await store.get(file) for file in files]
    assert [store.cached(file) is not None for file in files] == [False, False, True, True]
    assert [found.read(0, 9) for found in held] == [b"\0", b"\1", b"\2", b"\3"]


async def test_an_evicted_file_is_closed(s3: S3, tmp_path: Path) -> None:
    store = make_store(s3, tmp_path, limit=100_000)
    await store.get(FILE)
    s3.objects["other"] = b"x" * 100_000
    await store.get(named(b"x" * 100_000, "s3://models/other"))
    assert store.cached(FILE) is None
    store.close()


async def test_a_stream_that_breaks_is_retried(s3: S3, store: ModelFileStore) -> None:
    good, broken = s3.get_object, [True]

    def once_broken(**parameters: Any) -> dict[str, Any]:
        answer = good(**parameters)
        if broken.pop() if broken else False:
            answer["Body"] = Breaking()
        return answer

    s3.get_object = once_broken  # type: ignore[method-assign]
    assert (await store.get(FILE)).total == 100_000
    assert s3.calls == {"GET": 2}


class Breaking:
    """A body whose connection is reset."""

    def iter_chunks(self, size: int) -> Any:
        yield CONTENT[:size]
        raise ResponseStreamingError(error="reset")

    def close(self) -> None:
        pass
