"""What must outlive power, in one small file: the old content or the new one, never a mixture.

The file holds the crc32 of what follows and one msgpack object. It is written beside the old one, flushed, and renamed
over it. Must not know what the values mean.
"""

from ._compat import crc32, rename, sync
from .pack import Packer
from .unpack import unpack


class FileStore:
    """Keeps one value (nil, ints, str, and lists of these) in the file `path`; `path` + ".new" is its scratch."""

    def __init__(self, path):
        self.path = path

    def load(self):
        """The value that was saved last, or None where there is none that is whole."""
        for path in (self.path, self.path + ".new"):  # FAT removes the old file before it renames the new one
            try:
                with open(path, "rb") as file:
                    data = file.read()
                if int.from_bytes(data[:4], "big") == crc32(data[4:]):
                    return unpack(data, 4)
            except (OSError, ValueError):
                pass
        return None

    def save(self, value):
        """Returns when the value is safe. OSError where the file system refuses; the old value is still there then."""
        data = _packed(value)
        with open(self.path + ".new", "wb") as file:
            file.write(crc32(data).to_bytes(4, "big"))
            file.write(data)
            sync(file)
        rename(self.path + ".new", self.path)


def _packed(value):
    size = 256
    while True:
        p = Packer(size)
        try:
            p.any(value)
        except ValueError:
            size *= 2
        else:
            return memoryview(p.buf)[: p.pos]
