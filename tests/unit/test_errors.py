"""One line for a person, of the exceptions of the operating system and of SQLite: what happened, and what to do."""

import errno
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from gateway.errors import explain

FOLDER = "the folder must exist, and this user must be able to write it"


def os_error(number: int, *path: str) -> OSError:
    return OSError(number, os.strerror(number), *path)


@pytest.mark.parametrize(
    ("error", "subject", "text"),
    [
        (
            os_error(errno.EACCES, "/a"),
            None,
            "/a: Permission denied; run the command as root, or as the user that owns it",
        ),
        (os_error(errno.ENOSPC), "/data", "/data: No space left on device; make room on the disk"),
        (os_error(errno.EROFS, "/a"), "/b", "/b: Read-only file system; name a folder that can be written"),
        (
            os_error(errno.EADDRINUSE),
            None,
            "Address already in use; end the process that listens there, or give another port",
        ),
        (os_error(errno.EXDEV, "/a"), None, "/a: Invalid cross-device link"),
        (OSError("no 2 free ports"), None, "no 2 free ports"),
    ],
)
def test_an_error_of_the_operating_system(error: OSError, subject: str | None, text: str) -> None:
    assert explain(error, subject) == text


def test_an_address_that_asyncio_cannot_bind() -> None:
    reason = "error while attempting to bind on address ('127.0.0.1', 9470): address already in use"
    text = "127.0.0.1:9470: address already in use; end the process that listens there, or give another port"
    assert explain(OSError(errno.EADDRINUSE, reason), "127.0.0.1:9470") == text
    numbered = reason.replace("): ", "): [errno 98] ")  # as of Python 3.13
    assert explain(OSError(errno.EADDRINUSE, numbered), "127.0.0.1:9470") == text


def test_a_host_name_that_does_not_exist() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert (
        explain(error, "nowhere:80") == "nowhere:80: Name or service not known; correct the host name, or check the DNS"
    )


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "none" / "file").execute("SELECT 1 FROM x")
    assert explain(caught.value, "x.sqlite") == f"x.sqlite: unable to open database file; {FOLDER}"


def test_a_database_that_another_process_uses(tmp_path: Path) -> None:
    first, second = (sqlite3.connect(tmp_path / "file", timeout=0, isolation_level=None) for _ in range(2))
    first.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        second.execute("BEGIN EXCLUSIVE")
    assert explain(caught.value) == "database is locked; end the process that uses it, or try again"
    first.close()
    second.close()
