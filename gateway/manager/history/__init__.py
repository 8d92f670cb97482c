"""placeholder"""
import struct
def to_us(s): return round(s * 1e6)
def pack_samples(rows):
    return b"".join(struct.pack("<Iqd", *row) for row in rows)
