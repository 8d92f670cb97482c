"""Whatever the bytes, the codec gives the message that is meant, or DecodeError or LimitError, and nothing else."""

from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Code, DecodeError, LimitError
from gateway.protocol import encoder
from gateway.protocol.decoder import DECODERS
from gateway.protocol.messages import Ack
from tests.property import wire_strategies
from tests.support import vectors

VALUES = {
    "hello": wire_strategies.HELLOS,
    "hb": wire_strategies.HEARTBEATS,
    "get": wire_strategies.GETS,
    "read": wire_strategies.READS,
    "live": wire_strategies.LIVES,
}
CORPUS = [
    vectors.payload(vector)
    for file in ("messages.json", "malformed.json")
    for vector in vectors.load(file)
    if "hex" in vector
]
OBJECTS = st.recursive(
    st.none() | st.booleans() | wire_strategies.UINT | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(-9, 9), inner, max_size=3),
    max_leaves=25,
)


@pytest.mark.parametrize("channel", DECODERS)
@given(data=st.data())
def test_a_packed_message_is_decoded_to_its_value(channel: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[channel])
    assert DECODERS[channel](msgpack.packb(value)) == vectors.message_of(channel, value)


@pytest.mark.parametrize("channel", DECODERS)
@given(data=st.data(), more=st.lists(OBJECTS, max_size=3))
def test_what_version_1_does_not_know_changes_nothing(channel: str, data: st.DataObject, more: list[Any]) -> None:
    value = data.draw(VALUES[channel])
    assert DECODERS[channel](msgpack.packb(value + more)) == DECODERS[channel](msgpack.packb(value))


@pytest.mark.parametrize("channel", DECODERS)
@given(data=st.data())
def test_trailing_nils_mean_the_same_as_their_absence(channel: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[channel])
    shorter = list(value)
    while shorter and shorter[-1] is None:
        shorter.pop()
    assert DECODERS[channel](msgpack.packb(shorter)) == DECODERS[channel](msgpack.packb(value))


def refused_or_understood(payload: bytes) -> None:
    """The invariant: a message, DecodeError or LimitError with a short detail."""
    for channel, decode in DECODERS.items():
        try:
            message_of = decode(payload)
        except (DecodeError, LimitError) as error:
            refusal = error
        else:
            assert message_of is None or type(message_of).__name__.lower() == {
                "hb": "heartbeat",
                "live": "heartbeat",
            }.get(channel, channel)
            continue
        assert 0 < len(refusal.detail) < 400
        assert refusal.code in (Code.MALFORMED, Code.REFUSED)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
def test_any_bytes(payload: bytes) -> None:
    refused_or_understood(payload)


@given(OBJECTS)
def test_any_object(value: Any) -> None:
    refused_or_understood(msgpack.packb(value))


@given(st.lists(OBJECTS, max_size=8))
def test_any_array(value: list[Any]) -> None:
    refused_or_understood(msgpack.packb(value))


@given(data=st.data())
def test_any_mutation_of_a_vector(data: st.DataObject) -> None:
    payload = bytearray(data.draw(st.sampled_from(CORPUS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload)))
        payload[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    refused_or_understood(bytes(payload))


@given(
    seq=st.none() | wire_strategies.UINT,
    detail=st.none() | st.text(st.characters(), max_size=300),
    room=st.none() | st.integers(0, 300),
)
def test_any_ack_can_be_encoded(seq: int | None, detail: str | None, room: int | None) -> None:
    payload = encoder.encode_ack(Ack(seq, Code.REFUSED, 1_795_458_600, detail), room)
    head = encoder.encode_ack(Ack(seq, Code.REFUSED, 1_795_458_600))
    assert msgpack.unpackb(payload)[:3] == [seq, 4, 1_795_458_600]
    assert room is None or len(payload) <= max(room, len(head))
