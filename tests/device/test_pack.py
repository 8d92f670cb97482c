"""The writer and the reader of msgpack: vectors both ways, and input that means harm."""

import struct

from device_sdk.agent import unpack
from device_sdk.heartbeat import Packer
from tests.device.support import as_value, packed, payload, raises, read, vectors, written

ERRORS = (ValueError, IndexError)
FORM = ("nested", "truncated", "claim", "utf-8", "hb-empty", "ack-empty", "two-objects", "garbage", "cut-short", "-c1")


def is_never_written(item):
    """Whether a vector's JSON holds bytes, a map or a bool; floats are tested by themselves."""
    if isinstance(item, list):
        return True in [is_never_written(each) for each in item]
    return isinstance(item, (dict, bool, float))


def ends_in_nil(item):
    return isinstance(item, list) and (item[-1:] == [None] or True in [ends_in_nil(each) for each in item])


def test_every_message_is_read_as_its_value():
    for vector in vectors("messages"):
        if vector["hex"]:
            assert read(payload(vector)) == as_value(vector["value"]), vector["name"]


def test_every_message_is_written_in_its_shortest_form():
    count = 0
    for vector in vectors("messages"):
        value = vector["value"]
        odd = is_never_written(value) or ends_in_nil(value) or "grown" in vector["name"]
        if vector.get("shortest", True) and not odd:
            assert packed(value) == payload(vector), vector["name"]
            count += 1
    assert count > 50


def test_what_is_no_single_object_is_refused():
    count = 0
    for vector in vectors("malformed"):
        if vector["name"] != "hb-samples-nested" and [mark for mark in FORM if mark in vector["name"]]:
            raises(ERRORS, read, payload(vector))
            count += 1
    assert count > 20


def test_every_prefix_of_a_message_is_refused():
    data = packed(["1.0", [1, -200, 70000], None, "x" * 40, [[[]]]])
    for n in range(len(data)):
        raises(ERRORS, read, data[:n])
    assert read(data)[0] == "1.0"


def test_ints_of_every_width_come_back_from_their_shortest_form():
    for shift in range(64):
        for n in ((1 << shift) - 1, 1 << shift, (1 << shift) + 1, -(1 << shift), -(1 << shift) - 1, 1 - (1 << shift)):
            if -(1 << 63) <= n < 1 << 64:
                data = packed(n)
                assert read(data) == n
                bits = [8, 16, 32, 64]
                whole = [b for b in bits if (0 <= n < 1 << b) or (n < 0 and n >= -(1 << b - 1))]
                assert len(data) == (1 if -32 <= n < 128 else 1 + whole[0] // 8), n


def test_floats_are_written_as_64_bits():
    for x in (0.5, -1.25, 0.1, 1e300, 0.0, 3.4e39):
        assert packed(x) == b"\xcb" + struct.pack(">d", x)


def test_nils_at_the_end_of_an_array_are_left_out_and_an_array_of_nils_is_nil():
    for value, short in (
        ([1, None, None], [1]),
        ([None, 2, [None, None], None], [None, 2]),
        ([[None], [None, [None]]], None),
        ([1, [], None], [1, []]),
        ([None] * 40 + [7] + [None] * 40, [None] * 40 + [7]),
    ):
        assert read(packed(value)) == short


def test_text_and_arrays_of_every_length_come_back():
    for n in (0, 1, 15, 16, 31, 32, 255, 256, 65535):
        assert read(packed("a" * n, 70000)) == "a" * n
        assert len(read(packed([0] * n, 70000))) == n
    assert packed("größe") == b"\xa7gr\xc3\xb6\xc3\x9fe"


def test_bools_are_not_written():
    for value in (True, [1, False]):
        raises(TypeError, packed, value)


def test_a_message_that_exceeds_the_buffer_is_an_error_and_nothing_is_overrun():
    for value in (1, 200, 70000, -200, 0.1, "text", [1] * 20):
        whole = packed(value)
        for size in range(len(whole)):
            p = Packer(size, 3)
            raises(ValueError, p.any, value)
            assert len(p.buf) == size + 3
        p = Packer(len(whole), 3)
        p.any(value)
        assert written(p) == whole


def test_eight_levels_are_read_and_nine_are_not():
    assert read(b"\x91" * 8 + b"\xc0") == [[[[[[[[None]]]]]]]]
    raises(ERRORS, read, b"\x91" * 9 + b"\xc0")


def test_types_that_a_device_is_never_sent_are_skipped():
    maps = b"\x81\xa1a\x91\x01", b"\xde\x00\x01\xa1a\x01"
    others = b"\xc2", b"\xc3", b"\xca" + bytes(4), b"\xcb" + bytes(8)
    for code in maps + others + (b"\xd4\x01\x00", b"\xc7\x02\x05ab", b"\xd8\x01" + bytes(16)):
        assert read(b"\x92" + code + b"\x07") == [None, 7]


def test_a_reader_stays_within_its_end():
    view = memoryview(b"\x00\x92\x01\x02\x03")
    assert unpack(view[1:4]) == [1, 2]
    raises(ERRORS, unpack, view[1:3])
    raises(ERRORS, unpack, view[1:5])
