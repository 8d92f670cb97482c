"""Reads msgpack and trusts nothing: never allocates more than the payload's size warrants, whatever lengths it claims.

Every error is a ValueError.
"""

import struct


class Unpacker:
    """Reads msgpack from buf[pos:end]."""

    def __init__(self, buf, pos=0, end=None):
        self.buf = buf
        self.pos = pos
        self.end = len(buf) if end is None else end

    def take(self, n):
        """The position of the next n bytes, which are then read."""
        at = self.pos
        if n > self.end - at:
            raise ValueError("truncated")
        self.pos = at + n
        return at

    def _int(self, n):
        value = 0
        at = self.take(n)
        for i in range(at, at + n):
            value = value << 8 | self.buf[i]
        return value

    def _bytes(self, n):
        at = self.take(n)
        return bytes(self.buf[at : at + n])

    def _list(self, n, depth):
        if n > self.end - self.pos or not depth:  # an element takes a byte at least
            raise ValueError("truncated or nested too deeply")
        return [self.value(depth - 1) for _ in range(n)]

    def _other(self, n, depth=None):
        # A map of n/2 pairs, or n bytes of an extension: read over, so that an unknown trailing element may be one.
        if depth is None:
            self.take(n)
        else:
            self._list(n, depth)
        return ...

    def array(self):
        """The head of an array: its length."""
        code = self.buf[self.take(1)]
        if code & 0xF0 == 0x90:
            return code & 15
        if code in (0xDC, 0xDD):
            return self._int(2 << (code - 0xDC))
        raise ValueError("not an array")

    def value(self, depth=8):
        """The next object. A map or an extension, which the protocol never means, comes as `...`."""
        code = self.buf[self.take(1)]
        if code < 0x80:
            return code
        if code >= 0xE0:
            return code - 256
        if code < 0x90:
            return self._other((code & 15) * 2, depth)
        if code < 0xA0:
            return self._list(code & 15, depth)
        if code < 0xC0:
            return str(self._bytes(code & 31), "utf-8")
        if code < 0xC4:
            if code == 0xC1:
                raise ValueError("no such code")
            return None if code == 0xC0 else code == 0xC3
        if code < 0xC7:
            return self._bytes(self._int(1 << (code - 0xC4)))
        if code < 0xCA:
            return self._other(self._int(1 << (code - 0xC7)) + 1)
        if code < 0xCC:
            size = 4 if code == 0xCA else 8
            return struct.unpack_from(">f" if size == 4 else ">d", self.buf, self.take(size))[0]
        if code < 0xD4:
            size = 1 << (code & 3)
            n = self._int(size)
            return n - (1 << size * 8) if code >= 0xD0 and n >> (size * 8 - 1) else n
        if code < 0xD9:
            return self._other((1 << (code - 0xD4)) + 1)
        if code < 0xDC:
            return str(self._bytes(self._int(1 << (code - 0xD9))), "utf-8")
        if code < 0xDE:
            return self._list(self._int(2 << (code - 0xDC)), depth)
        return self._other(self._int(2 << (code - 0xDE)) * 2, depth)


def unpack(buf, start=0, end=None):
    """The one object that buf[start:end] is."""
    reader = Unpacker(buf, start, end)
    value = reader.value()
    if reader.pos != reader.end:
        raise ValueError("more than one object")
    return value
