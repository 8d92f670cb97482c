"""The store in both engines: what is kept of heartbeats, deployments and results, and reports of it."""

import json
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.manager import ManagerError, Place, Store, device_reports, open_store
from gateway.manager.api import DeviceDeployment, ModelDefinition, latest_values
from gateway.manager.errors import StoreUnavailable
from gateway.manager.reports import (
    PAGE,
    DeviceFilter,
    DeviceReport,
    count_devices,
    deployment_report,
    device_deployments,
    device_log,
    device_rows,
    fleet_reports,
)
from gateway.manager.store import FILE, Compaction, HeartbeatCall, HistoryLimits, Retention, Transaction, Turn
from gateway.manager.store.history import HELD
from gateway.manager.store.tables import METADATA
from tests.support.processes import line, running

OPENER = """
import pathlib, sys
from gateway.manager import Place, open_store
for line in sys.stdin:
    open_store(Place(pathlib.Path(line.strip())), create=True).close()
    print(line.strip(), flush=True)
"""
"""Creates a database in each folder of stdin, one a line. (multiprocessing would need /dev/shm.)"""
HEARTBEAT = {
    "AgentVersion": "1.0",
    "AgentMetrics": [{"Dimension": "system", "MetricName": "memory-free", "Value": 1.5, "Timestamp": 90.0}],
    "Models": [{"ModelName": "wake-word", "ModelVersion": "1.0", "LatestSampleTime": 90.0, "LatestInference": 90.0}],
}
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def record(store: Store, now: float = 100.0, *, device: str = "d", fleet: str = "f", **members: object) -> None:
    """One heartbeat."""
    values = latest_values({"AgentVersion": "1.0", **members}, now)
    store.record([HeartbeatCall(fleet, device, values, now)], lambda *_: set())


def live(state: float, seconds: float, at: float) -> list[dict[str, object]]:
    pairs = (("state", state), ("seconds", seconds))
    return [{"Dimension": "liveness", "MetricName": name, "Value": value, "Timestamp": at} for name, value in pairs]


def register(store: Store, *devices: str, fleet: str = "f") -> int:
    """The id of the last one."""
    names = devices or ("d",)
    store.write(lambda transaction: transaction.register(fleet, names, 1.0))
    device_id = store.read(lambda transaction: transaction.device_id(fleet, names[-1]))
    assert device_id is not None
    return device_id


def deregister(store: Store) -> bool:
    return store.write(lambda transaction: transaction.deregister("f", "d"))


def devices(store: Store, fleet: str | None = None) -> list[tuple[str, str, float]]:
    return store.read(lambda transaction: transaction.devices(fleet))


def in_force(store: Store, device: int) -> list[DeviceDeployment]:
    return store.read(lambda transaction: transaction.deployments_in_force([device]))[device]


def only_report(store: Store) -> DeviceReport:
    (report,) = device_reports(store, 100.0)
    return report


def make(name: str, *handles: str, state: str = "DEPLOY") -> DeviceDeployment:
    return DeviceDeployment(name, "DO_NOTHING", tuple(ModelDefinition(handle, state) for handle in handles), 5.0)


def assign(store: Store, deployment: DeviceDeployment, *device_ids: int) -> dict[int, list[str]]:
    def work(transaction: Transaction) -> dict[int, list[str]]:
        return transaction.assign(dict.fromkeys(device_ids, deployment), transaction.deployments_in_force(device_ids))

    return store.write(work)


def test_registering_twice_changes_nothing(store):
    assert store.write(lambda transaction: transaction.register("f", ["d"], 1.0)) == {"d"}
    assert store.write(lambda transaction: transaction.register("f", ["d", "e"], 2.0)) == {"e"}
    assert devices(store) == [("f", "d", 1.0), ("f", "e", 2.0)]


def test_devices_of_one_name_in_two_fleets_are_two(store):
    assert register(store, fleet="f") != register(store, fleet="g")
    assert devices(store, "g") == [("g", "d", 1.0)]


def test_nothing_is_left_of_a_deregistered_device(store):
    device = register(store)
    assign(store, make("one", "a"), device)
    record(store, DeploymentResult={"DeploymentName": "one"}, AgentMetrics=[{"Value": 1}], Models=[{}])
    assert deregister(store)
    assert not deregister(store)

    def left(transaction):
        return {
            table.name
            for table in METADATA.sorted_tables
            if transaction.connection.scalar(sa.select(sa.func.count()).select_from(table))
        }

    for task in (Compaction(store, Turn(), None), Retention(store, Turn(), HistoryLimits())):
        while task.step(1000.0 + HELD):
            pass
        store.write(lambda transaction: transaction.connection.execute(sa.text("DELETE FROM tasks")))
    assert store.read(left) <= {"fleets", "fleet_states", "metric_names"}
    assert fleet_reports(store) == []


def test_a_device_that_is_registered_later_is_a_new_one(store):
    before = register(store)
    deregister(store)
    assert register(store) != before


def test_state_before_the_first_heartbeat(store):
    register(store)
    report = only_report(store)
    assert (report["accepted"], report["newest"], report["agent_version"]) == (0, None, None)


def test_heartbeats_are_counted_and_the_newest_agent_version_is_kept(store):
    register(store)
    record(store, 100.0)
    record(store, 160.0, AgentVersion="2.0")
    report = only_report(store)
    assert (report["accepted"], report["newest"], report["agent_version"]) == (2, 160.0, "2.0")


@pytest.mark.parametrize(("at", "value"), [(9, 2.0), (5, 2.0), (4, 1.0)], ids=["newer", "same time", "backlog"])
def test_the_newest_sample_of_a_metric_is_kept(store, at, value):
    register(store)
    for sample, time in ((1.0, 5), (2.0, at)):
        record(
            store,
            AgentMetrics=[{"Dimension": "s", "MetricName": "heap", "Value": sample, "Timestamp": time}],
        )
    (metric,) = only_report(store)["metrics"]
    assert metric == {
        "model": "", "version": "", "dimension": "s", "name": "heap", "value": value, "at": max(5, at),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(5, 9, 9), (9, 5, 9), (None, 5, 5), (5, None, 5), (None, None, None)]
)
def test_the_latest_times_of_a_model_are_kept(store, first, second, kept):
    register(store)
    for time in (first, second):
        record(store, Models=[{"ModelName": "m", "LatestSampleTime": time, "LatestInference": time}])
    (model,) = only_report(store)["models"]
    assert (model["latest_sample"], model["latest_inference"]) == (kept, kept)


def test_a_result_is_stored_once_however_often_it_is_reported(store):
    register(store)
    for now in (100.0, 160.0, 220.0):
        record(store, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": "SUCCESS"})
    (result,) = only_report(store)["results"]
    assert result == {
        "deployment": "one",
        "result": {"DeploymentName": "one", "DeploymentStatus": "SUCCESS"},
        "received": 100.0,
        "told": 3,
    }


def test_a_result_that_differs_replaces_the_one_before(store):
    register(store)
    for now, verdict in ((100.0, "FAIL"), (160.0, "SUCCESS")):
        record(store, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": verdict})
    (result,) = only_report(store)["results"]
    assert (result["result"]["DeploymentStatus"], result["received"], result["told"]) == ("SUCCESS", 160.0, 2)


def test_results_of_two_deployments_are_two(store):
    register(store)
    for name in ("one", "two"):
        record(store, DeploymentResult={"DeploymentName": name})
    assert {result["deployment"] for result in only_report(store)["results"]} == {"one", "two"}


def test_deployments_are_superseded_handle_by_handle(store):
    device = register(store)
    for deployment in (make("one", "a", "b"), make("two", "a"), make("three", "c")):
        assign(store, deployment, device)
    assert in_force(store, device) == [make("one", "b"), make("two", "a"), make("three", "c")]
    assign(store, make("four", "b", "a"), device)
    assert in_force(store, device) == [make("three", "c"), make("four", "b", "a")]


def test_assigning_returns_what_is_superseded(store):
    device = register(store)
    assign(store, make("one", "a", "b"), device)
    assign(store, make("two", "c"), device)
    assert assign(store, make("three", "b", "c"), device) == {device: ["two"]}
    assert assign(store, make("four", "a"), device) == {device: ["one"]}
    known = store.read(lambda transaction: transaction.history([device]))
    assert [each.name for each in known[device]] == ["one", "two", "three", "four"]


def test_withdrawing_restores_what_was_in_force(store):
    device = register(store)
    for deployment in (make("one", "a"), make("two", "b"), make("three", "a", "b")):
        assign(store, deployment, device)
    assert store.write(lambda transaction: transaction.withdraw([device], "three", {})) == {device: ["one", "two"]}
    assert in_force(store, device) == [make("one", "a"), make("two", "b")]


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_device_is_found_without_reading_its_fleet(store):
    """Also while PostgreSQL has no statistics of its tables."""
    names = [f"d{number}" for number in range(2000)]
    store.write(lambda transaction: transaction.register("f", names, 1.0))
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'devices'"

    def rows(method):
        def work(transaction):
            before = transaction.connection.exec_driver_sql(read).scalar_one()
            assert len(getattr(transaction, method)([("f", name) for name in names[::100]])) == 20
            return transaction.connection.exec_driver_sql(read).scalar_one() - before

        return store.read(work)

    assert [rows("read_devices"), rows("read_plans")] == [20, 20]


def test_two_stores_of_one_place_see_each_other(store, place):
    with closing(open_store(place, create=False)) as other:
        register(other)
        record(store)
        assert only_report(other)["accepted"] == 1


def test_many_processes_may_create_it_at_once(tmp_path):
    """Without a lock of our own about one in ten attempts failed with "database is locked"."""
    with ExitStack() as ended:
        openers = [ended.enter_context(running([sys.executable, "-c", OPENER], **PIPES)) for _ in range(6)]
        for data in (tmp_path / str(number) for number in range(10)):
            for each in openers:
                print(data, file=each.stdin, flush=True)
            assert [line(each, "a folder") for each in openers] == [f"{data}\n"] * 6
            assert (data / FILE).is_file()


def test_a_call_of_a_device_that_is_not_registered_leaves_nothing(store):
    record(store, AgentMetrics=[{"Value": 1}])
    assert list(device_reports(store, 100.0)) == []


def test_a_directory_without_a_database_is_an_error(tmp_path):
    with pytest.raises(ManagerError, match="no Edge Manager data"):
        open_store(Place(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"not a database, but longer than its header is" * 10)
    with pytest.raises(ManagerError, match="not a database; put a copy in its place"):
        open_store(Place(tmp_path), create=False)


@pytest.mark.parametrize("instead", ["nothing", "an empty file", "an older copy"])
def test_a_file_that_is_away_for_a_moment_loses_nothing(tmp_path: Path, instead: str) -> None:
    """What new connections make of the path meanwhile leaves the write-ahead log of the open file alone."""
    file, aside = tmp_path / FILE, tmp_path / "aside"
    with closing(open_store(Place(tmp_path), create=True)) as store:
        copy = file.read_bytes()
        register(store)
        with store.engine.connect():  # the one of the pool: the next ones are new
            file.rename(aside)
            if instead != "nothing":
                file.write_bytes(copy if instead == "an older copy" else b"")
            for use in (store.check_reads, store.check_writes):
                with pytest.raises(StoreUnavailable, match="was deleted or replaced"):
                    use()
            aside.replace(file)
        record(store)
        with closing(open_store(Place(tmp_path), create=False, read_only=True)) as other:
            assert other.read(lambda transaction: transaction.device_id("f", "d")) is not None


def test_reports_come_page_by_page_in_the_order_of_names(store):
    """Both where a page ends within a fleet, and where it ends with one."""
    for fleet in ("b", "a", "empty", "c"):
        register(store, *(f"d{number:04}" for number in range(PAGE)), fleet=fleet)
    register(store, "last", fleet="b")
    store.write(lambda transaction: transaction.register("empty", [], 1.0))
    names = [(each["fleet"], each["device"]) for each in device_reports(store, 1.0)]
    assert len(names) == 4 * PAGE + 1
    assert names == sorted(names)
    assert [(each["fleet"], each["device"]) for each in device_rows(store)] == names
    assert len(list(device_reports(store, 1.0, "b"))) == PAGE + 1
    assert [each["device"] for each in device_reports(store, 1.0, "b", after=("b", "d0498"), limit=2)] == [
        "d0499",
        "last",
    ]
    assert [(each["fleet"], each["device"]) for each in device_reports(store, 1.0, after=("b", "d0499"), limit=2)] == [
        ("b", "last"),
        ("c", "d0000"),
    ]
    assert count_devices(store, 1.0) == 4 * PAGE + 1
    assert count_devices(store, 1.0, "b", after=("b", "d0498")) == 2
    assert count_devices(store, 1.0, after=("b", "d0499")) == 1 + 2 * PAGE


def test_devices_are_found_by_the_state_that_the_report_shows(store):
    """Also where the sweep has not stored yet that one fell silent."""
    register(store, "connected", "silent", "gone", "asleep", "never-heard", "not-announced")
    for device, state, seconds in (("connected", 1, 3600), ("silent", 1, 60), ("gone", 0, 60), ("asleep", 2, 3600)):
        record(store, device=device, AgentMetrics=live(state, seconds, 100.0))
    record(store, device="not-announced")
    shown = {each["device"]: each["liveness"]["state"] for each in device_reports(store, 500.0)}
    assert shown == {name: name.replace("-", " ") for name in shown}
    for device, state in shown.items():
        assert [each["device"] for each in device_reports(store, 500.0, which=DeviceFilter(state=state))] == [device]
        assert count_devices(store, 500.0, which=DeviceFilter(state=state)) == 1
    assert {each["device"] for each in device_reports(store, 110.0, which=DeviceFilter("connected"))} == {
        "connected",
        "silent",
    }


def test_deployments_are_listed_device_by_device(store):
    register(store, "one")
    two = register(store, "two")
    assign(store, make("first", "a", "b"), two)
    assign(store, make("second", "b"), two)
    one, other = device_deployments(store, "f")
    assert (one["device"], one["deployments"]) == ("one", [])
    assert other["deployments"] == [deployment_report(make("first", "a")), deployment_report(make("second", "b"))]


def test_a_fleets_report_counts_states_and_the_newest_version_of_each_model(store):
    register(store, "one", "two", "three")
    register(store, "other", fleet="g")
    models = {"one": (("1", 10), ("2", 20)), "two": (("2", 30), ("1", 40)), "three": (("2", None),)}
    for device, versions in models.items():
        for version, at in versions:
            model = {"ModelName": "kws", "ModelVersion": version, "LatestInference": at}
            record(store, device=device, Models=[model | {"LatestSampleTime": None}])
    assert fleet_reports(store) == [
        {
            "fleet": "f",
            "devices": 3,
            "states": {"not announced": 3},
            "failing": 0,
            "models": [{"name": "kws", "version": "1", "devices": 1}, {"name": "kws", "version": "2", "devices": 2}],
        },
        {"fleet": "g", "devices": 1, "states": {"never heard": 1}, "failing": 0, "models": []},
    ]
    assert [each["fleet"] for each in fleet_reports(store, "g")] == ["g"]


def test_the_log_of_a_device_has_its_newest_entries_in_order(store):
    device = register(store)
    register(store, "other")
    for now, status in ((100.0, "FAIL"), (160.0, "SUCCESS")):
        record(store, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": status})
        record(store, now, device="other")
    entries = [(each["at"], each["kind"], each["detail"]) for each in device_log(store, device, 10)]
    results = [{"DeploymentName": "one", "DeploymentStatus": status} for status in ("FAIL", "SUCCESS")]
    assert entries == [
        (100.0, "state", {"after": "not announced", "before": "never heard"}),
        (100.0, "result", results[0]),
        (160.0, "result", results[1]),
    ]
    assert [each["detail"] for each in device_log(store, device, 1)] == results[1:]


def test_whatever_a_device_reports_can_be_written_as_json(store):
    register(store)
    record(store, AgentMetrics=[{"MetricName": "caf\u00e9 \u2603", "Value": 0.1}])
    assert json.loads(json.dumps(only_report(store)))["metrics"][0]["value"] == 0.1


def test_a_group_of_heartbeats_takes_one_statement_for_each_kind_of_rows(tmp_path):
    """In SQLite by one connection: each statement costs a small group as much as a call does."""
    with closing(open_store(Place(tmp_path), create=True)) as store:
        names = [f"d{number}" for number in range(20)]
        register(store, *names)
        group = [HeartbeatCall("f", name, latest_values(HEARTBEAT, 100.0), 100.0) for name in names]
        store.record(group, lambda *_: set())
        seen: list[str] = []
        store.write(
            lambda transaction: transaction.connection.connection.driver_connection.set_trace_callback(seen.append)
        )
        seen.clear()
        store.record([replace(each, now=160.0) for each in group], lambda *_: set())
        words = [statement.split(" (")[0].split("(")[0].strip() for statement in seen]
        assert words == [
            "BEGIN IMMEDIATE",
            "SELECT json_group_array",
            "INSERT INTO device_states",
            "INSERT INTO recent_samples",
            "COMMIT",
        ]
