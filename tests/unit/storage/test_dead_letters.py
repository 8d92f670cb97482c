"""Dead letters without a subscriber: bounded, the same share for each device, whole lines."""

import base64
import json
from pathlib import Path

import pytest

from gateway.errors import Code
from gateway.storage.dead_letters import DeadLetterFile, fair_share

MOST = 10_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeadLetterFile:
    monkeypatch.setattr("gateway.storage.dead_letters.DEAD_LETTER_BYTES", MOST)
    return DeadLetterFile(tmp_path)


def append(file: DeadLetterFile, device: str, number: int, size: int = 500) -> None:
    file.append(f"edge/f/{device}/hb", bytes(size), Code.MALFORMED, f"{number}", 1.0)


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
