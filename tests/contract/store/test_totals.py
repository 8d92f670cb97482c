"""What is told of a whole database, on each engine: devices, rollouts and models by fleet, and what is stored."""

import json
import time

import sqlalchemy as sa

from gateway.manager.api import ModelDefinition
from gateway.manager.history import DAY
from gateway.manager.operations import EdgeApi
from gateway.manager.reports import DeviceFilter, count_devices, device_reports, device_rows
from gateway.manager.rollouts import NewRollout, RolloutRunner
from gateway.manager.store import Store
from gateway.manager.store.history import ROW, Usage
from gateway.manager.store.paging import FEW
from gateway.manager.store.tables import HISTORY_DAYS
from gateway.manager.store.totals import FLEETS_SHOWN, MODELS_SHOWN, OTHER, Totals, read_totals


def totals(store: Store) -> Totals:
    return store.read(read_totals)


def register(store: Store, fleet: str, *devices: str) -> None:
    store.write(lambda transaction: transaction.register(fleet, devices, 1.0))


def heartbeat(store: Store, fleet: str, device: str, now: float, **members: object) -> None:
    body = {"DeviceFleetName": fleet, "DeviceName": device, "AgentVersion": "1"} | members
    EdgeApi(store).handle("SendHeartbeat", json.dumps(body).encode(), now)


def model(name: str, version: str, at: float) -> dict[str, object]:
    return {"ModelName": name, "ModelVersion": version, "LatestSampleTime": at}


def test_an_empty_database(store: Store) -> None:
    found = totals(store)
    assert found == Totals({}, {}, {}, Usage(), 0, 0.0, found.database_bytes)
    assert found.database_bytes > 10_000


def test_devices_by_fleet_and_state(store: Store) -> None:
    register(store, "a", "one", "two")
    register(store, "b", "one")
    register(store, "gone", "one")
    heartbeat(store, "a", "one", 100.0)
    store.write(lambda transaction: transaction.deregister("gone", "one"))
    shown = {key: count for key, count in totals(store).devices.items() if count}
    assert shown == {("a", "never heard"): 1, ("a", "not announced"): 1, ("b", "never heard"): 1}


def test_fleets_beyond_a_number_are_one(store: Store) -> None:
    """The largest keep their names."""
    for number in range(FLEETS_SHOWN - 1):
        register(store, f"small-{number}", "one")
    register(store, "large", "one", "two")
    found = totals(store).devices
    assert len(found) == FLEETS_SHOWN
    assert (OTHER, "never heard") not in found
    register(store, "x", "one")
    register(store, "y", "one")
    found = totals(store).devices
    assert found["large", "never heard"] == 2
    assert found[OTHER, "never heard"] == 2
    assert len(found) == FLEETS_SHOWN + 1


def test_rollouts_by_fleet_and_state(store: Store) -> None:
    for fleet in ("a", "b"):
        register(store, fleet, "one")
    runner = RolloutRunner(store)
    for name, fleet in (("first", "a"), ("second", "a"), ("third", "b")):
        definitions = (ModelDefinition(name, url="s3://m/x"),)
        number = store.read(lambda transaction: transaction.device_ids(fleet))["one"]  # noqa: B023
        runner.start(NewRollout(fleet, name, name, "DO_NOTHING", definitions), lambda _: [number], 1.0)  # noqa: B023
    assert sum(totals(store).rollouts.values()) == 3
    assert {fleet for fleet, _ in totals(store).rollouts} == {"a", "b"}


def test_a_device_counts_for_the_version_that_it_runs(store: Store) -> None:
    register(store, "a", "one", "two")
    heartbeat(store, "a", "one", 100.0, Models=[model("keyword", "1.0", 90.0), model("presence", "7", 90.0)])
    heartbeat(store, "a", "two", 100.0, Models=[model("keyword", "1.0", 90.0)])
    heartbeat(store, "a", "two", 200.0, Models=[model("keyword", "2.0", 190.0)])
    expected = {("a", "keyword", "1.0"): 1, ("a", "keyword", "2.0"): 1, ("a", "presence", "7"): 1}
    assert totals(store).models == expected
    store.write(lambda transaction: transaction.deregister("a", "one"))
    assert totals(store).models == {("a", "keyword", "2.0"): 1}, "a version that no device runs is gone"


def test_versions_beyond_a_number_are_left_out(store: Store) -> None:
    devices = [f"d{number}" for number in range(MODELS_SHOWN + 2)]
    register(store, "a", *devices)
    for number, device in enumerate(devices):
        heartbeat(store, "a", device, 100.0, Models=[model("keyword", str(max(number, 2)), 90.0)])
    found = totals(store).models
    assert len(found) == MODELS_SHOWN
    assert next(iter(found.items())) == (("a", "keyword", "2"), 3)


def test_the_history(store: Store) -> None:
    register(store, "a", "one", "two")
    now = time.time()
    for age, device in ((3600.0, "one"), (60.0, "two"), (30.0, "one")):
        sample = {"Dimension": "room", "MetricName": "temp", "Value": 1.5, "Timestamp": now - age}
        heartbeat(store, "a", device, now, AgentMetrics=[sample])
    rows = [{"day": day * DAY, "chunks": 2, "samples": 30, "bytes": 400} for day in (1, 2)]
    store.write(lambda transaction: transaction.connection.execute(sa.insert(HISTORY_DAYS), rows))
    found = totals(store)
    assert (found.history, found.recent_rows) == (Usage(4, 60, 800), 3)
    assert found.history.size == 800 + 4 * ROW, "what a row takes beside its samples counts too"
    assert 30 <= found.lag < 60 + time.time() - now, "a backlog's age is not the time that it waits"


def test_pages_of_devices_and_how_many_follow(store: Store) -> None:
    """A fleet that is larger than a page, between small ones of which one is empty."""
    fleets = {"a": 1, "b": 2, "empty": 1, "large": FEW + 3, "m": 1, "n": 1}
    for fleet, devices in fleets.items():
        register(store, fleet, *(f"d{number:04d}" for number in range(devices)))
    store.write(lambda transaction: transaction.deregister("empty", "d0000"))
    names = [(each["fleet"], each["device"]) for each in device_rows(store)]
    expected = [(fleet, f"d{number:04d}") for fleet, devices in fleets.items() for number in range(devices)]
    assert names == [each for each in expected if each[0] != "empty"]
    for place in (0, 1, 2, 3, FEW, len(names) - 3, len(names) - 1):
        fleet = names[place][0]
        shown = device_reports(store, 1.0, after=names[place], limit=4)
        assert [(each["fleet"], each["device"]) for each in shown] == names[place + 1 : place + 5]
        assert count_devices(store, 1.0, after=names[place]) == len(names) - place - 1
        rest = [each for each in names[place + 1 :] if each[0] == fleet]
        assert count_devices(store, 1.0, fleet, after=names[place]) == len(rest)
        assert count_devices(store, 1.0, fleet, after=names[place], which=DeviceFilter("never heard")) == len(rest)
