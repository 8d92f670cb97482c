"""The cache on disk: bounded in bytes, the least recently used are evicted first, nothing leaves it unverified."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code, FileError
from gateway.files.cache import CHUNK, Corrupted, FileCache, VerifiedFile
from gateway.protocol.messages import ModelFile
from tests.support.arrivals import DEADLINE_S
from tests.unit.files.model_files import named, pattern, sha1

SIZE = 2 * CHUNK + 1000
CONTENT = pattern(SIZE)


def put(cache: FileCache, content: bytes, url: str = "s3://models/kws.tflite") -> VerifiedFile:
    return cache.put(named(content, url), len(content), iter([content]))


def whole(found: VerifiedFile | None) -> bytes:
    assert found is not None
    return found.read(0, found.total)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> VerifiedFile:
    return put(FileCache(tmp_path_factory.mktemp("cache"), SIZE), CONTENT)


@given(offset=st.integers(0, SIZE + 10), length=st.integers(1, CHUNK))
@settings(max_examples=300)
def test_a_read_is_the_slice_of_the_bytes(offset: int, length: int, verified: VerifiedFile) -> None:
    assert verified.read(offset, length) == CONTENT[offset : offset + length]


@pytest.mark.parametrize("near", [0, CHUNK, 2 * CHUNK, SIZE])
@pytest.mark.parametrize("step", [-1, 0, 1])
@pytest.mark.parametrize("length", [1, 2, 512, CHUNK])
def test_a_read_at_every_boundary(near: int, step: int, length: int, verified: VerifiedFile) -> None:
    offset = max(near + step, 0)
    assert verified.read(offset, length) == CONTENT[offset : offset + length]


def test_reading_beyond_what_it_keeps_in_memory_gives_the_same_bytes(tmp_path: Path) -> None:
    content = pattern(20 * CHUNK)
    found = put(FileCache(tmp_path, len(content)), content)
    assert [found.read(number * CHUNK, CHUNK) for number in range(20)] == [
        content[start : start + CHUNK] for start in range(0, len(content), CHUNK)
    ]
    assert found.read(0, CHUNK) == content[:CHUNK]


@pytest.mark.parametrize("content", [b"", b"a", pattern(CHUNK), pattern(CHUNK + 1)])
def test_a_file_is_still_there_after_a_restart(content: bytes, tmp_path: Path) -> None:
    put(FileCache(tmp_path, 1 << 20), content)
    found = FileCache(tmp_path, 1 << 20).open(named(content))
    assert whole(found) == content


def test_an_unknown_file_is_none(tmp_path: Path) -> None:
    assert FileCache(tmp_path, 100).open(named(b"a")) is None


def test_the_same_checksum_in_capitals_is_the_same_file(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 100)
    put(cache, b"abc")
    assert whole(cache.open(ModelFile("s3://models/kws.tflite", sha1(b"abc").upper()))) == b"abc"


def test_a_restart_removes_unfinished_files(tmp_path: Path) -> None:
    put(FileCache(tmp_path, 100), b"abc")
    (tmp_path / "0123.part").write_bytes(b"ab")
    cache = FileCache(tmp_path, 100)
    assert only_file(tmp_path).suffix == ""
    assert whole(cache.open(named(b"abc"))) == b"abc"


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 30)
    files = [named(bytes([65 + number]) * 10, f"s3://models/{number}") for number in range(4)]
    held = [cache.put(file, 10, [bytes([65 + number]) * 10]) for number, file in enumerate(files[:3])]
    for number, found in enumerate(held):
        os.utime(cache._path(files[number]), (number, number))
        assert not found.evicted
    held[0].touch()
    cache.put(files[3], 10, [b"D" * 10])
    assert [found.evicted for found in held] == [False, True, False]
    assert cache.open(files[1]) is None


def test_as_many_go_as_the_new_one_needs(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 30)
    for number in range(3):
        put(cache, bytes([65 + number]) * 10, f"s3://models/{number}")
    put(cache, b"x" * 25)
    assert only_file(tmp_path).read_bytes() == b"x" * 25


def test_a_file_larger_than_the_cache_is_not_taken_and_nothing_goes_for_it(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 30)
    put(cache, b"abc")
    with pytest.raises(FileError, match="31 bytes, the cache 30") as caught:
        put(cache, b"x" * 31)
    assert caught.value.code is Code.UNKNOWN_PLAN
    assert whole(cache.open(named(b"abc"))) == b"abc"


def test_two_that_do_not_fit_together_are_written_one_after_the_other(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 30)
    began, may_end = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        began.set()
        assert may_end.wait(DEADLINE_S)
        yield b"a" * 20

    first = threading.Thread(target=lambda: cache.put(named(b"a" * 20, "s3://models/a"), 20, slowly()))
    first.start()
    assert began.wait(DEADLINE_S)
    second = threading.Thread(target=lambda: put(cache, b"b" * 20, "s3://models/b"))
    second.start()
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    may_end.set()
    first.join(DEADLINE_S)
    second.join(DEADLINE_S)
    assert only_file(tmp_path).read_bytes() == b"b" * 20


def test_a_file_that_is_being_written_is_not_evicted(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 30)

    def while_another_is_put() -> Iterator[bytes]:
        yield b"a" * 5
        put(cache, b"b" * 10, "s3://models/b")
        put(cache, b"c" * 10, "s3://models/c")
        put(cache, b"d" * 10, "s3://models/d")
        yield b"a" * 5

    found = cache.put(named(b"a" * 10, "s3://models/a"), 10, while_another_is_put())
    assert whole(found) == b"a" * 10
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 30


@pytest.mark.parametrize(
    ("size", "chunks", "why"),
    [
        (3, [b"abd"], f"has the SHA1 {sha1(b'abd')}"),
        (3, [b"ab"], f"has the SHA1 {sha1(b'ab')}"),
        (3, [b"abc", b"d"], "more than the 3 bytes"),
        (0, [], f"has the SHA1 {sha1(b'')}"),
    ],
)
def test_wrong_content_is_not_kept(size: int, chunks: list[bytes], why: str, tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 100)
    with pytest.raises(FileError, match=why) as caught:
        cache.put(named(b"abc"), size, chunks)
    assert caught.value.code is Code.UNKNOWN_PLAN
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "MD5", "SHA256", "sha1"])
def test_an_unsupported_checksum_is_an_error_before_anything_is_fetched(kind: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=f"type {kind} cannot be verified"):
        FileCache(tmp_path, 100).open(ModelFile("s3://models/kws", "900150983cd24fb0d6963f7d28e17f72", kind))


def test_a_fetch_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionResetError

    cache = FileCache(tmp_path, 100)
    with pytest.raises(ConnectionResetError):
        cache.put(named(b"abc"), 3, broken())
    assert list(tmp_path.iterdir()) == []
    assert whole(put(cache, b"abc")) == b"abc"


@pytest.mark.parametrize("damage", [b"abd", b"ab", b"abcd", b""])
def test_a_file_that_the_disk_changed_is_found_when_it_is_opened(damage: bytes, tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 100)
    put(cache, b"abc")
    only_file(tmp_path).write_bytes(damage)
    assert cache.open(named(b"abc")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_disk_changed_is_found_when_it_is_read(tmp_path: Path) -> None:
    found = put(FileCache(tmp_path, SIZE), CONTENT)
    assert found.read(0, 10) == CONTENT[:10]
    with only_file(tmp_path).open("r+b") as file:
        file.seek(CHUNK + 5)
        file.write(b"?")
    with pytest.raises(Corrupted):
        found.read(CHUNK - 5, 10)
    assert found.read(2 * CHUNK, 1000) == CONTENT[2 * CHUNK :]


def test_an_evicted_file_can_be_read_while_it_is_open(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, SIZE)
    found = put(cache, CONTENT)
    put(cache, b"x" * SIZE, "s3://models/another")
    assert found.evicted
    assert whole(found) == CONTENT


def test_a_file_without_a_reference_is_closed(tmp_path: Path) -> None:
    found = put(FileCache(tmp_path, 100), b"abc")
    number = found._fd
    del found
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("no folder")


def a_link_to_nothing(folder: Path) -> None:
    folder.rmdir()
    folder.symlink_to(folder.parent / "nothing")


@pytest.mark.parametrize("instead", [a_file, a_link_to_nothing])
def test_what_stands_in_the_place_of_the_folder_is_set_aside(instead: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    instead(folder)
    assert whole(put(FileCache(folder, SIZE), CONTENT)) == CONTENT
    assert len(list(tmp_path.glob("models.damaged-*"))) == 1


def folder_of_its_name(file: Path) -> None:
    file.unlink()
    (file / "some").mkdir(parents=True)


def unfinished_that_is_a_folder(file: Path) -> None:
    file.unlink()
    (file.with_suffix(".part") / "some").mkdir(parents=True)


def folder_of_the_file_system(file: Path) -> None:
    (file.parent / "lost+found").mkdir()


@pytest.mark.parametrize("foreign", [folder_of_its_name, unfinished_that_is_a_folder, folder_of_the_file_system])
def test_a_folder_in_the_cache_stops_neither_its_start_nor_a_file(
    foreign: Callable[[Path], None], tmp_path: Path
) -> None:
    put(FileCache(tmp_path, SIZE), CONTENT)
    foreign(only_file(tmp_path))
    cache = FileCache(tmp_path, SIZE)
    found = cache.open(named(CONTENT, "s3://models/kws.tflite")) or put(cache, CONTENT)
    assert whole(found) == CONTENT
    assert whole(put(cache, pattern(SIZE - 1), "s3://models/other")) == pattern(SIZE - 1), "the first is evicted"
