"""The drawing of a metric: where its points are, and what has no sample."""

import pytest

from gateway.manager.console.charts import HEIGHT, WIDTH, chart_of


def bucket(start, low, mean, high):
    return {"start": start, "count": 2, "min": low, "mean": mean, "max": high}


def points(text):
    return [tuple(map(float, each.split(","))) for each in text.split()]


def test_the_area_is_from_the_least_to_the_greatest_and_the_line_is_the_mean():
    chart = chart_of([bucket(0.0, 0.0, 5.0, 10.0), bucket(10.0, 2.0, 4.0, 6.0)], 10.0, 0.0, 20.0)
    assert (chart.low, chart.high) == (0.0, 10.0)
    [area], [line] = chart.areas, chart.lines
    assert points(line) == [(WIDTH / 4, HEIGHT / 2), (WIDTH * 3 / 4, HEIGHT * 0.6)]
    assert points(area) == [
        (WIDTH / 4, 0.0),
        (WIDTH * 3 / 4, HEIGHT * 0.4),
        (WIDTH * 3 / 4, HEIGHT * 0.8),
        (WIDTH / 4, HEIGHT),
    ]


def test_a_time_without_samples_is_a_gap_and_one_bucket_is_seen():
    chart = chart_of([bucket(0.0, 1.0, 1.0, 1.0), bucket(50.0, 1.0, 1.0, 1.0)], 10.0, 0.0, 60.0)
    first, second = map(points, chart.lines)
    assert [x for x, _ in first] == [25.0, 75.0]
    assert [x for x, _ in second] == [525.0, 575.0]
    assert {y for _, y in first + second} == {HEIGHT / 2}


def test_values_that_cannot_be_added_are_drawn():
    chart = chart_of([bucket(0.0, -1.7e308, None, 1.7e308)], 10.0, 0.0, 10.0)
    assert {y for _, y in points(chart.lines[0])} == {HEIGHT / 2}
    assert {y for _, y in points(chart.areas[0])} == {0.0, HEIGHT}


@pytest.mark.parametrize("at", [-30.0, 100.0])
def test_nothing_is_drawn_outside(at):
    chart = chart_of([bucket(at, 1.0, 2.0, 3.0)], 10.0, 0.0, 60.0)
    assert all(0 <= x <= WIDTH for x, _ in points(chart.areas[0]))


def test_without_samples_there_is_no_chart():
    assert chart_of([], 10.0, 0.0, 60.0) is None
