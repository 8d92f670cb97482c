"""Merging loses nothing, invents nothing, keeps the order of arrival and dates each sample by its own heartbeat."""

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import msgpack
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.cloud import serializer
from gateway.core import merging
from gateway.core.merging import QueuedHeartbeat
from gateway.errors import MessageError
from gateway.protocol import decoder
from gateway.protocol.messages import Heartbeat, Layout, Metric, Number, Samples
from tests.property import wire_strategies
from tests.support import vectors
from tests.support.engine import DEVICE, EPOCH, Token


@st.composite
def batches(draw: st.DrawFn) -> list[QueuedHeartbeat]:
    """Heartbeats of one layout that passed the check, in the order of their arrival."""
    layout = vectors.message_of("hello", [1, draw(wire_strategies.LAYOUTS)]).layout  # type: ignore[union-attr]
    batch = []
    for _ in range(draw(st.integers(1, 5))):
        item = QueuedHeartbeat(Token(1), draw(heartbeats(layout)), EPOCH, layout)
        try:
            merging.check_heartbeat(item, layout)
        except MessageError:
            continue  # a value beyond a double
        batch.append(item)
    assume(batch)
    return batch


def heartbeats(layout: Layout) -> st.SearchStrategy[Heartbeat]:
    """Heartbeats that fit a layout, packed and decoded as on their way."""
    reported = [st.none() | st.tuples(_age, _age, _row(model.metrics)).map(list) for model in layout.models]
    time = st.integers(EPOCH - 50_000, EPOCH + 1000)
    value = st.tuples(_plain(layout), time, _row(layout.metrics), st.tuples(*reported).map(list))
    return value.map(lambda each: decoder.decode_heartbeat(msgpack.packb(each)))


_age = st.none() | wire_strategies.AGE


def _row(metrics: tuple[Metric, ...]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | wire_strategies.NUMBERS | wire_strategies.SERIES, max_size=len(metrics))


def _plain(layout: Layout) -> st.SearchStrategy[list[Any]]:
    rows = [[metric.dimension, metric.name, metric.exponent] for metric in layout.metrics]
    models = [
        [model.name, model.version, [[metric.dimension, metric.name, metric.exponent] for metric in model.metrics]]
        for model in layout.models
    ]
    return st.just([layout.agent_version, rows, models])


def stated(metrics: tuple[Metric, ...], row: tuple[Samples, ...], time: int) -> Iterator[tuple[Metric, Number, int]]:
    """The samples of a row one by one, each with its own date, written from the protocol page."""
    for index, samples in enumerate(row):
        if isinstance(samples, tuple):
            for at in range(0, len(samples), 2):
                yield metrics[index], samples[at], time - int(samples[at + 1])
        elif samples is not None:
            yield metrics[index], samples, time


def is_worth(sent: Number, metric: Metric, value: Number) -> bool:
    """Whether `value` is what `sent` stands for; for an int the nearest float there is."""
    if metric.exponent is None:
        return type(value) is type(sent) and value == sent
    exact = Fraction(sent) * Fraction(10) ** metric.exponent
    if isinstance(sent, int):
        return value == float(exact)
    return abs(Fraction(value) - exact) <= abs(exact) / 2**50 + Fraction(1, 2**1074)


@given(batches())
def test_every_sample_is_there_once_in_its_order_with_its_date(batch: list[QueuedHeartbeat]) -> None:
    call = merging.merge(DEVICE, batch)
    layout = batch[0].layout
    assert layout is not None
    expected = [each for item in batch for each in stated(layout.metrics, item.heartbeat.values, item.time)]
    assert [(metric, at) for metric, _, at in call.metrics] == [(metric, at) for metric, _, at in expected]
    assert all(
        is_worth(sent, metric, got) for (metric, sent, _), (_, got, _) in zip(expected, call.metrics, strict=True)
    )
    assert (call.heartbeats, call.agent_version) == (len(batch), layout.agent_version)


@given(batches())
def test_models_are_reported_by_name_and_version_with_all_samples_and_the_latest_times(
    batch: list[QueuedHeartbeat],
) -> None:
    call = merging.merge(DEVICE, batch)
    expected: dict[tuple[str, str], list[tuple[Metric, int]]] = {}
    stamps: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for item in batch:
        for model, reported in zip(item.layout.models, item.heartbeat.models, strict=False):  # type: ignore[union-attr]
            if reported is not None:
                key = model.name, model.version
                samples = stated(model.metrics, reported.metrics, item.time)
                expected.setdefault(key, []).extend((metric, at) for metric, _, at in samples)
                ages = reported.sample_age, reported.inference_age
                for stamp, age in zip(stamps.setdefault(key, ([], [])), ages, strict=True):
                    stamp += [] if age is None else [item.time - age]
    assert {(model.name, model.version): [(m, at) for m, _, at in model.metrics] for model in call.models} == expected
    assert [(model.latest_sample, model.latest_inference) for model in call.models] == [
        (max(sampled, default=None), max(inferred, default=None)) for sampled, inferred in stamps.values()
    ]


@given(batches(), st.integers(1, 6), st.integers(1, 5000))
def test_a_merge_is_bounded_and_takes_one_at_least(batch: list[QueuedHeartbeat], most: int, size: int) -> None:
    count = merging.mergeable_count(batch, most, size)
    assert 1 <= count <= min(most, len(batch))
    weight = len(json.dumps(serializer.to_request(merging.merge(DEVICE, batch[:count]))))
    assert count == 1 or weight <= 1.5 * size + 500


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-30, 30))
def test_an_int_under_an_exponent_is_the_float_nearest_to_that_decimal(number: int, exponent: int) -> None:
    assert merging.apply_exponent(number, exponent) == float(f"{number}e{exponent}")
