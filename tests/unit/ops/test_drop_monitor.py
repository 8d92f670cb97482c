"""What the broker says that it dropped becomes a metric and a log line: so many since when."""

import pytest
from structlog.testing import capture_logs

from gateway.ops.drop_monitor import DropMonitor
from gateway.ops.metrics import Metrics

NAME = "edge_gateway_broker_messages_dropped_total"


@pytest.mark.parametrize(
    ("totals", "logged"),
    [
        ((0,), []),
        ((7, 7), []),
        ((7, 12, 12, 13), [(5, "1970-01-01T00:00:00+00:00"), (1, "1970-01-01T00:00:20+00:00")]),
        ((7, 0), []),
        ((7, 3, 4), [(3, "1970-01-01T00:00:00+00:00"), (1, "1970-01-01T00:00:10+00:00")]),
    ],
)
def test_each_rise_is_logged_and_counted(totals: tuple[int, ...], logged: list[tuple[int, str]]) -> None:
    """What was dropped before the first total is not known to be new. A broker that starts again counts from 0."""
    metrics = Metrics()
    monitor = DropMonitor(metrics)
    with capture_logs() as log:
        for index, total in enumerate(totals):
            monitor.on_total(total, index * 10.0)
    assert [(line["dropped"], line["since"]) for line in log] == logged
    assert f"{NAME} {float(sum(dropped for dropped, _ in logged))}" in metrics.render().decode()


def test_nothing_is_said_where_the_broker_says_nothing() -> None:
    assert f"\n{NAME} " not in Metrics().render().decode()
