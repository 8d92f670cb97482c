"""Hostile payloads cost bounded memory, whatever they claim: by the peak of tracemalloc, never by the clock."""

import contextlib
import tracemalloc
from collections.abc import Callable

import msgpack
import pytest

from gateway.errors import DecodeError, MessageError
from gateway.protocol import decoder
from tests.support import vectors

BOUND = 65_536
"""The gateway's own bound of a payload, at first."""
PER_BYTE = 100
"""Bytes of Python objects for each byte on the wire: one byte makes an empty map, the list of its pairs costs 56."""
SLACK = 65_536
"""What msgpack's unpacker and the error cost, whatever the payload."""

RULES = [vector for vector in vectors.load("malformed.json", "hb", "hello") if "rule" in vector]
CLAIMS = [vector for vector in vectors.load("malformed.json", "hb") if vector["name"].endswith("-claim")]


def peak(decode: Callable[[bytes], object], payload: bytes) -> int:
    """Bytes allocated at most while `payload` was decoded or rejected."""
    tracemalloc.start()
    try:
        with contextlib.suppress(MessageError):
            decode(payload)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("vector", CLAIMS, ids=lambda vector: vector["name"])
def test_a_claim_of_gigabytes_costs_no_more_than_the_payload(vector: vectors.Vector) -> None:
    assert peak(decoder.decode_heartbeat, vectors.payload(vector)) < SLACK


@pytest.mark.parametrize("vector", RULES, ids=lambda vector: vector["name"])
def test_depth_and_length_cost_in_proportion(vector: vectors.Vector) -> None:
    payload = vectors.payload(vector)
    decode = decoder.decode_hello if vector["channel"] == "hello" else decoder.decode_heartbeat
    assert peak(decode, payload) < PER_BYTE * len(payload) + SLACK


def nested(levels: int) -> bytes:
    """A heartbeat with so many levels in an element that version 1 does not know."""
    return b"\x98\x01" + b"\xc0" * 6 + b"\x91" * levels + b"\xc0"


@pytest.mark.parametrize("levels", [0, 1, 10, 100, 500])
def test_what_is_unknown_may_be_nested(levels: int) -> None:
    assert decoder.decode_heartbeat(nested(levels)).source == 1


@pytest.mark.parametrize("levels", [1025, 10_000, 60_000, 1_000_000])
def test_nothing_may_be_nested_without_end(levels: int) -> None:
    with pytest.raises(DecodeError, match="nested too deeply"):
        decoder.decode_heartbeat(nested(levels))


@pytest.mark.parametrize(
    "filling",
    [b"\x90", b"\x80", b"\xa0", b"\xc0", b"\x00", b"\xc4\x00", b"\x81\x01\x02", b"\xa1a", b"\xc7\x00\x05"],
    ids=["arrays", "maps", "strs", "nils", "ints", "bins", "map", "letters", "exts"],
)
@pytest.mark.parametrize("place", ["element", "values", "unknown"])
def test_many_small_objects_cost_in_proportion(filling: bytes, place: str) -> None:
    count = BOUND // len(filling) - 20
    many = b"\xdd" + count.to_bytes(4, "big") + filling * count
    payload = {"element": b"\x91", "values": b"\x93\x01\xc0", "unknown": b"\x92\xa1x"}[place] + many
    assert peak(decoder.decode_heartbeat, payload) < PER_BYTE * len(payload) + SLACK


def test_a_map_with_colliding_keys_is_never_built() -> None:
    pairs = {n * (2**61 - 1): None for n in range(1, 9)}
    with pytest.raises(DecodeError, match="a map"):
        decoder.decode_heartbeat(msgpack.packb([1, 0, pairs]))


def test_keys_that_no_dict_takes_do_no_harm() -> None:
    assert decoder.decode_heartbeat(bytes.fromhex("98 01 c0c0c0c0c0c0 81 90 c0")).source == 1
    assert decoder.decode_heartbeat(bytes.fromhex("98 01 c0c0c0c0c0c0 81 80 c0")).source == 1


@pytest.mark.parametrize("code", range(256))
def test_each_first_byte_alone_is_rejected_or_a_get(code: int) -> None:
    payload = bytes([code])
    if payload == b"\x90":
        assert decoder.decode_get(payload).seq is None
    else:
        with pytest.raises(DecodeError):
            decoder.decode_get(payload)


def test_every_truncation_of_a_good_payload_is_rejected() -> None:
    [worked] = [each for each in vectors.load("messages.json", "hb") if each["name"] == "hb-layout-worked"]
    payload = vectors.payload(worked)
    for length in range(len(payload)):
        with pytest.raises(DecodeError):
            decoder.decode_heartbeat(payload[:length])
