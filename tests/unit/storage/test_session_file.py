"""The last connection over restarts: of its client id and broker alone, whatever the disk does."""

import os
from pathlib import Path

import pytest

from gateway.mqtt.session_loss import FOR_EVER, SessionLoss, SessionRecord
from gateway.protocol.messages import LATEST
from gateway.storage.session_file import SessionFile

LOSS = SessionLoss(1_699_000_000.5, 1_699_000_100.5, expired=False)
RECORD = SessionRecord(1_700_000_000.0, 3600, LOSS)
BROKER = "broker.example:1883"


def opened(folder: Path, client_id: str = "gateway", broker: str = BROKER) -> SessionFile:
    return SessionFile(folder, client_id, broker)


def test_a_new_folder_knows_nothing(tmp_path: Path) -> None:
    file = opened(tmp_path / "state")
    file.touch(1.0)
    assert file.record is None
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("record", [RECORD, SessionRecord(1_700_000_000.0, FOR_EVER)])
def test_what_was_saved_is_there_after_a_restart(tmp_path: Path, record: SessionRecord) -> None:
    opened(tmp_path).save(record)
    assert opened(tmp_path).record == record


def test_the_last_time_is_kept(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.save(RECORD)
    file.touch(1_700_000_060.0)
    expected = SessionRecord(1_700_000_060.0, 3600, LOSS)
    assert (file.record, opened(tmp_path).record) == (expected, expected)


def test_each_client_id_and_broker_has_its_own(tmp_path: Path) -> None:
    opened(tmp_path).save(RECORD)
    assert opened(tmp_path, client_id="other").record is None
    assert opened(tmp_path, broker="other.example:1883").record is None
    opened(tmp_path, client_id="other").save(SessionRecord(1.0, 1))
    assert opened(tmp_path).record == RECORD


def with_loss(since: str = "1", until: str = "2", expired: str = "true") -> bytes:
    return f'{{"expiry": 5, "loss": {{"since": {since}, "until": {until}, "expired": {expired}}}}}'.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"expiry": null, "loss": null}',
        b'{"loss": 1}',
        pytest.param(b"[" * 200_000, id="deep"),
        b'{"expiry": Infinity, "loss": null}',
        b'{"expiry": 5, "loss": 0}',
        b'{"expiry": 5, "loss": {}}',
        with_loss(since='"x"'),
        with_loss(since="-1e20"),
        with_loss(until="NaN"),
        with_loss(until="300000000000"),
        with_loss(expired="1"),
    ],
)
def test_a_damaged_file_still_says_that_there_was_a_session(tmp_path: Path, content: bytes) -> None:
    opened(tmp_path).save(RECORD)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    found = opened(tmp_path)
    assert found.record is not None
    assert (found.record.expiry, found.record.loss) == (FOR_EVER, None)
    found.save(RECORD)
    assert opened(tmp_path).record == RECORD


@pytest.mark.parametrize("date", [-1e10, 3e11])
def test_a_date_that_is_none_is_bounded(tmp_path: Path, date: float) -> None:
    opened(tmp_path).save(RECORD)
    (path,) = tmp_path.iterdir()
    os.utime(path, (date, date))
    found = opened(tmp_path).record
    assert found is not None
    assert 0 <= found.connected <= LATEST


def test_a_folder_that_cannot_be_written_keeps_it_for_this_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file = opened(tmp_path / "file")
    file.save(RECORD)
    file.touch(1_700_000_060.0)
    assert file.record == SessionRecord(1_700_000_060.0, 3600, LOSS)
