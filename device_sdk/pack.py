"""Writes the msgpack that the protocol needs into a buffer that is there already.

Must allocate nothing (but for floats, which most boards keep on the heap), so that a heartbeat makes no garbage.
"""

import struct

_pack = struct.pack_into


class Packer:
    """Writes msgpack, always in the shortest form, into `buf` from `start`; `pos` is the end of what stands there."""

    def __init__(self, size, start=0):
        self.buf = bytearray(start + size)
        self.start = self.pos = start

    def reset(self):
        self.pos = self.start

    def _take(self, n):
        at = self.pos
        if at + n > len(self.buf):
            raise ValueError("message exceeds the buffer")
        self.pos = at + n
        return at

    def _head(self, code, n, short, limit):
        # The head of a str or an array: its length in the code itself, or in 1 (str alone), 2 or 4 bytes after it.
        if n < limit:
            self.buf[self._take(1)] = short | n
        elif n < 256 and limit == 32:
            _pack(">BB", self.buf, self._take(2), code, n)
        elif n < 65536:
            _pack(">BH", self.buf, self._take(3), code + 1, n)
        else:
            _pack(">BI", self.buf, self._take(5), code + 2, n)

    def nil(self):
        self.buf[self._take(1)] = 0xC0

    def array(self, n):
        self._head(0xDB, n, 0x90, 16)

    def int(self, n):
        if 0 <= n < 128 or -32 <= n < 0:
            self.buf[self._take(1)] = n & 0xFF
        elif n >= 0:
            if n < 256:
                _pack(">BB", self.buf, self._take(2), 0xCC, n)
            elif n < 65536:
                _pack(">BH", self.buf, self._take(3), 0xCD, n)
            elif n >> 32 == 0:
                _pack(">BI", self.buf, self._take(5), 0xCE, n)
            else:
                _pack(">BQ", self.buf, self._take(9), 0xCF, n)
        elif n >= -128:
            _pack(">Bb", self.buf, self._take(2), 0xD0, n)
        elif n >= -32768:
            _pack(">Bh", self.buf, self._take(3), 0xD1, n)
        elif n >> 31 == -1:
            _pack(">Bi", self.buf, self._take(5), 0xD2, n)
        else:
            _pack(">Bq", self.buf, self._take(9), 0xD3, n)

    def float(self, x):
        at = self._take(5)
        if -1e38 < x < 1e38:  # CPython refuses to round what is larger
            _pack(">Bf", self.buf, at, 0xCA, x)
            if struct.unpack_from(">f", self.buf, at + 1)[0] == x:
                return
        self._take(4)
        _pack(">Bd", self.buf, at, 0xCB, x)

    def raw(self, data):
        at = self._take(len(data))
        self.buf[at : self.pos] = data

    def str(self, text):
        data = text.encode()
        self._head(0xD9, len(data), 0xA0, 32)
        self.raw(data)

    def any(self, value):
        """A nil, an int, a finite float, a str, or a list or tuple of these, of any depth."""
        kind = type(value)
        if value is None:
            self.nil()
        elif kind is int:
            self.int(value)
        elif kind is str:
            self.str(value)
        elif kind is float and value - value == 0:
            self.float(value)
        elif kind is list or kind is tuple:
            self.array(len(value))
            for item in value:
                self.any(item)
        else:
            raise TypeError("the protocol has no " + repr(value))
