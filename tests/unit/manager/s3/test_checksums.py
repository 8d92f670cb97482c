"""CRCs against their published check values, and in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.http.s3.checksums import ALGORITHMS, BLOCK

CHECK = b"123456789"


@pytest.mark.parametrize(
    ("name", "value"), [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")]
)
def test_the_check_value(name, value):
    checksum = ALGORITHMS[name]()
    checksum.update(CHECK)
    assert checksum.digest().hex() == value


@pytest.mark.parametrize("name", ALGORITHMS)
@given(seed=st.binary(min_size=1, max_size=40), sizes=st.lists(st.integers(0, 700), max_size=6))
def test_any_pieces_have_the_checksum_of_the_whole(name, seed, sizes):
    content = seed * (sum(sizes) // len(seed) + 1)
    whole, pieces, position = ALGORITHMS[name](), ALGORITHMS[name](), 0
    for size in sizes:
        pieces.update(content[position : position + size])
        position += size
    whole.update(content[:position])
    assert whole.digest() == pieces.digest()


@pytest.mark.parametrize("name", ["crc32c", "crc64nvme"])
@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
def test_blocks_have_the_checksum_of_their_bytes(name, size):
    content = bytes(range(251)) * (size // 251 + 1)
    whole, pieces = ALGORITHMS[name](), ALGORITHMS[name]()
    whole.update(content[:size])
    for start in range(0, size, 20):  # too few bytes to be folded
        pieces.update(content[start : min(start + 20, size)])
    assert whole.digest() == pieces.digest()
