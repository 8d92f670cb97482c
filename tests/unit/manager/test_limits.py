"""What is deleted of a device is told once in a while, with all that was deleted since."""

import pytest

from gateway.manager.store import limits
from gateway.manager.store.limits import METRICS, MODELS, REPORT_INTERVAL, Deletions


def test_it_is_told_once_and_then_with_all_that_came_meanwhile():
    deletions = Deletions()
    assert deletions.add(1, METRICS, 5, 100.0) == 5
    assert [deletions.add(1, METRICS, 2, 100.0 + each) for each in (0, 1, REPORT_INTERVAL - 1)] == [0, 0, 0]
    assert deletions.add(1, METRICS, 1, 100.0 + REPORT_INTERVAL) == 7


def test_each_device_and_each_limit_is_told():
    deletions = Deletions()
    assert [deletions.add(device, limit, 1, 1.0) for device in (1, 2) for limit in (METRICS, MODELS)] == [1] * 4


def test_a_clock_that_was_set_back_hides_nothing():
    deletions = Deletions()
    deletions.add(1, METRICS, 5, 1000.0)
    assert deletions.add(1, METRICS, 5, 10.0) == 5


def test_what_is_known_has_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MOST_TOLD", 2)
    deletions = Deletions()
    assert [deletions.add(device, METRICS, 1, 1.0) for device in (1, 2, 3, 1)] == [1] * 4
