"""The writer and the reader of msgpack: vectors both ways, and input that means harm."""

from device_sdk.pack import Packer
from device_sdk.unpack import Unpacker, unpack
from tests.device.support import as_value, packed, payload, raises, vectors, written

FORM = ("nested", "truncated", "claim", "utf-8", "hb-empty", "ack-empty", "two-objects", "garbage", "cut-short", "-c1")


def has_maps(item):
    return item is ... or (isinstance(item, list) and True in [has_maps(each) for each in item])


def has_bytes(item):
    return isinstance(item, bytes) or (isinstance(item, list) and True in [has_bytes(each) for each in item])


def is_odd(vector):
    # Bools are not written at all, and floats of 32 bits where these are exact.
    return "result-grown" in vector["name"] or vector["name"] in ("hb-float", "plan-grown")


def test_every_message_is_read_as_its_value():
    for vector in vectors("messages"):
        if vector["hex"]:
            assert unpack(payload(vector)) == as_value(vector["value"]), vector["name"]


def test_every_message_is_written_in_its_shortest_form():
    count = 0
    for vector in vectors("messages"):
        value = as_value(vector["value"])
        if vector.get("shortest", True) and not has_maps(value) and not has_bytes(value) and not is_odd(vector):
            assert packed(value) == payload(vector), vector["name"]
            count += 1
    assert count > 50


def test_what_is_no_single_object_is_refused():
    count = 0
    for vector in vectors("malformed"):
        if vector["name"] != "hb-samples-nested" and [mark for mark in FORM if mark in vector["name"]]:
            assert isinstance(raises(ValueError, unpack, payload(vector)), ValueError), vector["name"]
            count += 1
    assert count > 20


def test_every_prefix_of_a_message_is_refused():
    data = packed(["1.0", [1, -200, 70000, 1.5, 0.1], None, "x" * 40, [[[]]]])
    for n in range(len(data)):
        raises(ValueError, unpack, data[:n])
    assert unpack(data)[0] == "1.0"


def test_ints_of_every_width_come_back_from_their_shortest_form():
    for shift in range(64):
        for n in ((1 << shift) - 1, 1 << shift, (1 << shift) + 1, -(1 << shift), -(1 << shift) - 1, 1 - (1 << shift)):
            if -(1 << 63) <= n < 1 << 64:
                data = packed(n)
                assert unpack(data) == n
                bits = [8, 16, 32, 64]
                whole = [b for b in bits if (0 <= n < 1 << b) or (n < 0 and n >= -(1 << b - 1))]
                assert len(data) == (1 if -32 <= n < 128 else 1 + whole[0] // 8), n


def test_floats_come_back_from_the_shorter_exact_form():
    for x, size in ((0.5, 5), (-1.25, 5), (0.1, 9), (1e300, 9), (0.0, 5), (3.4e39, 9)):
        data = packed(x)
        assert unpack(data) == x
        assert len(data) == size, x


def test_text_and_arrays_of_every_length_come_back():
    for n in (0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536):
        assert unpack(packed("a" * n, 70000)) == "a" * n
        assert len(unpack(packed([None] * n, 70000))) == n
    assert packed("größe") == b"\xa7gr\xc3\xb6\xc3\x9fe"


def test_nan_the_infinities_and_bools_are_not_written():
    for value in (float("nan"), float("inf"), float("-inf"), True, {}, b"x"):
        raises(TypeError, packed, value)


def test_a_message_that_exceeds_the_buffer_is_an_error_and_nothing_is_overrun():
    for value in (1, 200, 70000, -200, 0.1, "text", [1] * 20, [None] * 4):
        whole = packed(value)
        for size in range(len(whole)):
            p = Packer(size, start=3)
            raises(ValueError, p.any, value)
            assert len(p.buf) == size + 3
        p = Packer(len(whole), start=3)
        p.any(value)
        assert written(p) == whole


def test_eight_levels_are_read_and_nine_are_not():
    assert unpack(b"\x91" * 8 + b"\xc0") == [[[[[[[[None]]]]]]]]
    raises(ValueError, unpack, b"\x91" * 9 + b"\xc0")


def test_maps_and_extensions_are_read_over():
    maps = b"\x81\xa1a\x91\x01", b"\xde\x00\x01\xa1a\x01"
    for code in maps + (b"\xd4\x01\x00", b"\xc7\x02\x05ab", b"\xd8\x01" + bytes(16)):
        assert unpack(b"\x92" + code + b"\x07") == [..., 7]


def test_a_reader_stays_within_its_end():
    reader = Unpacker(b"\x00\x92\x01\x02\x03", 1, 4)
    assert reader.value() == [1, 2]
    raises(ValueError, reader.value)
