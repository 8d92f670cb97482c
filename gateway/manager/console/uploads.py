"""A form with a file, as it comes from a connection: the fields first, then the file, piece by piece onto the disk.

Of a file no more than a piece is in memory, and nobody sees it before a view stores it: whatever ends the upload, the
temporary file goes with it.
"""

import asyncio
import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import explain
from gateway.manager.console.errors import PageError
from gateway.manager.console.requests import UploadedFile
from gateway.manager.store import ObjectStore

PIECE = 64 * 1024
"""Bytes that are written at once, about."""
PATIENCE = 30.0
"""Seconds in which a piece must come."""
MOST_FIELDS = 64 * 1024
"""Bytes of the fields before the file."""
NOT_WHOLE = "The form did not come whole. Nothing was changed."


class UploadReader:
    """The loop's thread calls it; `close` in any case. Raises PageError where the form is wrong, comes too slowly, is
    too large, or the file cannot be written. `limit`: bytes of a file at most.
    """

    def __init__(self, request: web.Request, objects: ObjectStore, limit: int) -> None:
        self._request = request
        self._objects = objects
        self._limit = limit
        self._parts: MultipartReader | None = None
        self._file_part: BodyPartReader | None = None
        # Of threads, one after the other
        self._stack = ExitStack()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._path = Path()
        self._file: BinaryIO | None = None

    async def fields(self) -> dict[str, str]:
        """Those before the file."""
        found: dict[str, str] = {}
        left = MOST_FIELDS
        try:
            async with asyncio.timeout(PATIENCE):
                self._parts = await self._request.multipart()
                while (part := await self._next_part()) is not None and part.filename is None:
                    value = await part.read()
                    left -= len(value)
                    if left < 0:
                        raise PageError(413, "The fields of the form are too long.", "Go back, and shorten them.")
                    found[part.name or ""] = value.decode()
        except _WRONG as error:
            raise _not_whole() from error
        self._file_part = part
        return found

    async def file(self) -> UploadedFile | None:
        """The file, which must be the last part of the form; None: there is none."""
        part, size = self._file_part, 0
        if part is None or not part.filename:
            return None
        if (self._request.content_length or 0) > self._limit + MOST_FIELDS:
            raise self._too_large()
        try:
            while piece := await _read_piece(part):
                size += len(piece)
                if size > self._limit:
                    raise self._too_large()
                await self._in_thread(piece)
            if await self._next_part() is not None:
                raise _not_whole()
        except _WRONG as error:
            raise _not_whole() from error
        await self._in_thread(b"", is_last=True)
        return UploadedFile(self._path, part.filename, size, self._sha1.hexdigest(), f'"{self._md5.hexdigest()}"')

    async def close(self) -> None:
        """Removes the temporary file, where it is still there."""
        await asyncio.to_thread(self._stack.close)

    async def _next_part(self) -> BodyPartReader | None:
        assert self._parts is not None
        part = await self._parts.next()
        if isinstance(part, MultipartReader):
            raise ValueError("a form in the form")
        return part

    async def _in_thread(self, piece: bytes, *, is_last: bool = False) -> None:
        try:
            await asyncio.to_thread(self._write, piece, is_last)
        except OSError as error:
            what = f"The file cannot be written: {explain(error)}."
            raise PageError(503, what, "Make room on the manager's disk, and send it again.") from error

    def _write(self, piece: bytes, is_last: bool) -> None:
        if self._file is None:
            self._path = self._stack.enter_context(self._objects.incoming())
            self._file = self._stack.enter_context(self._path.open("wb", buffering=0))
        self._file.write(piece)
        self._sha1.update(piece)
        self._md5.update(piece)
        if is_last:
            os.fsync(self._file.fileno())

    def _too_large(self) -> PageError:
        what = f"The file is larger than {self._limit:,} bytes. Nothing was stored."
        return PageError(413, what, "Send a smaller one, or start the manager with a larger --max-object-size.")


async def _read_piece(part: BodyPartReader) -> bytes:
    """PIECE bytes or more; fewer are the last ones."""
    data = bytearray()
    async with asyncio.timeout(PATIENCE):
        while len(data) < PIECE and not part.at_eof():
            data += await part.read_chunk(PIECE)
    return bytes(data)


_WRONG = (ValueError, LookupError, AssertionError, RuntimeError, TimeoutError, HttpProcessingError, web.HTTPException)
"""What aiohttp raises where a form is none, ends too early, or does not go on."""


def _not_whole() -> PageError:
    return PageError(400, NOT_WHOLE, "Send it again.")
