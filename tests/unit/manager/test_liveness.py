"""Whether a device is there: what it or its broker announced, and what follows from its silence."""

import pytest
import sqlalchemy as sa

from gateway.manager import Store
from gateway.manager.api import Announced, Liveness, State, judge, latest_values, to_us
from gateway.manager.reports import device_reports
from gateway.manager.store import HeartbeatCall
from gateway.manager.store.silence import expected_until
from gateway.manager.store.tables import DEVICE_STATES, DEVICES

HOUR = 3600.0


def metric(name: str, value: float, at: float, dimension: str = "liveness") -> dict[str, object]:
    return {"Dimension": dimension, "MetricName": name, "Value": value, "Timestamp": at}


def live(state: float, seconds: float | None = None, at: float = 100.0) -> list[dict[str, object]]:
    """The metrics that a `live` becomes."""
    return [metric("state", state, at), *([] if seconds is None else [metric("seconds", seconds, at)])]


def record(store: Store, metrics: list[dict[str, object]], now: float, version: str = "1.0") -> None:
    call = {"AgentVersion": version, "AgentMetrics": metrics}
    store.record([HeartbeatCall("f", "d", latest_values(call, now), now)], lambda *_: set())


@pytest.fixture
def known(store: Store) -> Store:
    store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
    return store


def liveness(store: Store, now: float) -> tuple[object, object, object]:
    """(state, since, until)."""
    [report] = device_reports(store, now)
    shown = report["liveness"]
    return shown["state"], shown["since"], shown["until"]


@pytest.mark.parametrize(
    ("announced", "newest", "now", "expected"),
    [
        (None, None, 9.0, Liveness("never heard")),
        (None, 5.0, 9e9, Liveness("not announced")),
        (Announced(State.CONNECTED, 60.0, 100.0), None, 220.0, Liveness("connected", seconds=60.0)),
        (Announced(State.CONNECTED, 60.0, 100.0), None, 220.1, Liveness("silent", since=100.0, seconds=60.0)),
        (Announced(State.CONNECTED, 60.0, 100.0), 200.0, 320.0, Liveness("connected", seconds=60.0)),
        (Announced(State.CONNECTED, 60.0, 100.0), 200.0, 320.1, Liveness("silent", since=200.0, seconds=60.0)),
        (Announced(State.CONNECTED, None, 100.0), 200.0, 9e9, Liveness("connected")),
        (Announced(State.ASLEEP, HOUR, 100.0), 99.0, 4060.0, Liveness("asleep", 100.0, 3700.0, HOUR)),
        (Announced(State.ASLEEP, HOUR, 100.0), 99.0, 4060.1, Liveness("silent", since=100.0, seconds=HOUR)),
        (Announced(State.ASLEEP, None, 100.0), 99.0, 9e9, Liveness("asleep", since=100.0)),
        (Announced(State.GONE, 60.0, 100.0), 99.0, 101.0, Liveness("gone", since=100.0, seconds=60.0)),
        (Announced(State.GONE, 60.0, 100.0), 99.0, 9e9, Liveness("gone", since=100.0, seconds=60.0)),
    ],
)
def test_silence_is_judged_by_what_was_announced(
    announced: Announced | None, newest: float | None, now: float, expected: Liveness
) -> None:
    """A tenth of the seconds too late, and a minute at least, is not silence."""
    assert judge(announced, newest, now) == expected


def test_it_is_no_heartbeat_and_no_metric_of_the_device(known: Store) -> None:
    record(known, [metric("free-heap", 7, 50.0, "sys")], 50.0, "2.0")
    record(known, live(1, 60), 100.0, "unknown")
    [report] = device_reports(known, 110.0)
    assert (report["agent_version"], report["accepted"], report["newest"]) == ("2.0", 1, 50.0)
    assert [each["name"] for each in report["metrics"]] == ["free-heap"]
    assert report["liveness"] == {"state": "connected", "since": None, "until": None, "seconds": 60.0}


def test_of_a_device_that_only_announced_itself_no_heartbeat_is_known(known: Store) -> None:
    record(known, live(0), 100.0)
    [report] = device_reports(known, 110.0)
    assert (report["newest"], report["agent_version"], liveness(known, 110.0)) == (None, None, ("gone", 100.0, None))


def test_any_later_heartbeat_means_connected(known: Store) -> None:
    record(known, live(1, 60), 100.0)
    record(known, live(0, at=130.0), 130.0)
    assert liveness(known, 140.0) == ("gone", 130.0, None)
    record(known, [], 130.0)  # even in the same second
    assert liveness(known, 140.0) == ("connected", None, None)
    record(known, live(2, HOUR, 150.0), 150.0)
    assert liveness(known, 160.0) == ("asleep", 150.0, 3750.0)
    record(known, [], 200.0)
    assert liveness(known, 210.0) == ("connected", None, None)


def test_a_will_that_comes_after_what_the_next_connection_said_is_overruled_by_its_heartbeat(known: Store) -> None:
    for metrics, now in ((live(1, 60, 100.0), 100.0), (live(0, at=101.0), 101.0), ([], 102.0)):
        record(known, metrics, now)
    assert liveness(known, 103.0) == ("connected", None, None)


def test_a_backlog_is_judged_by_its_dates_and_its_order(known: Store) -> None:
    """An outage: the heartbeat and the will that came after it are sent an hour later."""
    record(known, [metric("free-heap", 7, 100.0, "sys")], 3700.0)
    record(known, live(0, at=110.0), 3701.0)
    assert liveness(known, 3702.0) == ("gone", 110.0, None)


def test_what_is_older_than_what_is_known_comes_too_late(known: Store) -> None:
    record(known, live(1, 60, 200.0), 200.0)
    record(known, live(0, at=150.0), 201.0)
    assert liveness(known, 202.0) == ("connected", None, None)


def test_of_several_in_one_call_the_last_holds(known: Store) -> None:
    record(known, [*live(0, at=100.0), *live(1, 60, 100.0), *live(2, HOUR, 100.0)], 100.0)
    assert liveness(known, 101.0) == ("asleep", 100.0, 3700.0)


def test_what_was_announced_holds_until_something_else_is(known: Store) -> None:
    record(known, live(1, 60), 100.0)
    record(known, live(0, at=110.0), 110.0)
    record(known, live(1, at=120.0), 120.0)
    assert liveness(known, 300.0) == ("silent", 120.0, None)


@pytest.mark.parametrize(
    "metrics",
    [
        live(7, 60),
        live(0.5),
        live(-1),
        [metric("seconds", 60, 100.0)],
        [metric("state", 0, 100.0, "sys")],
    ],
)
def test_what_is_not_understood_changes_nothing(known: Store, metrics: list[dict[str, object]]) -> None:
    record(known, live(1, 60, 99.0), 99.0)
    record(known, metrics, 100.0)
    assert liveness(known, 101.0) == ("connected", None, None)


@pytest.mark.parametrize(("state", "seconds", "at"), [(2, 1e300, 100.0), (2, -5, 100.0), (2, 0, 2.5e11)])
def test_whatever_numbers_come_can_be_shown(known: Store, state: int, seconds: float, at: float) -> None:
    record(known, live(state, seconds, at), 100.0)
    assert liveness(known, 101.0) == ("asleep", 100.0, None)


def test_with_metrics_of_its_own_it_is_a_heartbeat_too(known: Store) -> None:
    """As a client writes it that calls the API itself."""
    record(known, [metric("free-heap", 7, 100.0, "sys"), *live(2, HOUR)], 100.0)
    [report] = device_reports(known, 110.0)
    assert (report["accepted"], len(report["metrics"]), liveness(known, 110.0)[0]) == (1, 1, "asleep")


def test_nothing_is_left_of_a_deregistered_device(known: Store) -> None:
    record(known, live(0), 100.0)
    known.write(lambda transaction: transaction.deregister("f", "d"))
    known.write(lambda transaction: transaction.register("f", ["d"], 2.0))
    assert liveness(known, 110.0) == ("never heard", None, None)


@pytest.mark.parametrize("heard", [None, 50.0, 150.0])
@pytest.mark.parametrize("said", [None, (0, 90), (0, None), (1, 90), (1, 7200), (1, None), (2, 7200), (2, None)])
def test_the_database_knows_until_when_a_device_is_expected(
    known: Store, said: tuple[int, int | None] | None, heard: float | None
) -> None:
    """As `due` does; else when it was last heard, or registered."""
    if heard is not None and heard < 100.0:
        record(known, [], heard)
    if said is not None:
        record(known, live(*said), 100.0)
    if heard is not None and heard > 100.0:
        record(known, [], heard)
    stored = known.read(lambda transaction: transaction.read_devices([("f", "d")]))[("f", "d")].state
    select = sa.select(expected_until()).join_from(DEVICE_STATES, DEVICES, DEVICES.c.id == DEVICE_STATES.c.device)
    found = known.read(lambda transaction: transaction.connection.scalar(select))
    sleeps = stored.holds is not None and stored.holds.state is State.ASLEEP
    last = [each for each in (None if sleeps else stored.newest, stored.announced and stored.announced.at) if each]
    assert found == to_us(stored.due or max(last, default=1.0))
