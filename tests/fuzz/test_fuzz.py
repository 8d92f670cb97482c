"""The target of the fuzz, in the time that CI has: all of the corpus, and some thousand inputs grown from it.

A million takes `make fuzz`; where atheris has no wheel, FUZZ_EXAMPLES=1000000 makes hypothesis do it here.
"""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.errors import DecodeError
from gateway.protocol import decoder
from gateway.protocol.messages import Get
from tests.fuzz import target
from tests.fuzz.corpus import corpus
from tests.support.engine import OTHER

CORPUS = corpus()
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2000"))


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """Some of the corpus in a row, with a few bytes of it changed, added or taken away."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(CORPUS), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


def test_all_of_the_corpus() -> None:
    assert all(target.run(data).lines for data in CORPUS)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(inputs())
@example(b"")
def test_whatever_comes(data: bytes) -> None:
    target.run(data)


def test_a_step_is_read_as_it_was_written() -> None:
    data = target.step("get", b"12", "resume", OTHER) + target.step("hb", b"")
    assert list(target.steps(data)) == [(2 | 8 | target.AFTERWARDS.index("resume") << 4, b"12"), (1, b"")]


def foreign(payload: bytes) -> Get:
    return Get(seq=int(payload.decode("ascii")))


def silent(payload: bytes) -> Get:
    raise DecodeError("")


def slow(payload: bytes) -> Get:
    return max((decoder.decode_get(b"\x90") for _ in range(len(payload) ** 2)), key=repr)


def greedy(payload: bytes) -> Get:
    return Get(seq=len(bytes(100 * len(payload) ** 2)))


@pytest.mark.parametrize("faulty", [foreign, silent, slow, greedy])
def test_a_fault_of_the_codec_would_be_found(faulty: Callable[[bytes], Get]) -> None:
    decoders = [faulty] * len(target.CHANNELS)
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        target.run(target.step("get", b"\xff" * 200), decoders)
