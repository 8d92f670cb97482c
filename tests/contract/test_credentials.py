"""Where credentials come from: boto3's chain over real files and programs, asked with a deadline, and asked again."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.cloud import CredentialSource, make_edge_client, make_session
from gateway.cloud import credentials as module
from gateway.cloud.credentials import CredentialInfo
from gateway.errors import ConfigError, OperatorError
from tests.support.arrivals import DEADLINE_S
from tests.support.polling import until

SHARED_FILE = "[default]\naws_access_key_id = {}\naws_secret_access_key = secret\n"


@pytest.fixture
def folder(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the shared files, of which none is there."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CredentialSource]:
    monkeypatch.setattr(module, "SEARCH_INTERVAL", 0.0)
    monkeypatch.setattr(module, "RENEWAL_TIMEOUT", DEADLINE_S)
    made = CredentialSource(None, 1.0, 1.0)
    yield made
    made.close()


def by_program(folder: Path) -> Callable[[str], None]:
    """The credentials come from a program from now on, the shell script that is given."""
    program = folder / "program"
    (folder / "config").write_text(f"[default]\ncredential_process = {program}\n")

    def write(script: str) -> None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)

    return write


def issued(key: str, minutes: float) -> str:
    end = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    keys = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": end}
    return f"echo '{json.dumps(keys)}'"


def test_the_files_are_read_again_when_they_change(folder: Path, source: CredentialSource) -> None:
    assert source.info() is None
    for key in ("one", "two"):
        (folder / "credentials").write_text(SHARED_FILE.format(key))
        assert source.get_frozen_credentials().access_key == key
    assert source.info() == CredentialInfo("shared-credentials-file", temporary=False, renewed=False)


@pytest.mark.parametrize("damage", ["[default]\naws_access_key_id = key\n", "[default", ""])
def test_a_file_that_is_half_written_takes_nothing_away(folder: Path, source: CredentialSource, damage: str) -> None:
    (folder / "credentials").write_text(SHARED_FILE.format("one"))
    assert source.get_frozen_credentials().access_key == "one"
    (folder / "credentials").write_text(damage)
    assert source.get_frozen_credentials().access_key == "one"
    (folder / "credentials").write_text(SHARED_FILE.format("two"))
    assert source.get_frozen_credentials().access_key == "two"


def test_a_program_is_asked_again_after_a_rejection(folder: Path, source: CredentialSource) -> None:
    write = by_program(folder)
    write(issued("one", 60))
    assert source.get_frozen_credentials().access_key == "one"
    write(issued("two", 60))
    assert source.get_frozen_credentials().access_key == "one"
    source.reject()
    assert source.get_frozen_credentials().access_key == "two"
    assert source.info() == CredentialInfo("custom-process", temporary=True, renewed=True)


def test_a_renewal_that_hangs_holds_nobody(
    folder: Path, source: CredentialSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = by_program(folder)
    write(issued("one", 5))  # so near its end that botocore waits for the next ones
    assert source.get_frozen_credentials().access_key == "one"
    write("exec sleep 60")
    monkeypatch.setattr(module, "RENEWAL_TIMEOUT", 0.3)
    assert source.get_frozen_credentials().access_key == "one"


def test_a_program_that_hangs_is_ended(folder: Path, source: CredentialSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROCESS_TIMEOUT", 0.1)
    by_program(folder)("exec sleep 60")
    problem = source.problem()
    assert isinstance(problem, OperatorError)
    assert "timed out" in str(problem)


def test_a_search_that_hangs_is_an_error_at_the_deadline(
    folder: Path, source: CredentialSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEARCH_TIMEOUT", 0.3)
    by_program(folder)("exec sleep 60")
    problems = [source.problem()]
    while source.asked != "custom-process":  # the search had not come to it
        problems.append(source.problem())
    assert str(source.problem()).endswith("from custom-process: no answer in 0.3 s")
    assert None not in problems


def test_at_the_stop_a_program_is_ended(folder: Path, source: CredentialSource) -> None:
    write = by_program(folder)
    write(f"touch {folder / 'started'}; exec sleep 60")
    asking = threading.Thread(target=source.problem)
    asking.start()
    until((folder / "started").exists, lambda: "it did not start")
    source.close()
    asking.join(DEADLINE_S)
    assert not asking.is_alive()


def test_a_program_that_starts_at_the_stop_is_ended(
    folder: Path, source: CredentialSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs before the thread that starts it has it."""
    started, closed = threading.Event(), threading.Event()

    class Late(module._BoundedProcess):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.set()
            closed.wait(DEADLINE_S)

    monkeypatch.setattr(module, "_BoundedProcess", Late)
    by_program(folder)("exec sleep 60")
    asking = threading.Thread(target=source.problem)
    asking.start()
    assert started.wait(DEADLINE_S)
    source.close()
    closed.set()
    asking.join(DEADLINE_S)
    assert not asking.is_alive()


def test_an_unknown_profile_is_a_mistake_where_there_are_files(
    folder: Path, source: CredentialSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without files it is none: they may come later."""
    monkeypatch.setenv("AWS_PROFILE", "site")
    make_edge_client(make_session(source), None, 1, 1.0, 1.0).close()
    assert "(site) could not be found" in str(source.problem())
    (folder / "credentials").write_text(SHARED_FILE.format("key"))
    with pytest.raises(ConfigError, match=r"\(site\) could not be found"):
        make_edge_client(make_session(source), None, 1, 1.0, 1.0)
