"""Rollouts in a real database of each engine: what reaches which device, by results, by an operator and by time."""

import json
from fractions import Fraction

import pytest
import sqlalchemy as sa

from gateway.manager import ManagerError
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
from gateway.manager.store.tables import DEVICE_LOG, ROLLOUT_COUNTS, ROLLOUT_DEVICES

NAMES = [f"d{number:02}" for number in range(20)]
STAGED = RolloutRules((Stage(Fraction(1, 10), Fraction(1), 60), Stage(Fraction(1))), Fraction(1, 5))


class Fleet:
    """Twenty devices in one store, what they fetch and what they report."""

    def __init__(self, store, names=NAMES):
        self.store, self.runner, self.api = store, RolloutRunner(store), EdgeApi(store)
        store.write(lambda transaction: transaction.register("f", names, 1.0))

    def deploy(self, name, handle="kws", rules=AT_ONCE, devices=None, now=100.0):
        """To these devices, else to all; the devices in their order."""
        chosen = actions.choose_devices(self.store, "f", devices or (), all_devices=devices is None)
        new = NewRollout("f", name, handle, "DO_NOTHING", (ModelDefinition(handle, url=f"s3://m/{name}"),), rules)
        ordered = rollout_order(name, chosen)
        self.runner.start(new, lambda _: [chosen[each] for each in ordered], now)
        return ordered

    def set_state(self, name, state, now):
        actions.set_state(self.store, "f", name, state, now=now)

    def undo(self, name, now):
        return actions.undo(self.store, "f", name, now=now)

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

    def find(self, name):
        return self.store.read(lambda transaction: RolloutRepository(transaction).find("f", name))

    def progress(self, name):
        """The report of a rollout without its zeros."""
        rollout = self.runner.read(self.find(name))
        return {key: value for key, value in rollout_report(rollout).items() if value != 0}

    def log(self, device):
        """The changes of a device's plan, in order."""
        number = actions.require_device(self.store, "f", device)
        select = sa.select(DEVICE_LOG.c.detail).where(DEVICE_LOG.c.device == number, DEVICE_LOG.c.kind == "plan")
        found = self.store.read(
            lambda transaction: transaction.connection.scalars(select.order_by(DEVICE_LOG.c.id)).all()
        )
        return [(each["change"], each["deployment"]) for each in map(json.loads, found)]


def counted(store):
    """The counts as they are kept, and as the rows have them; without zeros."""
    rollout, state = ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state
    by_rows = sa.select(rollout, state, sa.func.count()).group_by(rollout, state)

    def read(transaction):
        rows = [transaction.connection.execute(each).all() for each in (sa.select(ROLLOUT_COUNTS), by_rows)]
        return [{(one, two): number for one, two, number in each if number} for each in rows]

    kept, real = store.read(read)
    return kept, real


def execute(store, statement):
    store.write(lambda transaction: transaction.connection.exec_driver_sql(statement))


@pytest.fixture
def fleet(store):
    """At the end the counts are those of the rows."""
    yield Fleet(store)
    kept, real = counted(store)
    assert kept == real


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
    assert fleet.find("two") is None
    assert {rollout for rollout, _ in counted(fleet.store)[1]} == {fleet.find("one")}, "nothing of it is left"
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
    assert fleet.store.write(lambda transaction: transaction.deregister("f", devices[0]))
    assert fleet.runner.advance_all(101.0)
    assert (fleet.progress("one")["state"], fleet.progress("one")["devices"]) == ("completed", 19)


def test_a_large_stage_is_assigned_in_slices(store, monkeypatch):
    monkeypatch.setattr("gateway.manager.rollouts.runner.SLICE", 10)
    fleet = Fleet(store, [f"e{number}" for number in range(25)])
    device_ids = list(actions.choose_devices(store, "f", [], all_devices=True).values())
    new = NewRollout("f", "one", "kws", "DO_NOTHING", (ModelDefinition("kws"),))
    rollout_id = fleet.runner.create(new, lambda _: device_ids, 1.0)
    waiting = []
    while fleet.runner.advance(rollout_id, 1.0):
        waiting.append(fleet.progress("one").get("waiting", 0))
    assert waiting == [15, 5, 0]


def test_a_command_leaves_a_large_fleet_to_the_service(store, monkeypatch):
    """So does undo: a device from which it is not withdrawn yet gets what was before, as one that fetched it."""
    monkeypatch.setattr("gateway.manager.rollouts.runner.SLICE", 1)
    monkeypatch.setattr("gateway.manager.rollouts.runner.STEPS", 4)
    fleet = Fleet(store, [f"e{number}" for number in range(12)])
    fleet.deploy("one")
    assert (fleet.progress("one")["pending"], fleet.progress("one")["waiting"]) == (4, 8)
    while fleet.runner.advance_all(101.0):
        pass
    undone = fleet.undo("one", 102.0).name
    while fleet.runner.advance_all(103.0):
        pass
    assert {tuple(fleet.fetch(f"e{number}")) for number in range(12)} == {(), ((undone, None),)}


def test_a_step_that_fails_is_not_taken(fleet):
    """It fails after devices were assigned: nothing of the step is there, and it is taken again."""
    execute(fleet.store, "CREATE UNIQUE INDEX fails ON device_log (kind)")
    with pytest.raises(sa.exc.IntegrityError):
        fleet.deploy("one")
    assert fleet.progress("one")["waiting"] == 20
    assert fleet.fetched_by("one") == set()
    execute(fleet.store, "DROP INDEX fails")
    while fleet.runner.advance_all(101.0):
        pass
    assert fleet.fetched_by("one") == set(NAMES)


def test_the_log_of_a_device_has_each_change_of_its_plan(fleet):
    fleet.deploy("old")
    fleet.fetched_by("old")
    fleet.deploy("new")
    fleet.fetch("d03")
    fleet.fetch("d03")
    fleet.set_state("new", RolloutState.ABORTED, 101.0)
    changed = [("assigned", "old"), ("fetched", "old"), ("superseded", "old"), ("assigned", "new")]
    assert fleet.log("d03") == [*changed, ("fetched", "new")]
    assert fleet.log("d04") == [*changed, ("withdrawn", "new")]


def test_a_name_made_of_a_number_never_comes_twice(fleet):
    """Nor does it where a rollout of a lower number was given that name."""
    fleet.deploy(None, devices=["d01"])
    fleet.deploy("kws-3", devices=["d02"])
    with pytest.raises(ManagerError, match="there is or was a deployment named kws-3: give another --name"):
        fleet.deploy(None, devices=["d03"])
    fleet.deploy(None, devices=["d03"], handle="vad")
    names = [each.name for each in fleet.store.read(lambda transaction: RolloutRepository(transaction).list_rollouts())]
    assert names[:2] == ["kws-1", "kws-3"]
    assert names[2].startswith("vad-")


def test_a_device_that_is_deregistered_meanwhile_is_left_out(fleet):
    device_ids = actions.choose_devices(fleet.store, "f", ["d01", "d02"], all_devices=False)
    fleet.store.write(lambda transaction: transaction.deregister("f", "d01"))
    new = NewRollout("f", "one", "kws", "DO_NOTHING", (ModelDefinition("kws"),))
    assert fleet.runner.start(new, lambda _: list(device_ids.values()), 1.0).progress.total == 1


def test_a_plan_that_changed_while_it_was_read_is_not_marked(fleet):
    fleet.deploy("old", devices=["d01", "d02"])
    names = [("f", "d01"), ("f", "d02")]
    read = fleet.store.read(lambda transaction: transaction.read_plans(names))
    fleet.deploy("new", devices=["d01"])
    plans = {each.device: each.number for each in read.values()}
    changed = fleet.store.write(lambda transaction: fleet.runner.on_fetched(transaction, plans, 101.0))
    assert changed == {read["f", "d01"].device}
    assert fleet.log("d01")[-1] == ("assigned", "new")
    assert fleet.log("d02")[-1] == ("fetched", "old")
    after = fleet.store.read(lambda transaction: transaction.read_plans(names))
    assert [each.fetched == each.number for each in after.values()] == [False, True]


def test_a_rollout_that_was_not_written_wholly_is_nowhere(fleet, monkeypatch):
    """Its process was killed: its name is free, no step is taken, its devices may go."""
    new = NewRollout("f", "one", "kws", "DO_NOTHING", (ModelDefinition("kws"),))
    rollout_id, name = fleet.store.write(lambda transaction: RolloutRepository(transaction).prepare(new, 1.0))
    places = list(enumerate(actions.choose_devices(fleet.store, "f", [], all_devices=True).values()))
    fleet.store.write(lambda transaction: RolloutRepository(transaction).add_devices(rollout_id, places))
    assert (name, fleet.find("one")) == ("one", None)
    assert not fleet.runner.advance_all(100.0)
    assert fleet.store.read(lambda transaction: RolloutRepository(transaction).list_rollouts()) == []
    assert fleet.store.write(lambda transaction: transaction.deregister("f", "d00"))
    fleet.deploy("one")
    with pytest.raises(ManagerError, match="there is or was a deployment named one"):
        fleet.store.write(lambda transaction: RolloutRepository(transaction).publish(rollout_id, new, "one"))
    monkeypatch.setattr("gateway.manager.rollouts.repository.PART", 7)
    assert not fleet.runner.advance_all(3600.0)
    assert {rollout for rollout, _ in counted(fleet.store)[1]} == {rollout_id, fleet.find("one")}
    assert [fleet.runner.advance_all(3602.0) for _ in range(4)] == [True, True, True, False]
    assert {rollout for rollout, _ in counted(fleet.store)[1]} == {fleet.find("one")}


def test_devices_are_written_in_parts(fleet, monkeypatch):
    monkeypatch.setattr("gateway.manager.rollouts.repository.PART", 7)
    devices = fleet.deploy("one", rules=STAGED)
    assert fleet.progress("one")["devices"] == 20
    assert fleet.fetched_by("one") == set(devices[:2])
