"""Dead letters without a subscriber: bounded, the same share for each device, whole lines."""

import base64
import errno
import json
import os
from pathlib import Path
from threading import Thread

import pytest

from gateway.errors import Code
from gateway.storage.dead_letters import DeadLetterFile, fair_share
from tests.support.arrivals import DEADLINE_S
from tests.support.open_files import free_files

MOST = 10_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeadLetterFile:
    monkeypatch.setattr("gateway.storage.dead_letters.DEAD_LETTER_BYTES", MOST)
    return DeadLetterFile(tmp_path)


def append(file: DeadLetterFile, device: str, number: int, size: int = 500) -> None:
    """Return once its thread has ended."""
    file.append(f"edge/f/{device}/hb", bytes(size), Code.MALFORMED, f"{number}", 1.0)
    file.close()


def kept(folder: Path) -> list[tuple[str, int]]:
    """Device and number of each letter, the oldest first."""
    files = [folder / name for name in ("dead.older.jsonl", "dead.jsonl")]
    lines = [json.loads(line) for path in files if path.exists() for line in path.read_text().splitlines()]
    assert all(base64.b64decode(line["payload"]) == bytes(len(base64.b64decode(line["payload"]))) for line in lines)
    return [(line["topic"].split("/")[2], int(line["reason"])) for line in lines]


def test_one_device_does_not_push_out_the_letter_of_another(file: DeadLetterFile, tmp_path: Path) -> None:
    append(file, "quiet", 1)
    for number in range(300):
        append(file, "loud", number)
    letters = kept(tmp_path)
    assert letters[0] == ("quiet", 1)
    loud = [number for device, number in letters if device == "loud"]
    assert loud == list(range(300 - len(loud), 300)), "its newest, in order"
    assert len(loud) > 10
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) <= 2
    assert max(sizes) < MOST + 1000


def test_devices_that_send_as_much_have_the_same_share(file: DeadLetterFile, tmp_path: Path) -> None:
    for number in range(100):
        for device in ("a", "b", "c"):
            append(file, device, number)
        append(file, "d", number, 5)
    letters = [device for device, _ in kept(tmp_path)]
    counts = [letters.count(device) for device in ("a", "b", "c")]
    assert max(counts) - min(counts) <= 1
    assert letters.count("d") > max(counts), "its letters are smaller"


def test_a_letter_that_is_larger_than_the_file_pushes_out_no_other(file: DeadLetterFile, tmp_path: Path) -> None:
    append(file, "quiet", 1)
    for number in range(3):
        append(file, "loud", number, 3 * MOST)
    assert kept(tmp_path) == [("quiet", 1)]


def test_no_letter_waits_for_the_older_file(file: DeadLetterFile, tmp_path: Path) -> None:
    """It is a pipe here, so that to read it takes as long as the test wants."""
    older = tmp_path / "dead.older.jsonl"
    os.mkfifo(older)

    def append_all() -> None:
        for number in range(20):
            file.append("edge/f/d/hb", bytes(500), Code.MALFORMED, f"{number}", 1.0)

    appending = Thread(target=append_all, daemon=True)
    appending.start()
    appending.join(DEADLINE_S)
    assert not appending.is_alive()
    with older.open("wb"):
        older.unlink()
    file.close()
    numbers = [number for _, number in kept(tmp_path)]
    assert numbers == list(range(20 - len(numbers), 20))
    assert len(numbers) > 15
    assert not (tmp_path / "dead.full.jsonl").exists()


def test_letters_of_a_process_that_ended_while_it_shared_them_are_kept(file: DeadLetterFile, tmp_path: Path) -> None:
    append(file, "quiet", 1)
    (tmp_path / "dead.jsonl").rename(tmp_path / "dead.full.jsonl")
    for number in range(30):
        append(file, "loud", number)
    assert kept(tmp_path)[0] == ("quiet", 1)
    assert not (tmp_path / "dead.full.jsonl").exists()


def test_too_many_open_files_push_out_no_letter(file: DeadLetterFile, tmp_path: Path) -> None:
    """They are shared when `dead.jsonl` is full again."""
    append(file, "quiet", 1)
    for number in range(15):
        append(file, "loud", number)
    with free_files(1):
        for number in range(15, 50):
            append(file, "loud", number)
    for number in range(50, 80):
        append(file, "loud", number)
    letters = kept(tmp_path)
    assert letters[0] == ("quiet", 1)
    assert letters[-1] == ("loud", 79)
    assert not (tmp_path / "dead.full.jsonl").exists()


def test_what_was_shared_is_kept_where_a_file_cannot_be_deleted(
    file: DeadLetterFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    append(file, "quiet", 1)
    for number in range(15):
        append(file, "loud", number)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    for number in range(15, 50):
        append(file, "loud", number)
    letters = kept(tmp_path)
    assert ("quiet", 1) in letters
    assert letters[-1] == ("loud", 49)


@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        ([], 100),
        ([10, 20], 100),
        ([100], 100),
        ([200], 100),
        ([10, 200], 90),
        ([200, 10, 200], 45),
        ([50, 50, 50], 33),
    ],
)
def test_a_fair_share_leaves_what_one_does_not_need_to_the_others(sizes: list[int], share: int) -> None:
    assert fair_share(sizes, 100) == share
