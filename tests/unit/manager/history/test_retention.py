"""What stays of the history."""

import pytest

from gateway.manager.history import DAY, HOUR, SPAN, Kept, kept

TODAY = 20_700
NOW = TODAY * DAY + 7 * HOUR
MONTH = [(TODAY - ago, 10) for ago in range(30)]


def day(ago):
    return (TODAY - ago) * DAY


def test_without_limits_all_stays():
    assert kept(NOW, None, None, MONTH) == Kept()
    assert kept(NOW, None, 300, MONTH) == Kept()


def test_each_sample_of_the_last_days_stays():
    first = kept(NOW, 2, None, []).first
    assert first == day(2) + SPAN
    assert first <= NOW - 2 * DAY < first + SPAN


@pytest.mark.parametrize(
    ("size", "first"), [(299, day(28)), (290, day(28)), (289, day(27)), (25, day(1)), (10, day(0))]
)
def test_the_oldest_days_go_where_bytes_are_too_many(size, first):
    assert kept(NOW, None, size, MONTH) == Kept(first=first)


def test_the_stricter_limit_counts():
    assert kept(NOW, 3, 1000, MONTH).first == day(3) + SPAN
    assert kept(NOW, 3, 35, MONTH).first == day(2)
    assert kept(NOW, 3, 40, MONTH).first == day(3) + SPAN


def test_today_and_tomorrow_stay_whatever_they_take():
    assert kept(NOW, None, 5, [(TODAY + 1, 10), *MONTH]) == Kept(first=day(0))
    assert kept(NOW, None, 5, [(TODAY, 10)]) == Kept()


def test_days_that_no_clock_has_yet_go_first_the_furthest_before_the_others():
    ahead = [(TODAY + 400, 10), (TODAY + 2, 10), (TODAY + 300, 10)]
    assert kept(NOW, None, 330, [*MONTH, *ahead]) == Kept()
    assert kept(NOW, None, 329, [*MONTH, *ahead]) == Kept(end=day(-400))
    assert kept(NOW, None, 315, [*MONTH, *ahead]) == Kept(end=day(-300))
    assert kept(NOW, None, 300, [*MONTH, *ahead]) == Kept(end=day(-2))
    assert kept(NOW, None, 295, [*MONTH, *ahead]) == Kept(day(28), day(-2))
