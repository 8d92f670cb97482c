"""Heartbeats -> one call: values, exponents, dates, ages, models merged, results once, and where a merge ends."""

from typing import Any

import pytest

from gateway.cloud import json_body
from gateway.core import merging
from gateway.core.merging import QueuedHeartbeat
from gateway.errors import Code, DecodeError, LimitError, MessageError
from gateway.protocol import limits
from gateway.protocol.messages import (
    Heartbeat,
    Hello,
    HelloRecord,
    Instant,
    Layout,
    Metric,
    Model,
    ModelResult,
    ModelSamples,
    Result,
)
from gateway.protocol.service_calls import DatedResult, ModelReport, SendHeartbeat
from tests.support import vectors
from tests.support.engine import DEVICE, EPOCH, HELLO, LAYOUT, NEWER, Token

HEAP, TEMPERATURE = LAYOUT.metrics
[LATENCY] = LAYOUT.models[0].metrics
NOW = EPOCH + 1000


def waiting(
    layout: Layout = LAYOUT, arrived: int = NOW, record: HelloRecord | None = None, **members: Any
) -> QueuedHeartbeat:
    """A heartbeat of a tag, 100 s after the epoch by default."""
    heartbeat = Heartbeat(HELLO.tag, **({"time": 100} | members))
    item = QueuedHeartbeat(Token(1), heartbeat, arrived, layout, record or HelloRecord(HELLO))
    item.update_time()
    return item


def one(**members: Any) -> SendHeartbeat:
    """The call for one heartbeat."""
    return merging.merge(DEVICE, [waiting(**members)])


# Values


@pytest.mark.parametrize(
    "vector", vectors.load("values.json"), ids=lambda vector: f"{vector['n']}e{vector['exponent']}"
)
def test_an_int_under_an_exponent_is_the_nearest_float(vector: vectors.Vector) -> None:
    value = merging.apply_exponent(vector["n"], vector["exponent"])
    assert (type(value), value) == (float, vector["value"])


@pytest.mark.parametrize("number", [81344, -1, 0, 2**64 - 1, 0.1, -2.5e300])
def test_a_sample_without_an_exponent_travels_as_it_is(number: float) -> None:
    value = merging.apply_exponent(number, None)
    assert (type(value), value) == (type(number), number)


def test_samples_are_in_the_order_of_the_layout_each_with_its_date() -> None:
    call = one(values=((81344, 40, 81200, 20, 81100, 0), 365))
    assert call.metrics == (
        (HEAP, 81344, EPOCH + 60),
        (HEAP, 81200, EPOCH + 80),
        (HEAP, 81100, EPOCH + 100),
        (TEMPERATURE, 36.5, EPOCH + 100),
    )


def test_nil_and_missing_samples_are_left_out() -> None:
    assert one(values=(None, 365)).metrics == ((TEMPERATURE, 36.5, EPOCH + 100),)
    assert one(values=((), 365)).metrics == ((TEMPERATURE, 36.5, EPOCH + 100),)
    assert one(values=()).metrics == one().metrics == ()


# Dates


def test_a_tags_time_counts_from_its_epoch() -> None:
    assert waiting(time=100).time == EPOCH + 100


def test_a_layouts_time_is_unix_time() -> None:
    item = QueuedHeartbeat(Token(1), Heartbeat(LAYOUT, EPOCH + 5), NOW, LAYOUT)
    item.update_time()
    assert item.time == EPOCH + 5


def test_no_time_is_the_moment_of_arrival() -> None:
    assert waiting(time=None).time == NOW
    item = QueuedHeartbeat(Token(1), Heartbeat(LAYOUT), NOW, LAYOUT)
    item.update_time()
    assert item.time == NOW


def test_a_device_without_a_clock_is_dated_by_the_earliest_inferred_epoch() -> None:
    record = HelloRecord(Hello(1, LAYOUT))
    assert record.infer_epoch(5000, Instant(0.0, 0.0))
    late = waiting(record=record, time=100)
    assert late.time == 5100
    assert not record.infer_epoch(6000, Instant(0.0, 0.0))
    assert record.infer_epoch(4000, Instant(0.0, 0.0))
    late.update_time()
    assert late.time == 4100


# Models


def test_the_samples_of_a_model_are_dated() -> None:
    call = one(models=(ModelSamples(4, 2, ((12, 9, 14, 3),)),))
    samples = ((LATENCY, 12, EPOCH + 91), (LATENCY, 14, EPOCH + 97))
    assert call.models == (ModelReport("keyword-spotting", "1.0", EPOCH + 96, EPOCH + 98, samples),)


@pytest.mark.parametrize("models", [(), (None,)])
def test_a_model_without_samples_is_left_out(models: tuple[None, ...]) -> None:
    assert one(models=models).models == ()


@pytest.mark.parametrize(
    ("first", "second", "latest"),
    [
        ((4, 2), (1, 1), (99, 99)),
        ((1, 1), (4, 2), (99, 99)),
        ((None, 2), (4, None), (96, 98)),
        ((None,) * 2, (None,) * 2, (None,) * 2),
    ],
)
def test_merged_models_keep_the_latest_times(first: Any, second: Any, latest: Any) -> None:
    batch = [waiting(models=(ModelSamples(*ages, ()),)) for ages in (first, second)]
    [model] = merging.merge(DEVICE, batch).models
    assert (model.latest_sample, model.latest_inference) == tuple(at and EPOCH + at for at in latest)


def test_models_are_merged_by_name_and_version() -> None:
    rows = (LATENCY,)
    layout = Layout(
        "1.0", (), (Model("keyword", "1.0", rows), Model("keyword", "2.0", rows), Model("keyword", "1.0", rows))
    )
    reported = tuple(ModelSamples(None, None, (number,)) for number in (1, 2, 3))
    call = merging.merge(DEVICE, [waiting(layout, models=reported), waiting(layout, models=reported)])
    assert [(model.name, model.version) for model in call.models] == [("keyword", "1.0"), ("keyword", "2.0")]
    assert [[value for _, value, _ in model.metrics] for model in call.models] == [[1, 3, 1, 3], [2, 2]]


# Merging


def test_samples_are_in_the_order_of_arrival() -> None:
    batch = [waiting(time=time, values=(number,)) for time, number in ((30, 1), (10, 2), (20, 3))]
    call = merging.merge(DEVICE, batch)
    assert call.metrics == ((HEAP, 1, EPOCH + 30), (HEAP, 2, EPOCH + 10), (HEAP, 3, EPOCH + 20))
    assert (call.heartbeats, call.device, call.agent_version) == (3, DEVICE, "1.0.0")


def test_heartbeats_of_two_tags_with_one_layout_are_dated_each_by_its_own_epoch() -> None:
    rebooted = HelloRecord(Hello(4712, LAYOUT, EPOCH + 500))
    batch = [waiting(values=(1,)), waiting(record=rebooted, values=(2,))]
    assert merging.mergeable_count(batch, 100, 10_000) == 2
    assert [at for _, _, at in merging.merge(DEVICE, batch).metrics] == [EPOCH + 100, EPOCH + 600]


def test_a_result_travels_with_its_dates_and_its_models() -> None:
    models = (ModelResult("kws", "keyword-spotting", "1.0", "DEPLOY", "DEPLOY", "SUCCESS"),)
    result = Result("deploy-7", "SUCCESS", "well", 9, 2, models)
    assert one(result=result).result == DatedResult("deploy-7", "SUCCESS", "well", EPOCH + 91, EPOCH + 98, models)


def test_results_equal_but_for_their_times_are_one_with_the_last_times() -> None:
    batch = [waiting(time=time, result=Result("d", "SUCCESS", None, 5, 1)) for time in (100, 200)]
    batch.insert(1, waiting(time=150))
    assert merging.mergeable_count(batch, 100, 10_000) == 3
    assert merging.merge(DEVICE, batch).result == DatedResult("d", "SUCCESS", None, EPOCH + 195, EPOCH + 199, None)


@pytest.mark.parametrize(
    "other",
    [Result("e", "SUCCESS"), Result("d", "FAIL"), Result("d", "SUCCESS", "text"), Result("d", "SUCCESS", models=())],
)
def test_a_different_result_ends_the_merge_before_it(other: Result) -> None:
    batch = [waiting(), waiting(result=Result("d", "SUCCESS")), waiting(), waiting(result=other), waiting()]
    assert merging.mergeable_count(batch, 100, 10_000) == 3


def test_another_layout_ends_the_merge_before_it() -> None:
    assert merging.mergeable_count([waiting(), waiting(), waiting(NEWER), waiting()], 100, 10_000) == 2


@pytest.mark.parametrize(("most", "count"), [(1, 1), (2, 2), (4, 4), (5, 5), (6, 5)])
def test_a_merge_is_bounded_in_heartbeats(most: int, count: int) -> None:
    assert merging.mergeable_count([waiting() for _ in range(5)], most, 10_000) == count


def test_a_merge_is_bounded_in_bytes_but_never_empty() -> None:
    batch = [waiting(values=((1, 0) * 50,)) for _ in range(10)]
    assert merging.mergeable_count(batch, 100, 1) == 1
    few, many = merging.mergeable_count(batch, 100, 12_000), merging.mergeable_count(batch, 100, 30_000)
    assert 1 <= few < many < 10


def test_long_names_count_with_their_length() -> None:
    metric = Metric("d" * 1000, "m" * 100)
    layout = Layout("1.0", (metric,), (Model("n" * 255, "1.0", (metric,)),))
    reported = {"values": ((1, 0) * 10,), "models": (ModelSamples(1, 1, ((1, 0) * 10,)),)}
    batch = [waiting(layout, **reported) for _ in range(20)]
    assert merging.mergeable_count(batch, 100, 100_000) <= 5


LONG = Metric("d" * 1000, "m" * 100)
"""With names as long as the service takes."""
MANY_MODELS = Layout("1.0", (), tuple(Model(f"{number:0255}", "v" * 64, ()) for number in range(6_000)))


def test_a_call_of_several_heartbeats_is_below_the_bound_of_a_call_whatever_the_settings_are() -> None:
    layout = Layout("1.0", (LONG,), ())
    batch = [waiting(layout, values=((1, 0) * 500,)) for _ in range(10)]
    count = merging.mergeable_count(batch, 100, 1 << 30)
    assert count == 3
    assert len(json_body.encode(merging.merge(DEVICE, batch[:count]))) <= merging.MAX_CALL_BYTES


@pytest.mark.parametrize(
    ("layout", "members"),
    [
        (Layout("1.0", (LONG,), ()), {"values": ((1, 0) * 1_800,)}),
        (Layout("1.0", (), (Model("n" * 255, "1.0", (LONG,)),)), {"models": (ModelSamples(1, 1, ((1, 0) * 1_800,)),)}),
        (Layout("1.0", (Metric("d", "name"),), ()), {"values": ((1, 0) * 23_000,)}),
        (MANY_MODELS, {"models": (ModelSamples(1, 1, ()),) * 6_000}),
        (LAYOUT, {"result": Result("d", "SUCCESS", "\x01" * 600_000)}),
    ],
    ids=["long names", "of a model", "many samples", "many models", "a long result"],
)
def test_a_heartbeat_that_would_be_more_than_a_call_takes_is_rejected_before_it_is_built(
    layout: Layout, members: Any
) -> None:
    item = waiting(layout, **members)
    with pytest.raises(LimitError, match=r"a call of \d{7} bytes, at most 2097152: send fewer samples at once"):
        merging.check_heartbeat(item, layout)
    assert len(json_body.encode(merging.merge(DEVICE, [item]))) > 0.8 * merging.MAX_CALL_BYTES


def test_few_samples_are_below_the_bound_with_the_longest_names() -> None:
    assert limits.DIMENSION.longest + limits.METRIC.longest == len(LONG.dimension) + len(LONG.name)
    layout = Layout("1.0", (LONG,), ())
    merging.check_heartbeat(waiting(layout, values=((1, 0) * 1_762,)), layout)
    with pytest.raises(LimitError, match="a call of"):
        merging.check_heartbeat(waiting(layout, values=((1, 0) * 1_763,)), layout)


# Limits


@pytest.mark.parametrize(
    ("members", "code", "detail"),
    [
        ({"values": (1, 2, 3)}, Code.MALFORMED, "values: 3 where the layout has 2"),
        ({"models": (None, None)}, Code.MALFORMED, "models: 2 where the layout has 1"),
        ({"models": (ModelSamples(None, None, (1, 2)),)}, Code.MALFORMED, "samples of keyword-spotting: 2 where"),
        ({"time": 1000 + 86_401}, Code.REFUSED, "more than a day after its arrival"),
        ({"time": 2**64 - 1}, Code.REFUSED, "more than a day after its arrival"),
        ({"values": ((1, EPOCH + 101),)}, Code.REFUSED, "before 1970"),
        ({"values": ((1, 2**64 - 1),)}, Code.REFUSED, "before 1970"),
        ({"models": (ModelSamples(EPOCH + 101, None, ()),)}, Code.REFUSED, "before 1970"),
        ({"models": (ModelSamples(None, EPOCH + 101, ()),)}, Code.REFUSED, "before 1970"),
        ({"models": (ModelSamples(None, None, ((1, EPOCH + 101),)),)}, Code.REFUSED, "before 1970"),
        ({"result": Result("d", "S", None, EPOCH + 101)}, Code.REFUSED, "before 1970"),
        ({"result": Result("d", "S", None, None, EPOCH + 101)}, Code.REFUSED, "before 1970"),
    ],
)
def test_what_the_layout_or_the_dates_forbid(members: Any, code: Code, detail: str) -> None:
    with pytest.raises(MessageError, match=detail) as caught:
        merging.check_heartbeat(waiting(**members), LAYOUT)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "members",
    [{"time": 1000 + 86_400}, {"time": 0}, {"values": ((1, EPOCH + 100),)}, {"values": (2**64 - 1, -(2**63))}, {}],
)
def test_what_the_layout_and_the_dates_just_allow(members: Any) -> None:
    merging.check_heartbeat(waiting(**members), LAYOUT)
    assert merging.merge(DEVICE, [waiting(**members)]).heartbeats == 1


def test_nothing_is_dated_after_2100() -> None:
    item = QueuedHeartbeat(Token(1), Heartbeat(LAYOUT, 4_102_444_801), 4_102_444_800)
    with pytest.raises(LimitError, match="after 2100"):
        merging.check_heartbeat(item, LAYOUT)


@pytest.mark.parametrize(("number", "exponent"), [(1e300, 30), (-1e300, 30), (1.7e308, 1)])
def test_a_value_beyond_a_double_is_rejected(number: float, exponent: int) -> None:
    layout = Layout("1.0", (Metric("sys", "huge", exponent),), ())
    for samples in (number, (0, 0, number, 1)):
        with pytest.raises(LimitError, match="huge is beyond a double"):
            merging.check_heartbeat(waiting(layout, values=(samples,)), layout)


def test_too_many_samples_are_malformed_even_where_they_are_nil() -> None:
    with pytest.raises(DecodeError):
        merging.check_heartbeat(waiting(values=(None,) * 3), LAYOUT)


def test_nothing_is_checked_or_counted_where_nothing_was_sampled() -> None:
    items = [waiting(values=(None, 365), models=(None,)) for _ in range(2)]
    for item in items:
        merging.check_heartbeat(item, LAYOUT)
    assert merging.mergeable_count(items, 100, 1_000_000) == 2
    assert merging.mergeable_count(items, 100, 1) == 1


def test_a_merge_of_checked_heartbeats_is_as_large_as_if_each_sample_were_counted() -> None:
    layout = Layout("1.0", (LONG, *(Metric("sys", f"short-{number}") for number in range(9))), ())
    batch = [waiting(layout, values=(1,) * 10) for _ in range(20)]
    counted = [merging.mergeable_count(batch, 100, size) for size in range(2_000, 60_000, 500)]
    for item in batch:
        merging.check_heartbeat(item, layout)
    assert [merging.mergeable_count(batch, 100, size) for size in range(2_000, 60_000, 500)] == counted
    assert (counted[0], counted[-1]) == (1, 20)
