"""An object that is written in steps, which may be far apart: nobody sees it before it is whole.

In the directory it is a temporary file until then, with PostgreSQL pieces that have no row. What a killed process left
of it is removed as those are.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from gateway.manager.errors import StoreUnavailable
from gateway.manager.store.object_facts import ObjectFacts
from gateway.manager.store.object_store import ObjectStore
from gateway.manager.store.shared_objects import PieceWriter


class ObjectWriter:
    """One thread uses it, and closes it. Raises OSError, and StoreUnavailable: it is to be begun anew then."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._stack = ExitStack()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._pieces: PieceWriter | None = None if objects.shared is None else objects.shared.begin()
        self._path = Path()
        self._file: BinaryIO | None = None
        if self._pieces is None:
            self._path = self._stack.enter_context(objects.incoming())
            self._file = self._stack.enter_context(self._path.open("wb"))

    def write(self, data: bytes) -> None:
        """CHUNK bytes; fewer are the last ones."""
        if self._pieces is not None:
            self._pieces.write(data)
        elif self._file is not None:
            self._md5.update(data)
            self._file.write(data)

    def sync(self) -> None:
        """What was written so far is on the disk: the last step is not as long as all of them."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self, bucket: str, key: str, headers: Mapping[str, str]) -> None:
        """It replaces what is there. Raises S3Error as `ObjectStore.put` does."""
        if self._pieces is not None:
            self._objects.put_pieces(self._pieces, bucket, key, ObjectFacts("", headers))
            self._pieces = None
        else:
            self.sync()
            facts = ObjectFacts(f'"{self._md5.hexdigest()}"', headers)
            self._objects.put(self._path, bucket, key, facts, lambda before: None)

    def close(self) -> None:
        """What is not finished goes."""
        self._stack.close()
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            with suppress(StoreUnavailable):
                pieces.discard()
