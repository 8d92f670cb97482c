"""Count, least, greatest and sum."""

import pytest

from gateway.manager.history import Aggregate, aggregate, by_period, combined

HUGE = 1.7e308


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], Aggregate(1, 3.0, 3.0, 3.0)),
        ([3.0, -1.0, 2.0], Aggregate(3, -1.0, 3.0, 4.0)),
        ([HUGE, HUGE, -HUGE], Aggregate(3, -HUGE, HUGE, None)),
        ([-HUGE, -HUGE], Aggregate(2, -HUGE, -HUGE, None)),
    ],
)
def test_an_aggregate(values, expected):
    assert aggregate(list(enumerate(values))) == expected


def test_two_are_combined():
    assert combined(Aggregate(2, 1.0, 3.0, 4.0), Aggregate(1, -5.0, -5.0, -5.0)) == Aggregate(3, -5.0, 3.0, -1.0)


@pytest.mark.parametrize("other", [Aggregate(1, HUGE, HUGE, HUGE), Aggregate(2, 0.0, HUGE, None)])
def test_a_sum_that_is_not_known_stays_so(other):
    one = Aggregate(1, HUGE, HUGE, HUGE)
    both = combined(one, other)
    assert both.sum is None
    assert both.mean() is None
    assert combined(Aggregate(1, 0.0, 0.0, 0.0), both).sum is None


def test_a_mean_is_between_least_and_greatest():
    assert aggregate([(at, 0.1) for at in range(3)]).mean() == 0.1  # 0.1 + 0.1 + 0.1 is more than 0.3
    assert Aggregate(2, 1.0, 4.0, 5.0).mean() == 2.5


def test_points_are_divided_into_the_periods_that_have_some():
    points = [(-11, 1.0), (-10, 2.0), (-1, 3.0), (0, -1e308), (9, 4.0), (30, 5.0)]
    assert list(by_period(points, 10)) == [
        (-20, [(-11, 1.0)]),
        (-10, [(-10, 2.0), (-1, 3.0)]),
        (0, [(0, -1e308), (9, 4.0)]),
        (30, [(30, 5.0)]),
    ]
    assert list(by_period([], 10)) == []
