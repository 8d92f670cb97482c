"""Atomic files: complete or unchanged, with the right owner and mode."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ProvisioningError
from gateway.provisioning import atomic_files
from tests.support.needs import root


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """With it every file that is made without a mode is writable for all."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("mode", [atomic_files.SECRET, atomic_files.PUBLIC])
def test_a_file_has_its_mode_whatever_was_there(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o666)
    atomic_files.write(path, b"after", mode)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"after", mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_never_readable_by_others_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(os.fstat(fd).st_mode & 0o077))
    atomic_files.write(tmp_path / "file", b"secret", atomic_files.SECRET)
    assert seen[0] == 0


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_files.write(path, b"after", atomic_files.SECRET)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Otherwise the owner of a folder could make root read or overwrite any file."""
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text("theirs")
    link.symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        atomic_files.read(link)
    atomic_files.write(link, b"ours", atomic_files.SECRET)
    assert (other.read_text(), atomic_files.read(link)) == ("theirs", b"ours")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert atomic_files.read(tmp_path / "none") is None
    assert not atomic_files.remove(tmp_path / "none")


def test_a_file_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    root("only root can give files away")
    os.chown(tmp_path, 4242, 4242)
    atomic_files.write(tmp_path / "file", b"", atomic_files.SECRET)
    assert (tmp_path / "file").stat().st_uid == 4242


def test_a_folder_gets_its_mode_only_when_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    atomic_files.make_folder(path, atomic_files.SECRET_FOLDER, "no-such-account")
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o750)
    atomic_files.make_folder(path, atomic_files.SECRET_FOLDER)
    assert path.stat().st_mode & 0o777 == 0o750


def test_no_folder_no_lock(tmp_path: Path) -> None:
    with (
        pytest.raises(ProvisioningError, match="`edge-gateway devices init` makes one"),
        atomic_files.locked(tmp_path / "ca"),
    ):
        pass
