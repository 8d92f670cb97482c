"""The newest values of a device: what a heartbeat makes of them, and what goes where there are too many."""

import pytest

from gateway.manager.api import ModelTimes, Sample
from gateway.manager.store.reported import Reported, later_metrics, later_models, newest_versions, pack, unpack

KNOWN = {1: Sample(10.0, 100.0), 2: Sample(20.0, 50.0)}


def test_what_is_stored_is_read_again():
    reported = Reported(KNOWN, {("m", "1"): ModelTimes(1.5, None), ("", ""): ModelTimes(None, None)})
    assert unpack(pack(reported)) == reported
    assert unpack(None) == unpack(b"") == Reported()


@pytest.mark.parametrize(("at", "value"), [(99.9, 10.0), (100.0, 7.0), (100.1, 7.0)])
def test_a_sample_replaces_one_that_is_not_later(at, value):
    metrics, beyond = later_metrics(KNOWN, {1: Sample(7.0, at)}, 10)
    assert (metrics[1].value, metrics[2], beyond) == (value, KNOWN[2], 0)
    assert KNOWN[1] == Sample(10.0, 100.0)  # what was given stays


def test_of_too_many_metrics_the_oldest_go():
    metrics, beyond = later_metrics(KNOWN, {3: Sample(1.0, 50.0), 4: Sample(1.0, 1.0)}, 2)
    assert (list(metrics), beyond) == ([1, 3], 2)


def test_of_too_many_models_the_oldest_go():
    known = {("b", "1"): ModelTimes(5.0, 9.0), ("a", "1"): ModelTimes(None, 5.0), ("c", "1"): ModelTimes(None, None)}
    models, beyond = later_models(known, {("d", "1"): ModelTimes(6.0, None)}, 2)
    assert (list(models), beyond) == ([("b", "1"), ("d", "1")], 2)


@pytest.mark.parametrize(
    ("first", "second", "newest"),
    [
        ((1.0, None), (2.0, None), "2"),
        ((2.0, None), (1.0, 9.0), "1"),
        ((None, 3.0), (2.0, 1.0), "1"),
        ((1.0, None), (1.0, None), "2"),
        ((None, None), (None, -1.0), "1"),
    ],
)
def test_one_version_of_a_model_is_the_newest(first, second, newest):
    models = {("m", "1"): ModelTimes(*first), ("m", "2"): ModelTimes(*second), ("other", "1"): ModelTimes(0.0, 0.0)}
    expected = {("m", "1"): newest == "1", ("m", "2"): newest == "2", ("other", "1"): True}
    assert newest_versions(models) == expected
