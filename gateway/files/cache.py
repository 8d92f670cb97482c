"""Model files on this machine's disk: bounded, least recently used first out, never trusted before they are verified.

Survives a restart and removes what was not finished. Knows no S3 and no devices.
"""

import hashlib
import os
import shutil
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from gateway.errors import Code, FileError
from gateway.protocol.messages import ModelFile

CHUNK = 65_536
"""Bytes that are read and checked at once."""
_CHUNKS_KEPT = 16
_DIGESTS = {"SHA1": lambda: hashlib.sha1(usedforsecurity=False)}

_log = structlog.get_logger()


class Corrupted(Exception):
    """The disk gave other bytes than were verified."""


class VerifiedFile:
    """A file whose checksum was right when it was opened; each later read is held against that moment.

    It is closed once nobody holds it any more, so that blocks which wait for their turn are still read after the cache
    has let go of the file, on the disk too.
    """

    def __init__(self, path: Path, file: ModelFile) -> None:
        """Raises OSError where it is not there, Corrupted where its checksum is not the file's."""
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
        """Whether its bytes stay on the disk for its holders' sake alone."""
        return os.fstat(self._fd).st_nlink == 0

    def touch(self) -> None:
        """It is used: others are evicted before it."""
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
            if len(self._chunks) > _CHUNKS_KEPT:
                self._chunks.popitem(last=False)
        return chunk


class FileCache:
    """One folder of at most `limit` bytes. Its methods may block for the time of a disk; they are called in threads.

    Over the limit are, for a while, evicted files that somebody still holds.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Raises OSError where the folder cannot be used."""
        self._folder = folder
        self._limit = limit
        self._writing: dict[Path, int] = {}
        self._room = threading.Condition()
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob("*.part"):
            unfinished.unlink()

    def open(self, file: ModelFile) -> VerifiedFile | None:
        """The verified file; None where it is not here, or not any more what it was.

        Raises FileFault where its checksum is of a type that nobody here can verify, before anything is fetched.
        """
        _digest(file)
        path = self._path(file)
        try:
            found = VerifiedFile(path, file)
            found.touch()
        except FileNotFoundError:
            return None
        except (Corrupted, OSError) as error:  # other bytes, or none: a disk fails in both ways
            _log.error("the disk has corrupted a model file: it is fetched anew", url=file.url, error=repr(error))
            path.unlink(missing_ok=True)
            return None
        return found

    def put(self, file: ModelFile, size: int, chunks: Iterable[bytes]) -> VerifiedFile:
        """Write a file of `size` bytes and verify it. Raises FileFault where it is not the plan's, or OSError."""
        if size > self._limit:
            raise FileError(Code.UNKNOWN_PLAN, f"{file.url} has {size} bytes, the cache {self._limit}")
        part = self._path(file).with_suffix(".part")
        with self._room:
            self._room.wait_for(lambda: size + sum(self._writing.values()) <= self._limit)
            self._make_room(size + sum(self._writing.values()))
            self._writing[part] = size
        try:
            self._write(part, file, size, chunks)
            return VerifiedFile(part.replace(self._path(file)), file)
        except Corrupted:
            self._path(file).unlink(missing_ok=True)
            raise FileError(Code.GAVE_UP, "the gateway's disk gives other bytes than were written") from None
        finally:
            part.unlink(missing_ok=True)
            with self._room:
                del self._writing[part]
                self._room.notify_all()

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

    def _make_room(self, size: int) -> None:
        """For `size` bytes beside the files that are whole, on a disk that may be smaller than the limit."""
        files = sorted(self._whole())
        used = sum(bytes_used for _, bytes_used, _ in files)
        limit = min(self._limit, used + shutil.disk_usage(self._folder).free)
        for _, bytes_used, path in files:
            if used + size <= limit:
                return
            path.unlink(missing_ok=True)
            used -= bytes_used

    def _whole(self) -> Iterator[tuple[int, int, Path]]:
        """When it was used last, its bytes, and the file. Another thread may have found it corrupted meanwhile."""
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path not in self._writing:
                    found = path.stat()
                    yield found.st_mtime_ns, found.st_size, path

    def _path(self, file: ModelFile) -> Path:
        name = hashlib.sha256(f"{file.checksum_type} {file.checksum.lower()} {file.url}".encode()).hexdigest()
        return self._folder / name


def _digest(file: ModelFile) -> "hashlib._Hash":
    make = _DIGESTS.get(file.checksum_type)
    if make is None:
        raise FileError(Code.UNKNOWN_PLAN, f"checksums of type {file.checksum_type} cannot be verified here")
    return make()
