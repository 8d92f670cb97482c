"""Rollouts in a real database of each engine: what reaches which device, by results, by an operator and by time."""

import json
from fractions import Fraction

import pytest
import sqlalchemy as sa

from gateway.manager import ManagerError
from gateway.manager.api import ModelDefinition
from gateway.manager.operations import EdgeApi
from gateway.manager.reports import device_reports, rollout_report
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
        self.store, self.api, self.steady = store, EdgeApi(store), 0.0
        self.runner = RolloutRunner(store, lambda: self.steady)
        store.write(lambda transaction: transaction.register("f", names, 1.0))

    def deploy(self, name, handle="kws", rules=AT_ONCE, devices=None, now=100.0):
        """To these devices, else to all; the devices in their order."""
        chosen = actions.choose_devices(self.store, "f", devices or (), all_devices=devices is None)
        new = NewRollout("f", name, handle, "DO_NOTHING", (ModelDefinition(handle, url=f"s3://m/{name}"),), rules)
        ordered = rollout_order(name, chosen)
        self.runner.start(new, lambda _: [chosen[each] for each in ordered], now)
        return ordered

    def pass_time(self, now, seconds):
        """The service takes all steps at `now`, `seconds` after those before, whatever the clock said meanwhile."""
        self.steady += seconds
        while self.runner.advance_all(now):
            pass

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
    fleet.pass_time(100.0, 0.0)
    fleet.report_result("one", "SUCCESS", *devices[:2], now=159.0)
    fleet.pass_time(159.0, 59.0)
    assert fleet.progress("one")["stage"] == 1
    fleet.pass_time(160.0, 1.0)
    assert fleet.fetched_by("one") == set(NAMES)
    fleet.report_result("one", "SUCCESS", *devices[2:])
    assert fleet.progress("one")["state"] == "completed"


QUIET = RolloutRules((Stage(Fraction(1, 10), Fraction(1)), Stage(Fraction(1))), None, 1, 3600.0, Fraction(1, 2))


def live(state, seconds, now):
    names = {"state": state, "seconds": seconds}
    return [
        {"Dimension": "liveness", "MetricName": name, "Value": value, "Timestamp": now} for name, value in names.items()
    ]


@pytest.fixture
def quiet(fleet):
    """The first stage has two devices: one succeeded, the other one is silent from its registration on."""
    devices = fleet.deploy("one", rules=QUIET)
    fleet.pass_time(100.0, 0.0)
    fleet.fetch(devices[0])
    fleet.report_result("one", "SUCCESS", devices[0])
    fleet.devices = devices
    return fleet


def stage_after(fleet, *times):
    """The stage and how many are not reached, after the service has counted at these times."""
    before = getattr(fleet, "at", 100.0)
    for now in times:
        fleet.pass_time(now, now - before)
        before = now
    fleet.at = before
    report = fleet.progress("one")
    return report["stage"], report.get("not_reached", 0)


def shown_as_not_reached(fleet, now):
    return [each["device"] for each in device_reports(fleet.store, now) if each["not_reached"] == ["one"]]


def test_a_silent_device_is_not_waited_for_longer_than_it_may_be_silent(quiet):
    assert stage_after(quiet, 1900.0, 3699.0) == (1, 0)
    assert stage_after(quiet, 3705.0) == (2, 1)
    assert shown_as_not_reached(quiet, 3699.0) == []
    assert quiet.devices[1] in shown_as_not_reached(quiet, 3705.0)


def test_it_gets_the_rollout_when_it_comes_back_and_its_result_counts(quiet):
    late, others = quiet.devices[1], quiet.devices[2:]
    stage_after(quiet, 3705.0)
    quiet.fetched_by("one")
    quiet.report_result("one", "SUCCESS", *others, now=3705.0)
    assert quiet.progress("one")["pending"] == 1
    assert stage_after(quiet, 7000.0, 7310.0) == (2, 1)
    assert quiet.progress("one")["state"] == "completed"
    assert quiet.fetch(late, 9000.0) == [("one", "s3://m/one")]
    quiet.report_result("one", "SUCCESS", late, now=9000.0)
    report = quiet.progress("one")
    assert (report["succeeded"], report.get("pending"), report.get("not_reached")) == (20, None, None)


def test_one_that_comes_back_before_the_next_step_is_waited_for(quiet):
    """It was counted as silent, and the gate could not be met then."""
    late, others = quiet.devices[1], quiet.devices[2:]
    stage_after(quiet, 3705.0)
    quiet.fetched_by("one")
    quiet.report_result("one", "SUCCESS", *others[:-1], now=3705.0)
    quiet.call("SendHeartbeat", others[-1], 3705.0, AgentVersion="1")
    assert stage_after(quiet, 7000.0) == (2, 1)
    quiet.call("SendHeartbeat", late, 7001.0, AgentVersion="1")
    quiet.report_result("one", "SUCCESS", others[-1], now=7002.0)
    assert quiet.progress("one")["state"] == "running"
    quiet.report_result("one", "SUCCESS", late, now=7003.0)
    assert quiet.progress("one")["state"] == "completed"


def test_more_silent_devices_than_are_allowed_are_waited_for(fleet):
    rules = RolloutRules(QUIET.stages, None, 1, 3600.0, Fraction(4, 10))
    devices = fleet.deploy("one", rules=rules)
    fleet.pass_time(100.0, 0.0)
    fleet.fetch(devices[0])
    fleet.report_result("one", "SUCCESS", devices[0])
    assert stage_after(fleet, 3705.0, 9000.0) == (1, 1)


@pytest.mark.parametrize(("state", "due"), [(1, 100.0 + 7200 + 720), (2, 100.0 + 7200 + 720), (0, 100.0)])
def test_silence_is_judged_by_what_the_device_announced(quiet, state, due):
    quiet.call("SendHeartbeat", quiet.devices[1], 100.0, AgentVersion="1", AgentMetrics=live(state, 7200, 100.0))
    assert stage_after(quiet, due + 3595.0) == (1, 0)
    assert stage_after(quiet, due + 3605.0) == (2, 1)


def test_a_clock_that_jumps_makes_no_device_silent(quiet):
    """Nor does a time in which no manager ran: silence counts anew from then on."""
    assert stage_after(quiet, 3000.0) == (1, 0)
    for now in (3000.0 + 86_400, 3006.0 + 86_400, 3012.0):
        quiet.pass_time(now, 6.0)
        assert quiet.progress("one")["stage"] == 1
    quiet.runner = RolloutRunner(quiet.store, lambda: quiet.steady)
    quiet.pass_time(50_000.0, 0.0)
    quiet.pass_time(50_006.0, 6.0)
    quiet.at = 50_006.0
    assert stage_after(quiet, 53_000.0) == (1, 0)
    assert stage_after(quiet, 53_610.0) == (2, 1)


def test_a_clock_that_jumps_neither_starts_a_stage_nor_holds_it_back(fleet):
    """A day ahead for three seconds, then right again, then a day behind: the stage lasts for sixty seconds."""
    devices = fleet.deploy("one", rules=STAGED)
    fleet.pass_time(100.0, 0.0)
    fleet.report_result("one", "SUCCESS", *devices[:2])
    for now, seconds in ((86_500.0, 3.0), (86_503.0, 3.0), (106.0, 6.0), (-86_288.0, 6.0), (-86_245.0, 43.0)):
        fleet.pass_time(now, seconds)
        assert fleet.progress("one")["stage"] == 1, now
    fleet.pass_time(-86_228.0, 17.0)
    assert fleet.progress("one")["stage"] == 2, "but for what passed while the clock was set back"


def test_a_service_that_starts_while_the_clock_is_ahead_counts_on(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    fleet.pass_time(100.0, 0.0)
    fleet.report_result("one", "SUCCESS", *devices[:2])
    fleet.pass_time(150.0, 50.0)
    fleet.runner = RolloutRunner(fleet.store, lambda: fleet.steady)
    fleet.pass_time(86_500.0, 0.0)
    fleet.pass_time(86_509.0, 9.0)
    assert fleet.progress("one")["stage"] == 1
    fleet.pass_time(86_510.0, 1.0)
    assert fleet.progress("one")["stage"] == 2


def test_a_gate_that_can_no_longer_be_met_stops(fleet):
    devices = fleet.deploy("one", rules=RolloutRules((Stage(Fraction(1, 2), Fraction(19, 20)), Stage(Fraction(1)))))
    fleet.fetched_by("one")
    fleet.report_result("one", "SUCCESS", *devices[:9])
    assert fleet.progress("one")["state"] == "running"
    fleet.report_result("one", "FAIL", devices[9])
    report = fleet.progress("one")
    assert (report["state"], report["reason"]) == (
        "stopped",
        "1 of 10 devices failed, and 95% must succeed before stage 2",
    )


def test_a_result_that_ended_before_the_kept_one_does_not_replace_it(fleet):
    fleet.deploy("one", devices=["d01", "d02"], rules=RolloutRules(stop_at=Fraction(0)))
    fleet.report_result("one", "SUCCESS", "d01", now=2000.0, DeploymentEndTime=1000)
    fleet.report_result("one", "FAIL", "d01", now=2001.0, DeploymentEndTime=999)
    assert (fleet.progress("one")["state"], fleet.progress("one")["succeeded"]) == ("running", 1)
    (kept,) = next(each for each in device_reports(fleet.store, 1.0) if each["device"] == "d01")["results"]
    assert (kept["result"]["DeploymentStatus"], kept["told"]) == ("SUCCESS", 2)
    fleet.report_result("one", "FAIL", "d01", now=2002.0, DeploymentEndTime=1000)
    assert fleet.progress("one")["state"] == "stopped", "one of the same time is the newer"


def test_the_end_of_a_result_is_never_in_the_future(fleet):
    """A device whose clock was ahead once is heard again."""
    fleet.deploy("one", devices=["d01", "d02"])
    fleet.report_result("one", "FAIL", "d01", now=2000.0, DeploymentEndTime=90_000)
    fleet.report_result("one", "SUCCESS", "d01", now=2010.0, DeploymentEndTime=2005)
    assert fleet.progress("one")["succeeded"] == 1


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
    fleet.pass_time(100.0, 0.0)
    fleet.fetch(devices[0])
    fleet.set_state("one", RolloutState.PAUSED, 101.0)
    fleet.report_result("one", "SUCCESS", *devices[:2])
    assert fleet.fetched_by("one") == {devices[0]}, "the other one had not asked, and had nothing to report"
    assert (fleet.progress("one")["waiting"], fleet.progress("one")["succeeded"]) == (19, 1)
    fleet.pass_time(1000.0, 900.0)
    fleet.set_state("one", RolloutState.RUNNING, 1000.0)
    assert fleet.fetched_by("one") == set(devices[:2])
    fleet.report_result("one", "SUCCESS", devices[1])
    fleet.pass_time(1001.0, 1.0)
    assert fleet.fetched_by("one") == set(NAMES)
    assert ("held", "one") in fleet.log(devices[1])
    fleet.set_state("one", RolloutState.ABORTED, 1001.0)
    with pytest.raises(
        ManagerError, match="one has ended, it is aborted: `undo` takes it back, `deploy` starts another one"
    ):
        fleet.set_state("one", RolloutState.RUNNING, 1002.0)


def test_paused_devices_have_what_they_had(fleet):
    fleet.deploy("old")
    fleet.fetch("d03")
    fleet.deploy("new")
    fleet.set_state("new", RolloutState.PAUSED, 101.0)
    assert fleet.fetched_by("old") == set(NAMES)
    fleet.set_state("new", RolloutState.RUNNING, 102.0)
    assert fleet.fetched_by("new") == set(NAMES)


@pytest.mark.parametrize(("state", "after"), [("paused", "waiting"), ("aborted", "withdrawn")])
def test_a_device_that_asks_before_it_is_taken_back_does_not_get_it(fleet, state, after):
    """A large fleet takes the service some steps: the state alone is set here."""
    for name in ("old", "other"):
        fleet.deploy(name, devices=["d01", "d02"], handle=name)
    fleet.deploy("new", devices=["d01", "d02"], handle="old")
    for name in ("new", "other"):
        number = fleet.find(name)
        fleet.store.write(lambda transaction, number=number: RolloutRepository(transaction).update(number, state=state))
    assert fleet.fetch("d01") == [("old", "s3://m/old")]
    assert (fleet.progress("new")[after], fleet.progress("new")["pending"]) == (1, 1)


def test_a_resumed_rollout_does_not_replace_a_newer_one(fleet):
    """It was paused after the newer one was created, and before that one reached the device."""
    one = fleet.deploy("one", rules=STAGED)[:2]
    newer = RolloutRules((Stage(Fraction(1, 2)), Stage(Fraction(1))))
    chosen = actions.choose_devices(fleet.store, "f", one, all_devices=False)
    new = NewRollout("f", "two", "kws", "DO_NOTHING", (ModelDefinition("kws", url="s3://m/two"),), newer)
    two = fleet.runner.create(new, lambda _: list(chosen.values()), 100.0)
    fleet.set_state("one", RolloutState.PAUSED, 101.0)
    fleet.runner.run_due_steps(two, 102.0)
    fleet.set_state("one", RolloutState.RUNNING, 103.0)
    assert [fleet.fetch(each) for each in one] == [[("two", "s3://m/two")]] * 2
    assert fleet.progress("one")["superseded"] == 2


HALT = {
    "aborted": lambda fleet: fleet.set_state("one", RolloutState.ABORTED, 101.0),
    "stopped": lambda fleet: fleet.report_result("one", "FAIL", "d02"),
    "undone": lambda fleet: fleet.undo("one", 101.0),
}


@pytest.mark.parametrize("halt", HALT)
@pytest.mark.parametrize("fetched", [True, False])
def test_what_is_halted_is_never_given_again(fleet, halt, fetched):
    fleet.deploy("zero", devices=["d01"])
    fleet.deploy("one", devices=["d01", "d02"], rules=RolloutRules(stop_at=Fraction(0)))
    fleet.fetch("d02")
    if fetched:
        fleet.fetch("d01")
    fleet.deploy("two", devices=["d01"])
    HALT[halt](fleet)
    fleet.set_state("two", RolloutState.ABORTED, 102.0)
    assert fleet.fetch("d01") == [("zero", "s3://m/zero")]
    fleet.deploy("three", devices=["d01"])
    fleet.set_state("three", RolloutState.ABORTED, 103.0)
    assert fleet.fetch("d01") == [("zero", "s3://m/zero")]


def test_what_a_device_never_fetched_goes_where_it_is_halted_after_the_newer_one(fleet):
    fleet.deploy("one", devices=["d01", "d02"])
    fleet.deploy("two", devices=["d01"])
    fleet.set_state("two", RolloutState.ABORTED, 101.0)
    fleet.set_state("one", RolloutState.ABORTED, 102.0)
    assert fleet.fetch("d01") == []


def test_of_a_halted_deployment_only_the_handles_that_were_left_stay(fleet):
    """One handle was replaced by a newer deployment, which is withdrawn."""
    both = (ModelDefinition("kws", url="s3://m/one"), ModelDefinition("vad", url="s3://m/one"))
    chosen = actions.choose_devices(fleet.store, "f", ["d01"], all_devices=False)
    fleet.runner.start(NewRollout("f", "one", "kws", "DO_NOTHING", both), lambda _: list(chosen.values()), 100.0)
    fleet.fetch("d01")
    fleet.deploy("two", devices=["d01"])
    fleet.set_state("one", RolloutState.ABORTED, 101.0)
    fleet.set_state("two", RolloutState.ABORTED, 102.0)
    numbers = list(chosen.values())
    found = fleet.store.read(lambda transaction: transaction.deployments_in_force(numbers))[numbers[0]]
    assert [definition.handle for each in found for definition in each.definitions] == ["vad"]
    fleet.deploy("three", devices=["d01"])
    fleet.set_state("three", RolloutState.ABORTED, 103.0)
    assert fleet.fetch("d01") == [("one", "s3://m/one")]


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
    fleet.deploy("old", devices=["d01", "d02", "d03"])
    for device in ("d01", "d02", "d03"):
        fleet.fetch(device)
    fleet.report_result("old", "SUCCESS", "d01", "d02")
    fleet.deploy("new")
    fleet.fetched_by("new")
    fleet.report_result("new", "FAIL", "d01", "d05")
    undone = fleet.undo("new", 101.0)
    assert fleet.progress("new")["state"] == "aborted"
    assert fleet.fetch("d01") == fleet.fetch("d02") == [(undone.name, "s3://m/old")]
    assert fleet.fetch("d05") == fleet.fetch("d06") == [(undone.name, None)], "an undeployment"
    assert fleet.fetch("d03") == [(undone.name, None)], "it never said that it had the old one"
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


def test_undo_gives_the_newest_that_the_device_reported_as_a_success(fleet):
    """Not what failed, was never fetched, or was undone itself."""
    fleet.deploy("zero", devices=["d01"])
    for name, status in (("one", "SUCCESS"), ("undone", "SUCCESS")):
        fleet.deploy(name, devices=["d01"])
        fleet.fetch("d01")
        fleet.report_result(name, status, "d01")
    first = fleet.undo("undone", 101.0)
    assert fleet.fetch("d01") == [(first.name, "s3://m/one")]
    for name in ("two", "three"):
        fleet.deploy(name, devices=["d01"])
        fleet.fetch("d01")
        fleet.report_result(name, "FAIL", "d01")
    assert fleet.fetch("d01") == [("three", "s3://m/three")]
    second = fleet.undo("three", 102.0)
    assert fleet.fetch("d01") == [(second.name, "s3://m/one")]


def test_a_refused_undo_changes_nothing(fleet):
    fleet.deploy("one", devices=["d01", "d02"])
    fleet.fetched_by("one")
    fleet.report_result("one", "SUCCESS", "d01")
    fleet.deploy("two", devices=["d01", "d02"], rules=STAGED)
    before = fleet.progress("one")
    with pytest.raises(ManagerError, match="two has not reached all its devices, and would then replace this kws"):
        fleet.undo("one", 101.0)
    assert fleet.progress("one") == before
    assert before["state"] == "running"


def test_an_undo_that_is_paused_and_resumed_undoes(fleet):
    fleet.deploy("one", devices=["d01"])
    fleet.fetch("d01")
    undone = fleet.undo("one", 101.0)
    fleet.set_state(undone.name, RolloutState.PAUSED, 102.0)
    assert fleet.fetch("d01") == [], "what is undone is not given again"
    fleet.set_state(undone.name, RolloutState.RUNNING, 103.0)
    assert fleet.fetch("d01") == [(undone.name, None)]


def test_undo_takes_back_what_came_again_and_was_not_fetched(fleet):
    """The newer one that hid it was withdrawn after it had completed."""
    fleet.deploy("one", devices=["d01", "d02"])
    fleet.deploy("two", devices=["d01"])
    fleet.fetch("d02")
    fleet.report_result("one", "SUCCESS", "d02")
    assert fleet.progress("one")["state"] == "completed"
    fleet.set_state("two", RolloutState.ABORTED, 101.0)
    undone = fleet.undo("one", 102.0)
    assert (fleet.fetch("d01"), fleet.fetch("d02")) == ([], [(undone.name, None)])
    assert fleet.log("d01")[-1] == ("withdrawn", "one")


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
    """So does undo: from a device that has not fetched it, it is withdrawn later."""
    monkeypatch.setattr("gateway.manager.rollouts.runner.SLICE", 1)
    monkeypatch.setattr("gateway.manager.rollouts.runner.STEPS", 4)
    fleet = Fleet(store, [f"e{number}" for number in range(12)])
    fleet.deploy("one")
    assert (fleet.progress("one")["pending"], fleet.progress("one")["waiting"]) == (4, 8)
    while fleet.runner.advance_all(101.0):
        pass
    for number in range(6):
        fleet.fetch(f"e{number}")
    undone = fleet.undo("one", 102.0).name
    while fleet.runner.advance_all(103.0):
        pass
    found = [fleet.fetch(f"e{number}") for number in range(12)]
    assert found == [[(undone, None)]] * 6 + [[]] * 6


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
    for is_left in (True, True, True, False):
        assert fleet.runner.advance_all(3602.0) is is_left
        kept, real = counted(fleet.store)
        assert kept == real
    assert {rollout for rollout, _ in counted(fleet.store)[1]} == {fleet.find("one")}


@pytest.mark.parametrize("published", [0, 1])
def test_one_that_was_not_written_wholly_hides_no_other_one_of_its_name(fleet, published):
    """A command was killed, and given again: results count for the rollout that was published."""
    new = NewRollout("f", "one", "kws", "DO_NOTHING", (ModelDefinition("kws"),))
    made = []
    for _ in range(2):
        rollout_id, _ = fleet.store.write(lambda transaction: RolloutRepository(transaction).prepare(new, 100.0))
        made.append(rollout_id)
    places = list(enumerate(actions.choose_devices(fleet.store, "f", [], all_devices=True).values()))
    for each in made:
        fleet.store.write(lambda transaction: RolloutRepository(transaction).add_devices(each, places))  # noqa: B023
    chosen = made[published]
    fleet.store.write(lambda transaction: RolloutRepository(transaction).publish(chosen, new, "one"))
    fleet.pass_time(100.0, 1.0)
    assert fleet.fetched_by("one") == set(NAMES)
    fleet.report_result("one", "SUCCESS", *NAMES)
    assert (fleet.find("one"), fleet.progress("one")["succeeded"]) == (chosen, len(NAMES))


def test_devices_are_written_in_parts(fleet, monkeypatch):
    monkeypatch.setattr("gateway.manager.rollouts.repository.PART", 7)
    devices = fleet.deploy("one", rules=STAGED)
    assert fleet.progress("one")["devices"] == 20
    assert fleet.fetched_by("one") == set(devices[:2])
