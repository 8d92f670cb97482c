"""The database: what is kept of heartbeats, deployments and results, over a second process and a reopening too."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.manager.api.deployments import Definition, Deployment
from gateway.manager.api.device_status import condense
from gateway.manager.cli.reports import DeviceReport, status
from gateway.manager.errors import ManagerError
from gateway.manager.store.database import FILE, Store, open_store
from tests.support.processes import line, running


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path, create=True)
    yield opened
    opened.close()


BEGINNER = """
import pathlib, sys
from gateway.manager.store.database import open_store
for line in sys.stdin:
    open_store(pathlib.Path(line.strip()), create=True).close()
    print(line.strip(), flush=True)
"""
"""Begins each folder that stands on a line of stdin. (multiprocessing would need /dev/shm.)"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def beat(store: Store, device: int, now: float = 100.0, **members: object) -> None:
    store.record(device, condense({"AgentVersion": "1.0", **members}, now), now)


def registered(store: Store, device: str = "d", fleet: str = "f") -> int:
    store.register(fleet, device, 1.0)
    number = store.device_id(fleet, device)
    assert number is not None
    return number


def only(store: Store) -> DeviceReport:
    (report,) = status(store)
    return report


def plan(name: str, *handles: str, state: str = "DEPLOY") -> Deployment:
    return Deployment(name, "DO_NOTHING", tuple(Definition(handle, state) for handle in handles), 5.0)


def give(store: Store, deployment: Deployment, *devices: int) -> None:
    with store.transaction():
        for device in devices:
            store.give(device, deployment)


def test_registering_twice_changes_nothing(store):
    assert store.register("f", "d", 1.0)
    assert not store.register("f", "d", 2.0)
    assert store.devices() == [("f", "d", 1.0)]


def test_devices_of_one_name_in_two_fleets_are_two(store):
    assert registered(store, fleet="f") != registered(store, fleet="g")
    assert store.devices("g") == [("g", "d", 1.0)]


def test_a_deregistered_device_is_forgotten_whole(store):
    device = registered(store)
    give(store, plan("one", "a"), device)
    beat(store, device, DeploymentResult={"DeploymentName": "one"}, AgentMetrics=[{"Value": 1}], Models=[{}])
    assert store.deregister("f", "d")
    assert not store.deregister("f", "d")
    for table in ("devices", "deployments", "heartbeats", "metrics", "models", "results", "rollout_devices"):
        assert store.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_a_device_that_comes_back_is_a_new_one(store):
    before = registered(store)
    store.deregister("f", "d")
    assert registered(store) != before


def test_state_before_the_first_heartbeat(store):
    registered(store)
    report = only(store)
    assert (report["accepted"], report["newest"], report["agent_version"]) == (0, None, None)


def test_heartbeats_are_counted_and_the_newest_agent_version_is_kept(store):
    device = registered(store)
    beat(store, device, 100.0)
    beat(store, device, 160.0, AgentVersion="2.0")
    report = only(store)
    assert (report["accepted"], report["newest"], report["agent_version"]) == (2, 160.0, "2.0")


@pytest.mark.parametrize(("at", "value"), [(9, 2.0), (5, 2.0), (4, 1.0)], ids=["newer", "same time", "backlog"])
def test_the_newest_sample_of_a_metric_is_kept(store, at, value):
    device = registered(store)
    for sample, time in ((1.0, 5), (2.0, at)):
        beat(store, device, AgentMetrics=[{"Dimension": "s", "MetricName": "heap", "Value": sample, "Timestamp": time}])
    (metric,) = only(store)["metrics"]
    assert metric == {
        "model": "", "version": "", "dimension": "s", "name": "heap", "value": value, "at": max(5, at),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(5, 9, 9), (9, 5, 9), (None, 5, 5), (5, None, 5), (None, None, None)]
)
def test_the_latest_times_of_a_model_are_kept(store, first, second, kept):
    device = registered(store)
    for time in (first, second):
        beat(store, device, Models=[{"ModelName": "m", "LatestSampleTime": time, "LatestInference": time}])
    (model,) = only(store)["models"]
    assert (model["latest_sample"], model["latest_inference"]) == (kept, kept)


def test_a_result_is_kept_once_however_often_it_comes(store):
    device = registered(store)
    for now in (100.0, 160.0, 220.0):
        beat(store, device, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": "SUCCESS"})
    (result,) = only(store)["results"]
    assert result == {
        "deployment": "one",
        "result": {"DeploymentName": "one", "DeploymentStatus": "SUCCESS"},
        "received": 100.0,
        "told": 3,
    }


def test_a_result_that_differs_replaces_the_one_before(store):
    device = registered(store)
    for now, verdict in ((100.0, "FAIL"), (160.0, "SUCCESS")):
        beat(store, device, now, DeploymentResult={"DeploymentName": "one", "DeploymentStatus": verdict})
    (result,) = only(store)["results"]
    assert (result["result"]["DeploymentStatus"], result["received"], result["told"]) == ("SUCCESS", 160.0, 2)


def test_results_of_two_deployments_are_two(store):
    device = registered(store)
    for name in ("one", "two"):
        beat(store, device, DeploymentResult={"DeploymentName": name})
    assert {result["deployment"] for result in only(store)["results"]} == {"one", "two"}


def test_deployments_are_superseded_handle_by_handle(store):
    device = registered(store)
    for deployment in (plan("one", "a", "b"), plan("two", "a"), plan("three", "c")):
        give(store, deployment, device)
    assert store.deployments(device) == [plan("one", "b"), plan("two", "a"), plan("three", "c")]
    give(store, plan("four", "b", "a"), device)
    assert store.deployments(device) == [plan("three", "c"), plan("four", "b", "a")]
    count = store.connection.execute("SELECT count(*) FROM deployments WHERE in_force").fetchone()
    assert count == (2,)


def test_giving_tells_what_is_in_force_no_more(store):
    device = registered(store)
    give(store, plan("one", "a", "b"), device)
    give(store, plan("two", "c"), device)
    assert store.give(device, plan("three", "b", "c")) == ["two"]
    assert store.give(device, plan("four", "a")) == ["one"]
    assert [each.name for each in store.history(device)] == ["one", "two", "three", "four"]


def test_withdrawing_puts_back_what_was_in_force(store):
    device = registered(store)
    for deployment in (plan("one", "a"), plan("two", "b"), plan("three", "a", "b")):
        give(store, deployment, device)
    assert store.withdraw(device, "three") == ["one", "two"]
    assert store.deployments(device) == [plan("one", "a"), plan("two", "b")]


def test_two_openings_of_one_file_see_each_other(store, tmp_path):
    other = open_store(tmp_path, create=False)
    device = registered(other)
    beat(store, device)
    assert only(other)["accepted"] == 1
    other.close()


def test_many_processes_may_begin_at_once(tmp_path):
    """Without a lock of our own about one in ten beginnings failed with "database is locked"."""
    with ExitStack() as ended:
        beginners = [ended.enter_context(running([sys.executable, "-c", BEGINNER], **PIPES)) for _ in range(6)]
        for data in (tmp_path / str(number) for number in range(10)):
            for each in beginners:
                print(data, file=each.stdin, flush=True)
            assert [line(each, "end of a beginning") for each in beginners] == [f"{data}\n"] * 6
            assert (data / FILE).is_file()


def test_a_failing_record_leaves_nothing(store):
    with pytest.raises(sqlite3.IntegrityError):
        beat(store, 77, AgentMetrics=[{"Value": 1}])
    assert store.connection.execute("SELECT count(*) FROM heartbeats").fetchone() == (0,)
    assert not store.connection.in_transaction


def test_a_directory_without_a_database_is_told(tmp_path):
    with pytest.raises(ManagerError, match="no Edge Manager data"):
        open_store(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"not a database, but longer than its header is" * 10)
    with pytest.raises(ManagerError, match="cannot be used"):
        open_store(tmp_path, create=False)


def test_a_later_format_is_told(store, tmp_path):
    store.connection.execute("PRAGMA user_version = 9")
    with pytest.raises(ManagerError, match="format 9"):
        open_store(tmp_path, create=False)


@pytest.mark.parametrize(("power_safe", "level"), [(False, 1), (True, 2)])
def test_power_safety_is_sqlites_full_synchronisation(tmp_path, power_safe, level):
    opened = open_store(tmp_path, create=True, power_safe=power_safe)
    assert opened.connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    opened.close()
