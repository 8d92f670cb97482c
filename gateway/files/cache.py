"""Model files on this machine's disk, over restarts: bounded, the least recently used are evicted first.

A file must never be used before it is verified. It does not use S3 and has no state of devices.
"""

import errno
import hashlib
import os
import shutil
import stat
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from gateway.errors import Code, FileError
from gateway.protocol import ModelFile
from gateway.storage import set_aside

CHUNK = 65_536
"""Bytes that are read and verified at once."""
_CACHED_CHUNKS = 16
_DIGESTS = {"SHA1": lambda: hashlib.sha1(usedforsecurity=False)}

_log = structlog.get_logger()


class Corrupted(Exception):
    """The disk returned other bytes than those that were verified."""


class VerifiedFile:
    """A file whose checksum was right when it was opened; each later read is compared with that state.

    It is closed when the last reference goes: queued blocks can be read after the cache has deleted the file.
    """

    def __init__(self, path: Path, file: ModelFile) -> None:
        """Raises OSError if it cannot be read, Corrupted if its checksum is wrong."""
        self._fd = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._fd)
        self._sums: list[int] = []
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        digest = _digest(file)
        self.total = 0
        while chunk := os.pread(self._fd, CHUNK, self.total):
            digest.update(chunk)
            self._sums.append(zlib.crc32(chunk))
            self.total += len(chunk)
        if digest.hexdigest() != file.checksum.lower():
            raise Corrupted

    @property
    def evicted(self) -> bool:
        """Whether the cache has deleted it: its bytes are on the disk only while it is open."""
        return os.fstat(self._fd).st_nlink == 0

    def touch(self) -> None:
        """Mark it as used now: others are evicted before it."""
        os.utime(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; none at or past the end. Raises Corrupted."""
        end = min(offset + length, self.total)
        parts = [self._chunk(number) for number in range(offset // CHUNK, -(-end // CHUNK))] if offset < end else []
        start = offset % CHUNK
        return b"".join(parts)[start : start + end - offset] if parts else b""

    def _chunk(self, number: int) -> bytes:
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = os.pread(self._fd, CHUNK, number * CHUNK)
            if zlib.crc32(chunk) != self._sums[number]:
                raise Corrupted
            self._chunks[number] = chunk
            if len(self._chunks) > _CACHED_CHUNKS:
                self._chunks.popitem(last=False)
        return chunk


class FileCache:
    """One folder of at most `limit` bytes. Its methods block on the disk: call them in threads.

    Evicted files that are still open use disk space above the limit.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Raises OSError if the folder cannot be used."""
        self._folder = folder
        self._limit = limit
        self._writing: dict[Path, int] = {}
        self._space = threading.Condition()
        try:
            _make_usable(folder)
        except OSError as error:
            if not os.path.lexists(folder):
                raise
            set_aside(folder, error)
            _make_usable(folder)
        for unfinished in folder.glob("*.part"):
            _remove(unfinished)

    def open(self, file: ModelFile) -> VerifiedFile | None:
        """The verified file; None: it is not in the cache, or is corrupted.

        Raises FileError if the type of its checksum is not supported, before anything is fetched.
        """
        _digest(file)
        path = self._path(file)
        try:
            opened = VerifiedFile(path, file)
            opened.touch()
        except FileNotFoundError:
            return None
        except (Corrupted, OSError) as error:  # a failing disk returns other bytes, or none
            event = "the disk has corrupted a model file; it is fetched again; check the disk"
            _log.error(event, url=file.url, error=repr(error))
            _remove(path)
            return None
        return opened

    def put(self, file: ModelFile, size: int, chunks: Iterable[bytes]) -> VerifiedFile:
        """Write a file of `size` bytes and verify it. Raises FileError if it is not the plan's, or OSError."""
        if size > self._limit:
            raise FileError(Code.UNKNOWN_PLAN, f"{file.url} has {size} bytes, the cache {self._limit}")
        part = self._path(file).with_suffix(".part")
        with self._space:
            self._space.wait_for(lambda: size + sum(self._writing.values()) <= self._limit)
            self._evict(size + sum(self._writing.values()))
            self._writing[part] = size
        try:
            self._write(part, file, size, chunks)
            return VerifiedFile(part.replace(self._path(file)), file)
        except Corrupted:
            _remove(self._path(file))
            raise FileError(Code.GAVE_UP, "the gateway's disk gives other bytes than were written") from None
        finally:
            _remove(part)
            with self._space:
                del self._writing[part]
                self._space.notify_all()

    def _write(self, part: Path, file: ModelFile, size: int, chunks: Iterable[bytes]) -> None:
        digest, written = _digest(file), 0
        with part.open("wb") as out:
            for chunk in chunks:
                written += len(chunk)
                if written > size:
                    raise FileError(Code.UNKNOWN_PLAN, f"{file.url} has more than the {size} bytes that it should have")
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file.checksum.lower():
            raise FileError(Code.UNKNOWN_PLAN, f"{file.url} has the {file.checksum_type} {digest.hexdigest()}")

    def _evict(self, size: int) -> None:
        """Until `size` more bytes fit into the limit, and onto the disk."""
        files = sorted(self._complete_files())
        used = sum(bytes_used for _, bytes_used, _ in files)
        limit = min(self._limit, used + shutil.disk_usage(self._folder).free)
        for _, bytes_used, path in files:
            if used + size <= limit:
                return
            path.unlink(missing_ok=True)
            used -= bytes_used

    def _complete_files(self) -> Iterator[tuple[int, int, Path]]:
        """Time of last use, bytes and path of each. Another thread may have deleted one. Folders do not count."""
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path not in self._writing:
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield status.st_mtime_ns, status.st_size, path

    def _path(self, file: ModelFile) -> Path:
        name = hashlib.sha256(f"{file.checksum_type} {file.checksum.lower()} {file.url}".encode()).hexdigest()
        return self._folder / name


def _make_usable(folder: Path) -> None:
    """Raises OSError if it is something else, or not this account's."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _remove(path: Path) -> None:
    """Delete it, if it is there. Raises OSError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if not path.is_dir():
            raise
        set_aside(path, error)


def _digest(file: ModelFile) -> "hashlib._Hash":
    make = _DIGESTS.get(file.checksum_type)
    if make is None:
        raise FileError(Code.UNKNOWN_PLAN, f"checksums of type {file.checksum_type} cannot be verified here")
    return make()
