"""The decoder against the vectors: a payload becomes its message, or an error with its code."""

from collections.abc import Callable

import msgpack
import pytest

from gateway.core.merging import QueuedHeartbeat, check_heartbeat
from gateway.errors import Code, DecodeError, LimitError, MessageError
from gateway.protocol import decoder
from gateway.protocol.decoder import DECODERS
from gateway.protocol.messages import Heartbeat, Hello, Layout, Metric, ModelResult, Result
from tests.support import vectors
from tests.support.engine import Token

NOW = vectors.now("malformed.json")
GOOD = vectors.load("messages.json", *DECODERS)
MALFORMED = vectors.load("malformed.json", *DECODERS)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_a_good_payload_becomes_its_message(vector: vectors.Vector) -> None:
    expected = vectors.message_of(vector["channel"], vector.get("known", vector["value"]))
    assert DECODERS[vector["channel"]](vectors.payload(vector)) == expected


@pytest.mark.parametrize("vector", MALFORMED, ids=lambda vector: vector["name"])
def test_a_malformed_payload_is_rejected_with_its_code(vector: vectors.Vector) -> None:
    with pytest.raises(MessageError) as caught:
        _decode_and_check(vector["channel"], vectors.payload(vector))
    assert caught.value.code == vector["code"]
    assert type(caught.value) is (DecodeError if vector["code"] == Code.MALFORMED else LimitError)
    assert 0 < len(caught.value.detail) < 400


def _decode_and_check(channel: str, payload: bytes) -> None:
    """As far as a message can be checked without its device: by its form, and by the layout that it brings."""
    message = DECODERS[channel](payload)
    if isinstance(message, Heartbeat) and isinstance(message.source, Layout):
        check_heartbeat(QueuedHeartbeat(Token(1), message, NOW), message.source)


def test_ints_stay_ints_and_floats_floats() -> None:
    numbers = decoder.decode_heartbeat(msgpack.packb([1, None, [1, 1.0, [2, 0, 2.0, 0]]])).values
    assert [type(number) for number in (*numbers[:2], numbers[2][0], numbers[2][2])] == [int, float, int, float]


def test_an_empty_hello_means_that_there_is_none() -> None:
    assert decoder.decode_hello(b"") is None


def test_an_empty_live_says_nothing() -> None:
    assert decoder.decode_live(b"") is None


def test_metrics_and_models_of_a_layout_may_be_nil() -> None:
    hello = decoder.decode_hello(msgpack.packb([1, ["1.0"]]))
    assert hello == Hello(1, Layout("1.0", (), ()))


@pytest.mark.parametrize(
    ("payload", "right"),
    [
        ([65536], "tag: 65536 where an int from 0 to 65535 belongs"),
        ([1, -1], "time: -1 where an int of 0 or more belongs"),
        ([1, 0, [True]], "sample: True where an int or a finite float belongs"),
        ([1, 0, [{}]], "sample: a map where an int or a finite float belongs"),
        ([1, 0, {}], "values: a map where an array or nil belongs"),
        ([1, 0, [[1]]], "samples: an age is missing (number, age, number, age, ...)"),
        ([[None]], "agent_version: nil where a str belongs"),
        ([["1", [["s", "name", 31]]]], "exponent: 31 where an int from -30 to 30 belongs"),
        ([1, 0, [], [], 0, [b"d"]], "result's deployment: bytes where a str belongs"),
        (
            [1, 0, [], [], 0, ["d", "S", None, 0, 0, [["h", None, None, 2]]]],
            "desired: 2 where one of [0, 1], a str or nil",
        ),
    ],
)
def test_an_error_names_the_element_its_value_and_what_belongs_there(payload: list[object], right: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decoder.decode_heartbeat(msgpack.packb(payload))
    assert caught.value.detail.startswith(right)


@pytest.mark.parametrize(
    ("decode", "payload", "seq"),
    [
        (decoder.decode_heartbeat, [4711, -1, None, None, None, None, 9], 9),
        (decoder.decode_heartbeat, [4711, 1, None, None, None, ["a_name", "OK"], 0], 0),
        (decoder.decode_heartbeat, [["1.0", [["sys", "cpu"]]], 1, None, None, None, None, 2**64 - 1], 2**64 - 1),
        (decoder.decode_heartbeat, [None, 1, None, None, None, None, 9, "what version 1 does not know"], 9),
        (decoder.decode_heartbeat, [4711, -1], None),
        (decoder.decode_heartbeat, [4711, -1, None, None, None, None, -9], None),
        (decoder.decode_heartbeat, [4711, -1, None, None, None, None, True], None),
        (decoder.decode_heartbeat, {6: 9}, None),
        (decoder.decode_get, ["0", 9], 9),
        (decoder.decode_get, ["0", "9"], None),
        (decoder.decode_get, ["0"], None),
    ],
)
def test_an_error_has_the_seq_where_it_can_be_read(
    decode: Callable[[bytes], object], payload: object, seq: int | None
) -> None:
    with pytest.raises(MessageError) as caught:
        decode(msgpack.packb(payload))
    assert caught.value.seq == seq


def test_an_error_has_no_seq_of_what_is_no_msgpack() -> None:
    with pytest.raises(DecodeError) as caught:
        decoder.decode_heartbeat(msgpack.packb([4711, 1, None, None, None, None, 9]) + b"\xc1")
    assert caught.value.seq is None


@pytest.mark.parametrize("member", ["max_payload", "flags"])
def test_the_largest_int_of_msgpack_in_a_hello_is_decoded(member: str) -> None:
    row = [1, ["1.0"], None, None, None]
    row[{"max_payload": 3, "flags": 4}[member]] = 2**64 - 1
    hello = decoder.decode_hello(msgpack.packb(row))
    assert hello is not None
    assert 0 < getattr(hello, member) < 2**31


def test_an_epoch_after_2100_breaks_a_limit() -> None:
    with pytest.raises(LimitError, match="epoch: 4102444801 is after 2100"):
        decoder.decode_hello(msgpack.packb([1, ["1.0"], 4_102_444_801]))
    assert decoder.decode_hello(msgpack.packb([1, ["1.0"], 4_102_444_800])) == Hello(
        1, Layout("1.0", (), ()), 4_102_444_800
    )


def test_a_metric_keeps_an_exponent_of_zero() -> None:
    hello = decoder.decode_hello(msgpack.packb([1, ["1.0", [["sys", "free-heap", 0]]]]))
    assert hello is not None
    assert hello.layout.metrics == (Metric("sys", "free-heap", 0),)


@pytest.mark.parametrize(
    ("payload", "position", "seq"),
    [([1, 2, 7], 2, 7), ([1, 2], 2, None), ([1, 2, -7], 2, None), ({2: 7}, 2, None), ("text", 1, None)],
)
def test_the_seq_of_what_is_rejected_undecoded(payload: object, position: int, seq: int | None) -> None:
    assert decoder.peek_seq(msgpack.packb(payload), position) == seq


def test_what_is_no_msgpack_has_no_seq() -> None:
    assert decoder.peek_seq(b"\xc1", 0) is None


def test_a_long_payload_that_is_cut_ends_within_an_object() -> None:
    payload = msgpack.packb([1, 0, list(range(decoder.SHORT))])
    with pytest.raises(DecodeError, match="the payload ends within an object"):
        decoder.decode_heartbeat(payload[:-1])


def test_members_of_a_result_may_be_nil() -> None:
    result = decoder.decode_heartbeat(msgpack.packb([1, 0, None, None, None, [None, None, None, 1, 0, [[]]]])).result
    assert result == Result(None, None, None, 1, 0, (ModelResult(None, None, None, None, None, None),))


@pytest.mark.parametrize(
    ("models", "result"), [([[]] * 1001, None), (None, ["d", "S", None, 0, 0, [[]] * 1001])], ids=["models", "result"]
)
def test_more_models_than_a_device_can_have_are_not_decoded(models: object, result: object) -> None:
    with pytest.raises(LimitError, match="models: 1001, at most 1000") as caught:
        decoder.decode_heartbeat(msgpack.packb([1, 0, None, models, None, result, 7]))
    assert caught.value.seq == 7
