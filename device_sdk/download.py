"""A model file on its way to flash, block by block, through PATH.part, which is renamed when its checksum is right.

After any crash it goes on where PATH.part ends, and reads that once for the checksum. Whatever else PATH.part may be
(the beginning of another file, say) is noticed by the checksum, and then the file is read from its beginning. Must hold
no more than a block.
"""

import os
from hashlib import sha1

from .unpack import uint

_WINDOW = 4096  # bytes that are asked for at once, and flushed at once: what a power cut may cost
_PATIENCE = 3  # seconds until missing blocks are asked for again
_REFUSALS = 3  # answers "no such file" until it is given up


def _sum(path):
    # The checksum object and the size of what is there.
    total = sha1()
    size = 0
    try:
        with open(path, "rb") as file:
            while True:
                data = file.read(512)
                if not data:
                    break
                total.update(data)
                size += len(data)
    except OSError:
        pass
    return total, size


class Download:
    """Sets the `path` of its definition when the file is there and right, or else its `reason`."""

    def __init__(self, definition, digest, index, folder, most):
        self._definition = definition
        self._of = [digest, index]
        self._length = min(most or _WINDOW, _WINDOW) - 32
        self._path = folder + (definition.handle or "")
        self._file = None
        self._refusals = 0
        checksum = definition.checksum
        if "/" in self._path[len(folder) :] or type(checksum) is str or definition.checksum_type:
            self._fail("no name or checksum that is understood")
        elif _sum(self._path)[0].digest() == checksum:
            definition.path = self._path  # a cut came between the renaming and the result
        else:
            self._open()

    def _open(self):
        self._sum, self._at = _sum(self._path + ".part")
        self._whole = not self._at  # whether all of it comes from this definition for sure
        self._asked = None
        try:
            self._file = open(self._path + ".part", "ab")
        except OSError as error:
            self._fail(str(error))

    def _fail(self, reason):
        self._definition.reason = reason
        if self._file:
            self._file.close()

    def poll(self, p, now):
        """Writes the next request into p, where one is due, and returns its channel."""
        if self._asked is None or not 0 <= now - self._asked < _PATIENCE:
            self._asked = now
            count = max(1, _WINDOW // self._length)
            self._until = self._at + count * self._length
            p.any(self._of + [self._at, self._length, count])
            return "read"

    def refused(self, detail):
        """The gateway has no such file."""
        self._refusals += 1
        if self._refusals >= _REFUSALS:
            self._fail(detail or "no such file")

    def receive(self, value):
        """A block. One that came before, or after a missing one, changes nothing."""
        offset, total, data = value[2:5]
        if value[:2] != self._of:
            return
        end = uint(offset) + len(data)
        if type(data) is not bytes or (end > uint(total) and data):
            raise ValueError("block")
        try:
            if offset == self._at:
                self._file.write(data)
                self._sum.update(data)
                self._at = end
            if end >= min(self._until, total):
                self._file.flush()
                self._asked = None
            if self._at >= total:
                self._finish()
        except OSError as error:
            self._fail(str(error))
            os.remove(self._path + ".part")  # it may be what filled the flash

    def _finish(self):
        self._file.close()
        if self._definition.checksum in (None, self._sum.digest()):
            os.rename(self._path + ".part", self._path)
            self._definition.path = self._path
        else:
            os.remove(self._path + ".part")
            if self._whole:
                self._fail("checksum")
            else:
                self._open()
