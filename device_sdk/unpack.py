"""Reads msgpack and trusts nothing: allocates no more than the payload's size warrants, whatever lengths it claims.

Every error is a ValueError.
"""


class Unpacker:
    """Reads msgpack from `buf`, a memoryview. What is none is a ValueError."""

    def __init__(self, buf):
        self.buf = buf
        self.pos = 0

    def read(self, n):
        at = self.pos
        self.pos = at + n
        if self.pos > len(self.buf):
            raise ValueError
        return self.buf[at : self.pos]

    def any(self, depth):
        """The next object. A bool, float, map or extension is nothing that a device is ever sent: it comes as None."""
        n = self.read(1)[0]
        if n < 0x80:
            return n
        if n >= 0xE0:
            return n - 256
        if n < 0xC0:
            kind = b"\7\6\5\5"[n - 0x80 >> 4]
            n &= 31 if kind == 5 else 15
        elif n < 0xC4:
            if n == 0xC1:
                raise ValueError
            return None
        else:
            # For the codes from 0xC4: in the low bits the size of the number that follows, above them what it says:
            # 0 bytes of a bin, 1 of an extension, 5 of a str, 2 a float, 3 a uint, 4 an int, 6 elements, 7 pairs.
            kind = b"\1\2\4\x11\x12\x14\x24\x28\x31\x32\x34\x38ABDH\x10\x10\x10\x10\x10QRTbdrt"[n - 0xC4]
            size = kind & 15
            kind >>= 4
            data = self.read(size)
            n = int.from_bytes(data, "big") if size else 1 << n - 0xD4
            if kind == 2:
                return None
            if kind == 3:
                return n
            if kind == 4:
                return n - (n >> 8 * size - 1 << 8 * size)
        if kind > 5:
            n <<= kind - 6
            if not depth:
                raise ValueError
            data = []  # grows with what is there, not with what is claimed
            while n:
                data.append(self.any(depth - 1))
                n -= 1
            return None if kind > 6 else data
        data = self.read(n + (kind == 1))
        return None if kind == 1 else bytes(data) if not kind else str(data, "utf-8")


def unpack(payload):
    """The one object that the payload is, at most 8 levels deep; ValueError where it is none."""
    self = Unpacker(memoryview(payload))
    value = self.any(8)
    if self.pos != len(payload):
        raise ValueError
    return value
