"""A flash chip in RAM that loses power at one of its writes, with littlefs or FAT on it. MicroPython alone has that.

Everything that is written after the cut is lost, as a program's own memory is: who uses it asks `dead` after each step.
"""

import vfs

BLOCK = 512
EIO = 5
ERASE, COUNT, SIZE = 6, 4, 5  # ioctl


class Flash:
    """A block device over `data`, a bytearray; `left` writes and erasures succeed, the next one is torn.

    whole: a torn write writes nothing: FAT bears no half sectors, and SD cards write none.
    """

    def __init__(self, data, left, whole=False):
        self.data = data
        self.left = left
        self.whole = whole
        self.dead = False

    def _torn(self):
        self.left -= 1
        self.dead = self.left < 0
        return self.dead

    def readblocks(self, n, buf, offset=0):
        if self.dead:  # first: a collector that closes files may ask for no memory
            return -EIO
        at = n * BLOCK + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]
        return 0

    def writeblocks(self, n, buf, offset=0):
        if self.dead:
            return -EIO
        size = len(buf)
        if self._torn():
            size = 0 if self.whole else size // 2
        at = n * BLOCK + offset
        self.data[at : at + size] = memoryview(buf)[:size]
        return -EIO if self.dead else 0

    def ioctl(self, request, argument):
        if request == COUNT:
            return len(self.data) // BLOCK
        if request == SIZE:
            return BLOCK
        if request == ERASE:
            if self.dead or self._torn():
                return -EIO
            self.data[argument * BLOCK : (argument + 1) * BLOCK] = b"\xff" * BLOCK
        return 0


def formatted(size, fat=False):
    """The data of an empty file system."""
    data = bytearray(size)
    (vfs.VfsFat if fat else vfs.VfsLfs2).mkfs(Flash(data, 1 << 30))
    return data


class Powered:
    """A context in which /flash is mounted, until its power fails at that write."""

    def __init__(self, data, left, fat=False):
        self.flash = Flash(data, left, fat)
        self.fat = fat

    def __enter__(self):
        vfs.mount((vfs.VfsFat if self.fat else vfs.VfsLfs2)(self.flash), "/flash")
        return self.flash

    def __exit__(self, *error):
        self.flash.dead = True  # what is still open is never written
        vfs.umount("/flash")
