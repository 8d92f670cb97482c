"""Model files on this machine's disk: bounded, least recently used first out, never trusted before they are verified.

Survives a restart and removes what was not finished. Knows no S3 and no devices.
"""

import hashlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from gateway.errors import Code, FileFault
from gateway.messages import ModelFile

CHUNK = 65_536
"""Bytes that are read and checked at once."""
_CHUNKS_KEPT = 16
_DIGESTS = {"SHA1": hashlib.sha1}


class Corrupted(Exception):
    """The disk gave other bytes than were verified."""


class VerifiedFile:
    """A file whose checksum was right when it was opened; each later read is held against that moment."""

    def __init__(self, path: Path, file: ModelFile) -> None:
        """Raises OSError where it is not there, Corrupted where its checksum is not the file's."""
        self._fd = os.open(path, os.O_RDONLY)
        self._sums: list[int] = []
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        digest = _digest(file)
        self.total = 0
        while chunk := os.pread(self._fd, CHUNK, self.total):
            digest.update(chunk)
            self._sums.append(zlib.crc32(chunk))
            self.total += len(chunk)
        if digest.hexdigest() != file.checksum.lower():
            self.close()
            raise Corrupted

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

    def close(self) -> None:
        """A file that was evicted meanwhile is gone from the disk then."""
        os.close(self._fd)


class ModelCache:
    """One folder of at most `limit` bytes. Its methods may block for the time of a disk; they are called in threads."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Raises OSError where the folder cannot be used."""
        self._folder = folder
        self._limit = limit
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob("*.part"):
            unfinished.unlink()

    def open(self, file: ModelFile) -> VerifiedFile | None:
        """The verified file; None where it is not here, or not any more what it was."""
        path = self._path(file)
        try:
            found = VerifiedFile(path, file)
            os.utime(path)
        except Corrupted:
            path.unlink(missing_ok=True)
            return None
        except FileNotFoundError:
            return None
        return found

    def put(self, file: ModelFile, size: int, chunks: Iterable[bytes]) -> VerifiedFile:
        """Write a file of `size` bytes and verify it. Raises FileFault where it is not the plan's, or OSError."""
        if size > self._limit:
            raise FileFault(Code.UNKNOWN_PLAN, f"{file.url} has {size} bytes, the cache {self._limit}")
        self._make_room(size)
        part = self._path(file).with_suffix(".part")
        digest = _digest(file)
        try:
            with part.open("wb") as out:
                for chunk in chunks:
                    digest.update(chunk)
                    out.write(chunk)
            if digest.hexdigest() != file.checksum.lower():
                raise FileFault(Code.UNKNOWN_PLAN, f"{file.url} has the {file.checksum_type} {digest.hexdigest()}")
            part.replace(self._path(file))
        finally:
            part.unlink(missing_ok=True)
        return VerifiedFile(self._path(file), file)

    def _make_room(self, size: int) -> None:
        files = sorted((entry.stat().st_mtime, entry.stat().st_size, entry) for entry in self._folder.iterdir())
        used = sum(bytes_used for _, bytes_used, _ in files)
        for _, bytes_used, path in files:
            if used + size <= self._limit:
                return
            path.unlink(missing_ok=True)
            used -= bytes_used

    def _path(self, file: ModelFile) -> Path:
        name = hashlib.sha256(f"{file.checksum_type} {file.checksum.lower()} {file.url}".encode()).hexdigest()
        return self._folder / name


def _digest(file: ModelFile) -> "hashlib._Hash":
    make = _DIGESTS.get(file.checksum_type)
    if make is None:
        raise FileFault(Code.UNKNOWN_PLAN, f"checksums of type {file.checksum_type} cannot be verified here")
    return make()
