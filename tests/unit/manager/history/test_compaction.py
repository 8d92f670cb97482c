"""Rows of recent samples become parts of spans and hours of fleets."""

from gateway.manager.history import (
    HOUR,
    SPAN,
    Aggregate,
    HourKey,
    SpanKey,
    compact,
    decode,
    gather,
    hour_totals,
    pack_samples,
)

START = 20_700 * 24 * HOUR


def row(device, *samples, fleet=1):
    return device, pack_samples(samples), fleet


def test_rows_are_gathered_by_device_metric_and_span():
    batch = gather(
        [
            row(7, (2, START + SPAN, 3.0), (1, START + 5, 1.0)),
            row(8, (1, START, 9.0), fleet=2),
            row(7, (1, START + 2, 2.0), (1, START - 1, 4.0)),
        ]
    )
    assert batch.points == {
        SpanKey(7, 1, START - SPAN): [(START - 1, 4.0)],
        SpanKey(7, 1, START): [(START + 2, 2.0), (START + 5, 1.0)],
        SpanKey(7, 2, START + SPAN): [(START + SPAN, 3.0)],
        SpanKey(8, 1, START): [(START, 9.0)],
    }
    assert batch.fleets == {7: 1, 8: 2}


def test_what_is_new_is_written_and_counted_by_hour():
    rows = [
        row(7, (1, START, 1.0), (1, START + HOUR, 5.0)),
        row(8, (1, START + 1, 3.0)),
        row(9, (1, START + 1, 4.0), fleet=2),
    ]
    compacted = compact(gather(rows), {})
    assert compacted.samples == 4
    assert {key: [decode(part.blob) for part in parts] for key, parts in compacted.parts.items()} == {
        SpanKey(7, 1, START): [[(START, 1.0), (START + HOUR, 5.0)]],
        SpanKey(8, 1, START): [[(START + 1, 3.0)]],
        SpanKey(9, 1, START): [[(START + 1, 4.0)]],
    }
    assert compacted.hours == {
        HourKey(1, 1, START): Aggregate(2, 1.0, 3.0, 4.0),
        HourKey(1, 1, START + HOUR): Aggregate(1, 5.0, 5.0, 5.0),
        HourKey(2, 1, START): Aggregate(1, 4.0, 4.0, 4.0),
    }


def test_a_redelivery_changes_nothing():
    rows = [row(7, (1, START, 1.0), (2, START, 5.0)), row(7, (1, START, 1.0))]
    parts = compact(gather(rows), {}).parts
    again = compact(gather(rows), parts)
    assert (again.parts, again.hours, again.samples) == ({}, {}, 0)
    more = compact(gather([*rows, row(7, (1, START + 1, 2.0))]), parts)
    assert more.hours == {HourKey(1, 1, START): Aggregate(1, 2.0, 2.0, 2.0)}
    assert more.samples == 1


def test_no_rows_are_nothing():
    assert compact(gather([]), {}).samples == 0


def test_samples_of_one_hour_or_several_are_counted_by_metric_and_hour():
    young = [(1, START, 1.0), (2, START + 1, 8.0), (1, START + HOUR - 1, 3.0)]
    of_hour = {(1, START): Aggregate(2, 1.0, 3.0, 4.0), (2, START): Aggregate(1, 8.0, 8.0, 8.0)}
    assert hour_totals(pack_samples(young)) == of_hour
    late = {(1, START - HOUR): Aggregate(1, 5.0, 5.0, 5.0)}
    assert hour_totals(pack_samples([*young, (1, START - 1, 5.0)])) == of_hour | late
