"""Writes the msgpack that the protocol needs into a buffer that is there already.

Must allocate nothing (but for floats, which most boards keep on the heap), so that a heartbeat makes no garbage.
"""

import struct


class Packer:
    """Writes msgpack into `buf` from `start`; `pos` is the end of what stands there."""

    def __init__(self, size, start):
        self.buf = bytearray(start + size)
        self.start = self.pos = start

    def put(self, code, size=0, n=0, bits=0):
        """The byte `code`, then n, big-endian, in `size` bytes.

        Where `bits` exceed them, in twice as many under the next code, and so on. ValueError where it does not fit.
        """
        while bits >> 8 * size:
            size *= 2
            code += 1
        buf = self.buf
        at = self.pos
        self.pos = at + 1 + size
        if self.pos > len(buf):
            raise ValueError("size")
        buf[at] = code
        while size:
            buf[at + size] = n & 255
            n >>= 8
            size -= 1

    def any(self, value):
        """A nil, an int of 64 bits, a finite float, a str, or a list or tuple of these, of any depth.

        In the shortest form; nils at the end of an array are left out, and an array of nils is nil itself. Returns
        whether it was more than nil.
        """
        kind = type(value)
        if kind is int:
            if -32 <= value < 128:
                self.put(value & 255)
            elif value < 0:
                self.put(0xD0, 1, value, ~value << 1)  # one bit more, for the sign
            else:
                self.put(0xCC, 1, value, value)
        elif value is None:
            self.put(0xC0)
            return False
        elif kind is float:
            self.put(0xCB, 8, 0, 0)
            struct.pack_into(">d", self.buf, self.pos - 8, value)
        elif kind is str:
            value = value.encode()
            n = len(value)
            if n < 32:
                self.put(0xA0 | n)
            else:
                self.put(0xD9, 1, n, n)
            for n in value:
                self.put(n)
        else:
            return self.list(value)
        return True

    def list(self, values):
        start = self.pos
        size = 0 if len(values) < 16 else 2
        self.put(0xDC, size, 0, 0)
        end = self.pos
        count = n = 0
        for value in values:
            n += 1
            if self.any(value):
                count = n
                end = self.pos
        self.pos = start
        if n and not count:
            return self.any(None)
        self.put(0xDC if size else 0x90 | count, size, count, 0)
        self.pos = end
        return True
