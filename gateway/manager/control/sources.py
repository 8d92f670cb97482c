"""Where jobs read model files: the model store, and another S3 where `serve` was given one. Nothing is written.

What is read is CHUNK bytes at once, however large the file is.
"""

from collections.abc import Iterator
from io import BufferedReader
from typing import Protocol

from gateway.manager.control.other_s3 import OtherS3
from gateway.manager.errors import S3Error
from gateway.manager.store import CHUNK, ObjectStore

ABSENT = "is not in the model store, or cannot be read: upload it, and make another job"


class SourceFault(Exception):
    """It cannot be read, now or later. The text goes on after the file's URL."""


class ModelSource(Protocol):
    """An open file."""

    def read(self) -> bytes:
        """The next CHUNK bytes, the rest of the file where it has fewer; none: its end.

        Raises OSError, S3Away, S3Changed, S3Refused, StoreUnavailable.
        """

    def close(self) -> None: ...


class _FolderFile:
    def __init__(self, file: BufferedReader) -> None:
        self._file = file

    def read(self) -> bytes:
        return self._file.read(CHUNK)

    def close(self) -> None:
        self._file.close()


class _SharedPieces:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        pass


class ModelSources:
    """`other` None: the model store alone."""

    def __init__(self, objects: ObjectStore, other: OtherS3 | None) -> None:
        self._objects = objects
        self._other = other

    def open(self, url: str) -> ModelSource:
        """The caller closes it. A bucket of the model store goes before one of the other S3.

        Raises SourceFault, S3Away, S3Refused, StoreUnavailable.
        """
        bucket, _, key = url.removeprefix("s3://").partition("/")
        shared = self._objects.shared
        row = None if shared is None else shared.find(bucket, key)
        if shared is not None and row is not None:
            return _SharedPieces(shared.pieces(row))
        try:
            file = self._objects.open_file(bucket, key)
        except S3Error as error:
            if error.code == "NoSuchBucket" and self._other is not None:
                return self._other.open(bucket, key)
            raise SourceFault(ABSENT) from error
        if self._objects.facts_of(bucket, key).source:  # a copy of what the database has no more
            file.close()
            raise SourceFault(ABSENT)
        return _FolderFile(file)
