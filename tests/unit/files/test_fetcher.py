"""The gate to S3: one fetch for all who ask, verified, remembered where it fails, and never a wait that has no end."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ParamValidationError, ResponseStreamingError

from gateway.errors import Code, FileError
from gateway.files import fetcher
from gateway.files.fetcher import ModelFileStore
from gateway.protocol.messages import ModelFile
from gateway.retry import RetryPolicy
from tests.unit.files.model_files import S3, named, pattern, refusal, sha1

CONTENT = pattern(100_000)
FILE = named(CONTENT)


@pytest.fixture
def s3() -> S3:
    return S3(kws_tflite=CONTENT)


@pytest.fixture
async def opener(s3: S3, tmp_path: Path) -> AsyncIterator[ModelFileStore]:
    made = opening(s3, tmp_path)
    yield made
    made.close()


def opening(s3: S3, folder: Path, limit: int = 1 << 20) -> ModelFileStore:
    return ModelFileStore(lambda: s3, folder, limit, RetryPolicy(asyncio.Event(), base=0.001, cap=0.001))


async def until_sized(opener: ModelFileStore) -> None:
    while True:
        if await opener.sizes([FILE]):
            return
        await asyncio.sleep(0)


async def fault_of(opener: ModelFileStore, file: ModelFile) -> FileError:
    with pytest.raises(FileError) as caught:
        await opener.open(file)
    return caught.value


async def test_it_is_fetched_once_for_all_who_ask_meanwhile(s3: S3, opener: ModelFileStore) -> None:
    s3.gate.clear()
    waiting = [asyncio.create_task(opener.open(FILE)) for _ in range(1000)]
    await asyncio.sleep(0)
    assert opener.opened(FILE) is None
    s3.gate.set()
    found = await asyncio.gather(*waiting)
    assert s3.calls == {"GET": 1}
    assert {id(each) for each in found} == {id(opener.opened(FILE))}
    assert found[0].read(0, 100_000) == CONTENT


async def test_one_who_stops_waiting_does_not_end_the_fetch(s3: S3, opener: ModelFileStore) -> None:
    s3.gate.clear()
    first, second = (asyncio.create_task(opener.open(FILE)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    s3.gate.set()
    assert (await second).total == 100_000
    assert s3.calls == {"GET": 1}


async def test_a_restart_fetches_nothing(s3: S3, opener: ModelFileStore, tmp_path: Path) -> None:
    await opener.open(FILE)
    again = opening(s3, tmp_path)
    assert (await again.open(FILE)).read(99_990, 100) == CONTENT[99_990:]
    again.close()
    assert s3.calls == {"GET": 1}


@pytest.mark.parametrize(
    ("error", "code", "gets"),
    [
        (refusal("NoSuchBucket", 404), Code.UNKNOWN_PLAN, 1),
        (refusal("AccessDenied", 403), Code.GAVE_UP, 1),
        (refusal("ExpiredToken", 400), Code.GAVE_UP, 1),
        (refusal("404", 404), Code.GAVE_UP, 1),
        (refusal("SlowDown", 503), Code.GAVE_UP, fetcher.ATTEMPTS),
        (ConnectTimeoutError(endpoint_url="http://s3"), Code.GAVE_UP, fetcher.ATTEMPTS),
        (ParamValidationError(report='Invalid bucket name "a\nb"'), Code.UNKNOWN_PLAN, 1),
    ],
)
async def test_a_fault_is_told_and_only_what_may_pass_is_tried_again(
    error: Exception, code: Code, gets: int, s3: S3, opener: ModelFileStore
) -> None:
    s3.fault = error
    fault = await fault_of(opener, FILE)
    assert (fault.code, s3.calls["GET"]) == (code, gets)
    assert fault.detail.startswith("s3://models/kws.tflite")
    assert fault.detail.isprintable()


async def test_an_object_that_is_gone_is_not_asked_for_again_for_a_while(
    s3: S3, opener: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fetcher.FAULT_KEPT, Code.UNKNOWN_PLAN, 0.05)
    s3.objects.clear()
    faults = [await fault_of(opener, FILE) for _ in range(3)]
    assert (s3.calls["GET"], {fault.code for fault in faults}) == (1, {Code.UNKNOWN_PLAN})
    s3.objects["kws.tflite"] = CONTENT
    while opener.opened(FILE) is None:
        await asyncio.gather(opener.open(FILE), return_exceptions=True)
    assert s3.calls["GET"] == 2


async def test_the_remembered_fault_does_not_grow_with_each_who_hears_it(s3: S3, opener: ModelFileStore) -> None:
    s3.objects.clear()
    depths = []
    for _ in range(5):
        traceback, depth = (await fault_of(opener, FILE)).__traceback__, 0
        while traceback is not None:
            traceback, depth = traceback.tb_next, depth + 1
        depths.append(depth)
    assert depths[1] == depths[4]


async def test_wrong_content_is_told_with_its_checksum_and_not_kept(
    s3: S3, opener: ModelFileStore, tmp_path: Path
) -> None:
    s3.objects["kws.tflite"] = CONTENT[:-1] + b"?"
    fault = await fault_of(opener, FILE)
    assert fault.code is Code.UNKNOWN_PLAN
    assert sha1(CONTENT[:-1] + b"?") in fault.detail
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("declared", [100_001, 1 << 19])
async def test_an_answer_that_ends_early_is_tried_again(declared: int, s3: S3, opener: ModelFileStore) -> None:
    s3.declared = declared
    fault = await fault_of(opener, FILE)
    assert (fault.code, s3.calls["GET"]) == (Code.GAVE_UP, fetcher.ATTEMPTS)


async def test_an_object_longer_than_it_says_is_not_taken(s3: S3, opener: ModelFileStore, tmp_path: Path) -> None:
    s3.declared = 50_000
    fault = await fault_of(opener, FILE)
    assert (fault.code, s3.calls["GET"]) == (Code.UNKNOWN_PLAN, 1)
    assert "more than the 50000 bytes" in fault.detail
    assert os.listdir(tmp_path) == []


async def test_a_disk_that_fails_is_told_as_such(opener: ModelFileStore, tmp_path: Path) -> None:
    os.rmdir(tmp_path)
    fault = await fault_of(opener, FILE)
    assert (fault.code, fault.detail) == (Code.GAVE_UP, "the gateway's disk: No such file or directory")


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
async def test_what_is_no_s3_url_is_told_and_nothing_is_asked(url: str, s3: S3, opener: ModelFileStore) -> None:
    fault = await fault_of(opener, named(CONTENT, url))
    assert (fault.code, fault.detail) == (Code.UNKNOWN_PLAN, f"{url} is not s3://BUCKET/KEY")
    assert s3.calls == {}


@pytest.mark.parametrize(
    "key", ["ä/ö ü.bin", "a%20b?c#d+e&f", "/leading", "a//b", "../up", "\N{GRINNING FACE}", "x\ty"]
)
async def test_a_key_is_taken_as_it_stands(key: str, s3: S3, opener: ModelFileStore) -> None:
    s3.objects[key] = b"abc"
    assert (await opener.open(named(b"abc", f"s3://models/{key}"))).total == 3
    assert await opener.sizes([named(b"abc", f"s3://models/{key}")]) == {f"s3://models/{key}": 3}


async def test_no_control_character_of_a_url_is_in_what_is_told(opener: ModelFileStore) -> None:
    fault = await fault_of(opener, named(CONTENT, "s3://models/a\nb\x7f\x00c"))
    assert fault.detail.isprintable()


async def test_a_long_url_is_cut_in_what_is_told(opener: ModelFileStore) -> None:
    assert len((await fault_of(opener, named(CONTENT, "s3://models/" + "x" * 70_000))).detail) <= 500


async def test_the_sizes_of_100_files_are_asked_once_however_many_plans_name_them(
    s3: S3, opener: ModelFileStore
) -> None:
    files = [named(bytes(number), f"s3://models/{number}") for number in range(100)]
    s3.objects |= {str(number): bytes(number) for number in range(100)}
    told = await asyncio.gather(*(opener.sizes(files) for _ in range(50)))
    assert all(sizes == {f"s3://models/{number}": number for number in range(100)} for sizes in told)
    assert s3.calls == {"HEAD": 100}


async def test_a_size_that_cannot_be_had_is_left_out_and_not_asked_for_at_each_plan(
    s3: S3, opener: ModelFileStore
) -> None:
    other = named(b"a", "s3://models/gone")
    for _ in range(3):
        assert await opener.sizes([FILE, other]) == {FILE.url: 100_000}
    assert s3.calls == {"HEAD": 2}


async def test_a_size_that_could_not_be_had_is_asked_for_later(
    s3: S3, opener: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "NO_SIZE_KEPT", 0.0)
    s3.fault = refusal("AccessDenied", 403)
    assert await opener.sizes([FILE]) == {}
    s3.fault = None
    await until_sized(opener)
    assert s3.calls == {"HEAD": 2}


async def test_a_hanging_s3_holds_up_one_plan_only(
    s3: S3, opener: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "SIZE_WAIT", 0.01)
    s3.gate.clear()
    assert await opener.sizes([FILE]) == {}
    monkeypatch.setattr(fetcher, "SIZE_WAIT", 3600.0)
    assert await opener.sizes([FILE]) == {}
    s3.gate.set()
    await until_sized(opener)
    assert s3.calls == {"HEAD": 1}


async def test_fetches_that_hang_do_not_hold_up_the_sizes(s3: S3, tmp_path: Path) -> None:
    hanging = S3(**s3.objects)
    hanging.gate.clear()
    hanging.head_object = s3.head_object  # type: ignore[method-assign]
    opener = opening(hanging, tmp_path)
    s3.objects |= {str(number): b"" for number in range(8)}
    fetches = [asyncio.create_task(opener.open(named(b"", f"s3://models/{number}"))) for number in range(8)]
    assert await opener.sizes([FILE]) == {FILE.url: 100_000}
    hanging.objects = dict.fromkeys(map(str, range(8)), b"")
    hanging.gate.set()
    await asyncio.gather(*fetches)
    opener.close()


async def test_a_fetched_file_needs_no_question_for_its_size(s3: S3, opener: ModelFileStore) -> None:
    await opener.open(FILE)
    assert await opener.sizes([FILE]) == {FILE.url: 100_000}
    assert s3.calls == {"GET": 1}


async def test_the_size_of_wrong_content_is_forgotten(s3: S3, opener: ModelFileStore) -> None:
    s3.objects["kws.tflite"] = b"another"
    assert await opener.sizes([FILE]) == {FILE.url: 7}
    await fault_of(opener, FILE)
    s3.objects["kws.tflite"] = CONTENT
    assert await opener.sizes([FILE]) == {FILE.url: 100_000}


async def test_what_is_dropped_is_verified_anew_and_a_late_drop_changes_nothing(s3: S3, opener: ModelFileStore) -> None:
    first = await opener.open(FILE)
    opener.drop(FILE, first)
    assert opener.opened(FILE) is None
    second = await opener.open(FILE)
    opener.drop(FILE, first)
    assert opener.opened(FILE) is second
    assert s3.calls == {"GET": 1}


async def test_so_many_files_are_held_open_and_those_in_use_stay_readable(
    s3: S3, opener: ModelFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "OPEN_FILES", 2)
    files = [named(bytes([number]), f"s3://models/{number}") for number in range(4)]
    s3.objects |= {str(number): bytes([number]) for number in range(4)}
    held = [await opener.open(file) for file in files]
    assert [opener.opened(file) is not None for file in files] == [False, False, True, True]
    assert [found.read(0, 9) for found in held] == [b"\0", b"\1", b"\2", b"\3"]


async def test_a_file_that_left_the_disk_is_not_held_on_to(s3: S3, tmp_path: Path) -> None:
    opener = opening(s3, tmp_path, limit=100_000)
    await opener.open(FILE)
    s3.objects["other"] = b"x" * 100_000
    await opener.open(named(b"x" * 100_000, "s3://models/other"))
    assert opener.opened(FILE) is None
    opener.close()


async def test_a_stream_that_breaks_is_tried_again(s3: S3, opener: ModelFileStore) -> None:
    good, broken = s3.get_object, [True]

    def once_broken(**parameters: Any) -> dict[str, Any]:
        answer = good(**parameters)
        if broken.pop() if broken else False:
            answer["Body"] = Breaking()
        return answer

    s3.get_object = once_broken  # type: ignore[method-assign]
    assert (await opener.open(FILE)).total == 100_000
    assert s3.calls == {"GET": 2}


class Breaking:
    """A body whose connection is reset."""

    def iter_chunks(self, size: int) -> Any:
        yield CONTENT[:size]
        raise ResponseStreamingError(error="reset")

    def close(self) -> None:
        pass
