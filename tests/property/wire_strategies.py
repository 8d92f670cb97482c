"""Strategies: names of the service's patterns, and the positional arrays that devices may send. No test of its own."""

from typing import Any

from hypothesis import strategies as st

UINT = st.integers(0, 2**64 - 1)
AGE = st.integers(0, 10_000)
NAMES = st.from_regex(r"[a-zA-Z0-9](-{0,2}_{0,2}[a-zA-Z0-9]){0,20}", fullmatch=True)
WORDS = st.from_regex(r"[a-zA-Z0-9](-{0,2}[a-zA-Z0-9]){3,20}", fullmatch=True)
VERSIONS = st.from_regex(r"[a-zA-Z0-9 _.]{1,64}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
EXPONENTS = st.none() | st.integers(-30, 30)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


METRICS: st.SearchStrategy[list[Any]] = st.lists(st.tuples(WORDS, WORDS, EXPONENTS).map(list), max_size=4)
MODELS: st.SearchStrategy[list[Any]] = st.lists(st.tuples(WORDS, VERSIONS, METRICS).map(list), max_size=3)
LAYOUTS: st.SearchStrategy[list[Any]] = st.tuples(VERSIONS, METRICS, MODELS).map(list)
SERIES = st.lists(st.tuples(NUMBERS, AGE), max_size=4).map(lambda pairs: [each for pair in pairs for each in pair])
SAMPLES = st.lists(st.none() | NUMBERS | SERIES, max_size=4)
STATES = st.sampled_from([0, 1, None, "PAUSE"])
MODEL_RESULTS = st.tuples(
    maybe(WORDS), maybe(WORDS), maybe(VERSIONS), STATES, STATES, STATES, maybe(TEXTS), maybe(TEXTS)
).map(list)
RESULTS = st.tuples(
    maybe(WORDS), maybe(WORDS), maybe(TEXTS), maybe(UINT), maybe(UINT), maybe(st.lists(MODEL_RESULTS, max_size=2))
).map(list)
MODEL_SAMPLES = st.lists(st.none() | st.tuples(maybe(UINT), maybe(UINT), SAMPLES).map(list), max_size=3)

HELLOS = st.tuples(
    st.integers(0, 65535), LAYOUTS, maybe(st.integers(0, 4_102_444_800)), maybe(st.integers(0, 10**6)), maybe(UINT)
).map(list)
HEARTBEATS = st.tuples(
    st.integers(0, 65535) | LAYOUTS,
    maybe(UINT),
    maybe(SAMPLES),
    maybe(MODEL_SAMPLES),
    maybe(UINT),
    maybe(RESULTS),
    maybe(UINT),
).map(list)
LIVES = st.tuples(UINT, maybe(UINT)).map(list)
GETS = st.tuples(maybe(UINT), maybe(UINT)).map(list)
READS = st.tuples(UINT, UINT, UINT, st.integers(0, 65_536), maybe(st.integers(0, 64))).map(list)
