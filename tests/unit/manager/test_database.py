"""The database: what is stored of heartbeats, deployments and results, with a second process and after reopening."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.manager import Database, ManagerError, device_reports, open_database
from gateway.manager.api import DeviceDeployment, ModelDefinition, latest_values
from gateway.manager.reports import DeviceReport
from gateway.manager.store import FILE
from tests.support.processes import line, running

OPENER = """
import pathlib, sys
from gateway.manager import open_database
for line in sys.stdin:
    open_database(pathlib.Path(line.strip()), create=True).close()
    print(line.strip(), flush=True)
"""
"""Creates a database in each folder of stdin, one a line. (multiprocessing would need /dev/shm.)"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def record(database: Database, device_id: int, now: float = 100.0, **members: object) -> None:
    """One heartbeat."""
    database.record_heartbeat(device_id, latest_values({"AgentVersion": "1.0", **members}, now), now)


def register(database: Database, device: str = "d", fleet: str = "f") -> int:
    database.register(fleet, device, 1.0)
    device_id = database.device_id(fleet, device)
    assert device_id is not None
    return device_id


def only_report(database: Database) -> DeviceReport:
    (report,) = device_reports(database, 100.0)
    return report


def make(name: str, *handles: str, state: str = "DEPLOY") -> DeviceDeployment:
    return DeviceDeployment(name, "DO_NOTHING", tuple(ModelDefinition(handle, state) for handle in handles), 5.0)


def assign(database: Database, deployment: DeviceDeployment, *device_ids: int) -> None:
    with database.transaction():
        for device_id in device_ids:
            database.assign(device_id, deployment)


def test_registering_twice_changes_nothing(database):
    assert database.register("f", "d", 1.0)
    assert not database.register("f", "d", 2.0)
    assert database.devices() == [("f", "d", 1.0)]


def test_devices_of_one_name_in_two_fleets_are_two(database):
    assert register(database, fleet="f") != register(database, fleet="g")
    assert database.devices("g") == [("g", "d", 1.0)]


def test_nothing_is_left_of_a_deregistered_device(database):
    device = register(database)
    assign(database, make("one", "a"), device)
    record(database, device, DeploymentResult={"DeploymentName": "one"}, AgentMetrics=[{"Value": 1}], Models=[{}])
    assert database.deregister("f", "d")
    assert not database.deregister("f", "d")
    for table in ("devices", "deployments", "heartbeats", "metrics", "models", "results", "rollout_devices"):
        assert database.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_a_device_that_is_registered_later_is_a_new_one(database):
    before = register(database)
    database.deregister("f", "d")
    assert register(database) != before


def test_state_before_the_first_heartbeat(database):
    register(database)
    report = only_report(database)
    assert (report["accepted"], report["newest"], report["agent_version"]) == (0, None, None)


def test_heartbeats_are_counted_and_the_newest_agent_version_is_kept(database):
    device = register(database)
    record(database, device, 100.0)
    record(database, device, 160.0, AgentVersion="2.0")
    report = only_report(database)
    assert (report["accepted"], report["newest"], report["agent_version"]) == (2, 160.0, "2.0")


@pytest.mark.parametrize(("at", "value"), [(9, 2.0), (5, 2.0), (4, 1.0)], ids=["newer", "same time", "backlog"])
def test_the_newest_sample_of_a_metric_is_kept(database, at, value):
    device = register(database)
    for sample, time in ((1.0, 5), (2.0, at)):
        record(
            database,
            device,
            AgentMetrics=[{"Dimension": "s", "MetricName": "heap", "Value": sample, "Timestamp": time}],
        )
    (metric,) = only_report(database)["metrics"]
    assert metric == {
        "model": "", "version": "", "dimension": "s", "name": "heap", "value": value, "at": max(5, at),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(5, 9, 9), (9, 5, 9), (None, 5, 5), (5, None, 5), (None, None, None)]
)
def test_the_latest_times_of_a_model_are_kept(database, first, second, kept):
    device = register(database)
    for time in (first, second):
        record(database, device, Models=[{"ModelName": "m", "LatestSampleTime": time, "LatestInference": time}])
    (model,) = only_report(database)["models"]
    assert (model["latest_sample"], model["latest_inference"]) == (kept, kept)


def test_a_result_is_stored_once_however_often_it_is_reported(database):
    device = register(database)
    for now in (100.0, 160.0, 220.0):
        record(database, device, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": "SUCCESS"})
    (result,) = only_report(database)["results"]
    assert result == {
        "deployment": "one",
        "result": {"DeploymentName": "one", "DeploymentStatus": "SUCCESS"},
        "received": 100.0,
        "told": 3,
    }


def test_a_result_that_differs_replaces_the_one_before(database):
    device = register(database)
    for now, verdict in ((100.0, "FAIL"), (160.0, "SUCCESS")):
        record(database, device, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": verdict})
    (result,) = only_report(database)["results"]
    assert (result["result"]["DeploymentStatus"], result["received"], result["told"]) == ("SUCCESS", 160.0, 2)


def test_results_of_two_deployments_are_two(database):
    device = register(database)
    for name in ("one", "two"):
        record(database, device, DeploymentResult={"DeploymentName": name})
    assert {result["deployment"] for result in only_report(database)["results"]} == {"one", "two"}


def test_deployments_are_superseded_handle_by_handle(database):
    device = register(database)
    for deployment in (make("one", "a", "b"), make("two", "a"), make("three", "c")):
        assign(database, deployment, device)
    assert database.deployments_in_force(device) == [make("one", "b"), make("two", "a"), make("three", "c")]
    assign(database, make("four", "b", "a"), device)
    assert database.deployments_in_force(device) == [make("three", "c"), make("four", "b", "a")]
    count = database.connection.execute("SELECT count(*) FROM deployments WHERE in_force").fetchone()
    assert count == (2,)


def test_assigning_returns_what_is_superseded(database):
    device = register(database)
    assign(database, make("one", "a", "b"), device)
    assign(database, make("two", "c"), device)
    assert database.assign(device, make("three", "b", "c")) == ["two"]
    assert database.assign(device, make("four", "a")) == ["one"]
    assert [each.name for each in database.history(device)] == ["one", "two", "three", "four"]


def test_withdrawing_restores_what_was_in_force(database):
    device = register(database)
    for deployment in (make("one", "a"), make("two", "b"), make("three", "a", "b")):
        assign(database, deployment, device)
    assert database.withdraw(device, "three") == ["one", "two"]
    assert database.deployments_in_force(device) == [make("one", "a"), make("two", "b")]


def test_two_connections_to_one_file_see_each_other(database, tmp_path):
    other = open_database(tmp_path, create=False)
    device = register(other)
    record(database, device)
    assert only_report(other)["accepted"] == 1
    other.close()


def test_many_processes_may_create_it_at_once(tmp_path):
    """Without a lock of our own about one in ten attempts failed with "database is locked"."""
    with ExitStack() as ended:
        openers = [ended.enter_context(running([sys.executable, "-c", OPENER], **PIPES)) for _ in range(6)]
        for data in (tmp_path / str(number) for number in range(10)):
            for each in openers:
                print(data, file=each.stdin, flush=True)
            assert [line(each, "a folder") for each in openers] == [f"{data}\n"] * 6
            assert (data / FILE).is_file()


def test_a_heartbeat_that_fails_leaves_nothing(database):
    with pytest.raises(sqlite3.IntegrityError):
        record(database, 77, AgentMetrics=[{"Value": 1}])
    assert database.connection.execute("SELECT count(*) FROM heartbeats").fetchone() == (0,)
    assert not database.connection.in_transaction


def test_a_directory_without_a_database_is_an_error(tmp_path):
    with pytest.raises(ManagerError, match="no Edge Manager data"):
        open_database(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"not a database, but longer than its header is" * 10)
    with pytest.raises(ManagerError, match="not a database; put a copy in its place"):
        open_database(tmp_path, create=False)


def test_a_later_format_is_an_error(database, tmp_path):
    database.connection.execute("PRAGMA user_version = 9")
    with pytest.raises(ManagerError, match="format 9"):
        open_database(tmp_path, create=False)


@pytest.mark.parametrize(("power_safe", "level"), [(False, 1), (True, 2)])
def test_power_safety_is_sqlites_full_synchronisation(tmp_path, power_safe, level):
    opened = open_database(tmp_path, create=True, power_safe=power_safe)
    assert opened.connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    opened.close()
