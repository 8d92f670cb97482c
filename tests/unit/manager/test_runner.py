"""Rollouts in a real database: what reaches which device, by results, by an operator and by time."""

import json
import sqlite3
from fractions import Fraction

import pytest

from gateway.manager import ManagerError, open_database
from gateway.manager.api import ModelDefinition
from gateway.manager.operations import EdgeApi
from gateway.manager.reports import rollout_report
from gateway.manager.rollouts import (
    AT_ONCE,
    NewRollout,
    RolloutRepository,
    RolloutRules,
    RolloutRunner,
    RolloutState,
    Stage,
    actions,
)
from gateway.manager.rollouts.decisions import rollout_order
from gateway.manager.store import FILE
from gateway.manager.store.schema import FORMATS

NAMES = [f"d{number:02}" for number in range(20)]
STAGED = RolloutRules((Stage(Fraction(1, 10), Fraction(1), 60), Stage(Fraction(1))), Fraction(1, 5))


class Fleet:
    """Twenty devices in one database, what they fetch and what they report."""

    def __init__(self, database, names=NAMES):
        self.database, self.runner, self.api = database, RolloutRunner(database), EdgeApi(database)
        self.rollouts = RolloutRepository(database)
        for device in names:
            database.register("f", device, 1.0)

    def deploy(self, name, handle="kws", rules=AT_ONCE, devices=None, now=100.0):
        """To these devices, else to all; the devices in their order."""
        chosen = self.database.device_ids("f")
        if devices is not None:
            chosen = {each: actions.require_device(self.database, "f", each) for each in devices}
        new = NewRollout("f", name, handle, "DO_NOTHING", (ModelDefinition(handle, url=f"s3://m/{name}"),), rules)
        ordered = rollout_order(name, chosen)
        self.runner.start(new, lambda _: [chosen[each] for each in ordered], now)
        return ordered

    def set_state(self, name, state, now):
        actions.set_state(self.database, "f", name, state, now=now)

    def undo(self, name, now):
        return actions.undo(self.database, "f", name, now=now)

    def call(self, operation, device, now, **members):
        body = {"DeviceFleetName": "f", "DeviceName": device} | members
        return self.api.handle(operation, json.dumps(body).encode(), now)

    def fetch(self, device, now=100.0):
        """The names and URLs that GetDeployments returns."""
        deployments = self.call("GetDeployments", device, now)["Deployments"]
        return [(each["DeploymentName"], one.get("S3Url")) for each in deployments for one in each["Definitions"]]

    def fetched_by(self, name):
        """Every device fetches; those that got the deployment."""
        return {device for device in NAMES if name in [each for each, _ in self.fetch(device)]}

    def report_result(self, name, status, *devices, now=100.0, **more):
        for device in devices:
            result = {"DeploymentName": name, "DeploymentStatus": status} | more
            self.call("SendHeartbeat", device, now, AgentVersion="1", DeploymentResult=result)

    def progress(self, name):
        """The report of a rollout without its zeros."""
        rollout_id = self.rollouts.find("f", name)
        assert rollout_id is not None
        return {key: value for key, value in rollout_report(self.rollouts.read(rollout_id)).items() if value != 0}


@pytest.fixture
def fleet(database):
    return Fleet(database)


def test_a_stage_reaches_its_devices_alone_and_the_next_contains_it(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    assert fleet.fetched_by("one") == set(devices[:2])
    fleet.report_result("one", "SUCCESS", *devices[:2], now=159.0)
    assert not fleet.runner.advance_all(159.0)
    while fleet.runner.advance_all(160.0):
        pass
    assert fleet.fetched_by("one") == set(NAMES)
    fleet.report_result("one", "SUCCESS", *devices[2:])
    assert fleet.progress("one")["state"] == "completed"


def test_it_stops_by_itself_and_no_further_device_gets_it(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    assert fleet.fetch(devices[0]) == [("one", "s3://m/one")]
    fleet.report_result("one", "FAIL", devices[0])
    assert not fleet.fetched_by("one") - {devices[0]}, "what nobody had fetched is withdrawn"
    report = fleet.progress("one")
    assert (report["state"], report["failed"], report["waiting"], report["withdrawn"]) == ("stopped", 1, 18, 1)
    assert report["reason"] == "1 of 1 results are FAIL, more than 20%"
    fleet.report_result("one", "SUCCESS", devices[0])
    assert fleet.progress("one")["state"] == "stopped"
    assert not fleet.runner.advance_all(9e9)


def test_a_device_counts_once_by_its_newest_result(fleet):
    devices = fleet.deploy("one", rules=RolloutRules(stop_at=Fraction(1, 2), stop_min=3))
    for attempt in range(30):
        fleet.report_result(
            "one", "FAIL", devices[0], DeploymentStatusMessage=f"attempt {attempt}", DeploymentStartTime=attempt
        )
    fleet.report_result("one", "FAIL", devices[1])
    assert (fleet.progress("one")["failed"], fleet.progress("one")["state"]) == (2, "running")
    fleet.report_result("one", "SUCCESS", devices[0])
    assert (fleet.progress("one")["failed"], fleet.progress("one")["succeeded"]) == (1, 1)
    fleet.report_result("one", "FAIL", devices[0])
    assert "succeeded" not in fleet.progress("one")


def test_results_that_change_nothing(fleet):
    fleet.deploy("one", devices=["d01"])
    before = fleet.progress("one")
    fleet.report_result("other", "FAIL", "d01")
    fleet.report_result("one", "FAIL", "d02")
    fleet.call("SendHeartbeat", "d01", 100.0, AgentVersion="1", DeploymentResult={"DeploymentName": "one"})
    assert fleet.progress("one") == before


def test_paused_and_resumed(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    fleet.set_state("one", RolloutState.PAUSED, 101.0)
    fleet.report_result("one", "SUCCESS", *devices[:2])
    assert not fleet.runner.advance_all(1000.0)
    assert fleet.fetched_by("one") == set(devices[:2])
    fleet.set_state("one", RolloutState.RUNNING, 1000.0)
    assert fleet.fetched_by("one") == set(NAMES)
    fleet.set_state("one", RolloutState.ABORTED, 1001.0)
    with pytest.raises(
        ManagerError, match="one has ended, it is aborted: `undo` takes it back, `deploy` starts another one"
    ):
        fleet.set_state("one", RolloutState.RUNNING, 1002.0)


def test_aborting_restores_what_was_in_force_where_nobody_fetched(fleet):
    fleet.deploy("old")
    fleet.fetched_by("old")
    fleet.deploy("new")
    assert fleet.progress("old")["superseded"] == 20
    assert fleet.fetch("d03") == [("new", "s3://m/new")]
    fleet.set_state("new", RolloutState.ABORTED, 101.0)
    assert fleet.fetched_by("new") == {"d03"}
    assert fleet.fetched_by("old") == set(NAMES) - {"d03"}
    assert (fleet.progress("old")["superseded"], fleet.progress("old")["pending"]) == (1, 19)


def test_undo_gives_each_device_what_it_had(fleet):
    fleet.deploy("old", devices=["d01", "d02"])
    fleet.deploy("new")
    fleet.fetched_by("new")
    fleet.report_result("new", "FAIL", "d01", "d05")
    undone = fleet.undo("new", 101.0)
    assert fleet.progress("new")["state"] == "aborted"
    assert fleet.fetch("d01") == fleet.fetch("d02") == [(undone.name, "s3://m/old")]
    assert fleet.fetch("d05") == fleet.fetch("d06") == [(undone.name, None)], "an undeployment"
    fleet.report_result(undone.name, "SUCCESS", *NAMES)
    report = fleet.progress(undone.name)
    assert (report["state"], report["undoes"], report["succeeded"]) == ("completed", "new", 20)


def test_undo_changes_nothing_that_came_later(fleet):
    fleet.deploy("one")
    fleet.fetched_by("one")
    fleet.report_result("one", "SUCCESS", *NAMES)
    fleet.deploy("two", devices=["d01"])
    undone = fleet.undo("one", 101.0)
    assert fleet.fetch("d01") == [("two", "s3://m/two")]
    assert fleet.progress(undone.name)["superseded"] == 1
    assert fleet.progress("one")["state"] == "completed"


def test_undo_of_what_nobody_fetched_is_abort(fleet):
    fleet.deploy("one", devices=["d01"])
    assert fleet.undo("one", 101.0).name == "one"
    assert fleet.fetch("d01") == []


def test_undo_twice_has_one_effect(fleet):
    fleet.deploy("one", devices=["d01"])
    fleet.fetched_by("one")
    fleet.report_result("one", "SUCCESS", "d01")
    undone = fleet.undo("one", 101.0)
    assert fleet.undo("one", 102.0) is None
    assert fleet.fetch("d01") == [(undone.name, None)]


def test_a_running_rollout_never_replaces_a_newer_file(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    with pytest.raises(ManagerError, match="one has not reached all its devices, and would then replace this kws"):
        fleet.deploy("two", devices=devices[5:6])
    assert fleet.rollouts.find("f", "two") is None
    fleet.deploy("three", devices=devices[:1])
    fleet.deploy("four", handle="vad")
    fleet.set_state("one", RolloutState.ABORTED, 101.0)
    fleet.deploy("two", devices=devices[5:6])


def test_a_name_is_used_once_in_a_fleet(fleet):
    fleet.deploy("one", devices=["d01"])
    with pytest.raises(ManagerError, match="there is or was a deployment named one"):
        fleet.deploy("one", devices=["d02"])


def test_a_deregistered_device_does_not_count(fleet):
    devices = fleet.deploy("one")
    fleet.report_result("one", "SUCCESS", *devices[1:])
    assert fleet.progress("one")["state"] == "running"
    fleet.database.deregister("f", devices[0])
    assert fleet.runner.advance_all(101.0)
    assert (fleet.progress("one")["state"], fleet.progress("one")["devices"]) == ("completed", 19)


def test_a_large_stage_is_assigned_in_slices(database):
    fleet = Fleet(database, [f"e{number}" for number in range(250)])
    new = NewRollout("f", "one", "kws", "DO_NOTHING", (ModelDefinition("kws"),))
    rollout_id = fleet.rollouts.create(new, lambda _: list(database.device_ids("f").values()), 1.0)
    waiting = []
    while fleet.runner.advance(rollout_id, 1.0):
        waiting.append(fleet.progress("one").get("waiting", 0))
    assert waiting == [150, 50, 0]


def test_a_command_leaves_a_large_fleet_to_the_service(database, monkeypatch):
    """So does undo: a device from which it is not withdrawn yet gets what was before, as one that fetched it."""
    monkeypatch.setattr("gateway.manager.rollouts.runner.SLICE", 1)
    fleet = Fleet(database, [f"e{number}" for number in range(60)])
    fleet.deploy("one")
    assert (fleet.progress("one")["pending"], fleet.progress("one")["waiting"]) == (20, 40)
    while fleet.runner.advance_all(101.0):
        pass
    undone = fleet.undo("one", 102.0).name
    while fleet.runner.advance_all(103.0):
        pass
    assert {tuple(fleet.fetch(f"e{number}")) for number in range(60)} == {(), ((undone, None),)}


def test_a_step_that_fails_is_not_taken(fleet, monkeypatch):
    fleet.database.connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON deployments BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(sqlite3.Error, match="disk full"):
        fleet.deploy("one")
    assert fleet.progress("one")["waiting"] == 20
    fleet.database.connection.execute("DROP TRIGGER full")
    while fleet.runner.advance_all(101.0):
        pass
    assert fleet.fetched_by("one") == set(NAMES)


# A file of the format before rollouts


@pytest.fixture
def old_file(tmp_path):
    """As the first version wrote it: kws-1 on two devices, a SUCCESS of one, replaced by kws-3 on the other."""
    connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    for statement in FORMATS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.executemany("INSERT INTO devices (fleet, device, registered) VALUES ('f', ?, 1.0)", [["d1"], ["d2"]])
    kws = json.dumps([{"handle": "kws", "state": "DEPLOY", "url": "s3://m/k", "sha1": None, "size": 3}])
    connection.executemany(
        "INSERT INTO deployments (device, name, policy, definitions, created, in_force)"
        " VALUES (?, ?, 'DO_NOTHING', ?, ?, ?)",
        [(1, "kws-1", kws, 5.0, 1), (2, "kws-1", kws, 5.0, 0), (2, "kws-3", kws, 6.0, 1)],
    )
    connection.execute(
        "INSERT INTO results VALUES (1, 'kws-1', ?, 7.0, 2)",
        (json.dumps({"DeploymentName": "kws-1", "DeploymentStatus": "SUCCESS"}),),
    )
    connection.close()
    return tmp_path


def test_a_file_of_an_earlier_version_opens_with_all_that_is_in_it(old_file):
    database = open_database(old_file, create=False)
    fleet = Fleet(database, [])
    assert [fleet.fetch(device) for device in ("d1", "d2")] == [[("kws-1", "s3://m/k")], [("kws-3", "s3://m/k")]]
    one, three = fleet.progress("kws-1"), fleet.progress("kws-3")
    assert (one["devices"], one["succeeded"], one["superseded"], one["created"]) == (2, 1, 1, 5.0)
    assert (three["devices"], three["pending"], three["state"]) == (1, 1, "running")
    fleet.report_result("kws-3", "SUCCESS", "d2")
    while fleet.runner.advance_all(8.0):
        pass
    assert {fleet.progress(name)["state"] for name in ("kws-1", "kws-3")} == {"completed"}
    assert RolloutRepository(database).next_id() == 4, "a name made of a number never comes twice"
    database.close()
    open_database(old_file, create=False).close()


def test_an_empty_file_of_an_earlier_version(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    for statement in FORMATS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    database = open_database(tmp_path, create=False)
    assert Fleet(database).deploy(None, devices=["d01"])
    assert [each.name for each in RolloutRepository(database).list_rollouts()] == ["kws-1"]
    database.close()
