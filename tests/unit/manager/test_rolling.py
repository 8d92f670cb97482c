"""Rollouts in a real store: what reaches which device, by results, by an operator and by time."""

import json
import sqlite3
from fractions import Fraction

import pytest

from gateway.manager.api.deployments import Definition
from gateway.manager.api.operations import make_api
from gateway.manager.cli.reports import rollout_report
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import service
from gateway.manager.rollouts.decisions import AT_ONCE, Rules, Stage, State, order
from gateway.manager.rollouts.repository import Draft, Rollouts
from gateway.manager.rollouts.runner import Rolling
from gateway.manager.store.database import FILE, open_store
from gateway.manager.store.schema import FORMATS

NAMES = [f"d{number:02}" for number in range(20)]
STAGED = Rules((Stage(Fraction(1, 10), Fraction(1), 60), Stage(Fraction(1))), Fraction(1, 5))


class Fleet:
    """Twenty devices in one store, and what they ask and tell."""

    def __init__(self, store, names=NAMES):
        self.store, self.rolling, self.api = store, Rolling(store), make_api(store)
        for device in names:
            store.register("f", device, 1.0)

    def deploy(self, name, handle="kws", rules=AT_ONCE, devices=None, now=100.0):
        """To these devices, else to all; the devices in their order."""
        chosen = self.store.numbers("f") if devices is None else {each: self.number(each) for each in devices}
        draft = Draft("f", name, handle, "DO_NOTHING", (Definition(handle, url=f"s3://m/{name}"),), rules)
        ordered = order(name, chosen)
        begun = Rollouts(self.store).begin(draft, lambda _: [chosen[each] for each in ordered], now)
        self.rolling.settle(begun, now)
        return ordered

    def number(self, device):
        return service.registered(self.store, "f", device)

    def call(self, operation, device, now, **members):
        body = {"DeviceFleetName": "f", "DeviceName": device} | members
        return self.api.answer(operation, json.dumps(body).encode(), now)

    def ask(self, device, now=100.0):
        """The names and URLs of GetDeployments' answer."""
        plans = self.call("GetDeployments", device, now)["Deployments"]
        return [(plan["DeploymentName"], each.get("S3Url")) for plan in plans for each in plan["Definitions"]]

    def tell(self, name, status, *devices, now=100.0, **more):
        for device in devices:
            result = {"DeploymentName": name, "DeploymentStatus": status} | more
            self.call("SendHeartbeat", device, now, AgentVersion="1", DeploymentResult=result)

    def report(self, name):
        number = Rollouts(self.store).find("f", name)
        assert number is not None
        return {key: value for key, value in rollout_report(Rollouts(self.store).read(number)).items() if value != 0}


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path, create=True)
    yield opened
    opened.close()


@pytest.fixture
def fleet(store):
    return Fleet(store)


def having(fleet, name):
    return {device for device in NAMES if name in [each for each, _ in fleet.ask(device)]}


def test_a_stage_reaches_its_devices_alone_and_the_next_contains_it(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    assert having(fleet, "one") == set(devices[:2])
    fleet.tell("one", "SUCCESS", *devices[:2], now=159.0)
    assert not fleet.rolling.advance_all(159.0)
    while fleet.rolling.advance_all(160.0):
        pass
    assert having(fleet, "one") == set(NAMES)
    fleet.tell("one", "SUCCESS", *devices[2:])
    assert fleet.report("one")["state"] == "completed"


def test_it_stops_by_itself_and_no_further_device_gets_it(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    assert fleet.ask(devices[0]) == [("one", "s3://m/one")]
    fleet.tell("one", "FAIL", devices[0])
    assert not having(fleet, "one") - {devices[0]}, "what nobody had fetched is taken back"
    report = fleet.report("one")
    assert (report["state"], report["failed"], report["waiting"], report["withdrawn"]) == ("stopped", 1, 18, 1)
    assert report["reason"] == "1 of 1 results are FAIL, more than 20%"
    fleet.tell("one", "SUCCESS", devices[0])
    assert fleet.report("one")["state"] == "stopped"
    assert not fleet.rolling.advance_all(9e9)


def test_a_device_counts_once_as_what_it_said_last(fleet):
    devices = fleet.deploy("one", rules=Rules(stop_at=Fraction(1, 2), stop_min=3))
    for attempt in range(30):
        fleet.tell("one", "FAIL", devices[0], DeploymentStatusMessage=f"attempt {attempt}", DeploymentStartTime=attempt)
    fleet.tell("one", "FAIL", devices[1])
    assert (fleet.report("one")["failed"], fleet.report("one")["state"]) == (2, "running")
    fleet.tell("one", "SUCCESS", devices[0])
    assert (fleet.report("one")["failed"], fleet.report("one")["succeeded"]) == (1, 1)
    fleet.tell("one", "FAIL", devices[0])
    assert "succeeded" not in fleet.report("one")


def test_results_that_mean_nothing_here(fleet):
    fleet.deploy("one", devices=["d01"])
    before = fleet.report("one")
    fleet.tell("other", "FAIL", "d01")
    fleet.tell("one", "FAIL", "d02")
    fleet.call("SendHeartbeat", "d01", 100.0, AgentVersion="1", DeploymentResult={"DeploymentName": "one"})
    assert fleet.report("one") == before


def test_paused_and_resumed(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    service.switch(fleet.store, "f", "one", State.PAUSED, now=101.0)
    fleet.tell("one", "SUCCESS", *devices[:2])
    assert not fleet.rolling.advance_all(1000.0)
    assert having(fleet, "one") == set(devices[:2])
    service.switch(fleet.store, "f", "one", State.RUNNING, now=1000.0)
    assert having(fleet, "one") == set(NAMES)
    service.switch(fleet.store, "f", "one", State.ABORTED, now=1001.0)
    with pytest.raises(ManagerError, match="one is aborted already"):
        service.switch(fleet.store, "f", "one", State.RUNNING, now=1002.0)


def test_aborting_puts_back_what_was_there_where_nobody_fetched(fleet):
    fleet.deploy("old")
    having(fleet, "old")
    fleet.deploy("new")
    assert fleet.report("old")["superseded"] == 20
    assert fleet.ask("d03") == [("new", "s3://m/new")]
    service.switch(fleet.store, "f", "new", State.ABORTED, now=101.0)
    assert having(fleet, "new") == {"d03"}
    assert having(fleet, "old") == set(NAMES) - {"d03"}
    assert (fleet.report("old")["superseded"], fleet.report("old")["pending"]) == (1, 19)


def test_undoing_gives_each_device_what_it_had(fleet):
    fleet.deploy("old", devices=["d01", "d02"])
    fleet.deploy("new")
    having(fleet, "new")
    fleet.tell("new", "FAIL", "d01", "d05")
    undone = service.undo(fleet.store, "f", "new", now=101.0)
    assert fleet.report("new")["state"] == "aborted"
    assert fleet.ask("d01") == fleet.ask("d02") == [(undone.name, "s3://m/old")]
    assert fleet.ask("d05") == fleet.ask("d06") == [(undone.name, None)], "an undeployment"
    fleet.tell(undone.name, "SUCCESS", *NAMES)
    report = fleet.report(undone.name)
    assert (report["state"], report["undoes"], report["succeeded"]) == ("completed", "new", 20)


def test_undoing_leaves_alone_what_came_later(fleet):
    fleet.deploy("one")
    having(fleet, "one")
    fleet.tell("one", "SUCCESS", *NAMES)
    fleet.deploy("two", devices=["d01"])
    undone = service.undo(fleet.store, "f", "one", now=101.0)
    assert fleet.ask("d01") == [("two", "s3://m/two")]
    assert fleet.report(undone.name)["superseded"] == 1
    assert fleet.report("one")["state"] == "completed"


def test_undoing_what_nobody_heard_of_is_aborting(fleet):
    fleet.deploy("one", devices=["d01"])
    assert service.undo(fleet.store, "f", "one", now=101.0).name == "one"
    assert fleet.ask("d01") == []


def test_undoing_twice_undoes_once(fleet):
    fleet.deploy("one", devices=["d01"])
    having(fleet, "one")
    fleet.tell("one", "SUCCESS", "d01")
    undone = service.undo(fleet.store, "f", "one", now=101.0)
    assert service.undo(fleet.store, "f", "one", now=102.0).name == "one"
    assert fleet.ask("d01") == [(undone.name, None)]


def test_a_rollout_under_way_is_never_put_over_a_newer_file(fleet):
    devices = fleet.deploy("one", rules=STAGED)
    with pytest.raises(ManagerError, match="one has not reached all its devices, and would then replace this kws"):
        fleet.deploy("two", devices=devices[5:6])
    assert Rollouts(fleet.store).find("f", "two") is None
    fleet.deploy("three", devices=devices[:1])
    fleet.deploy("four", handle="vad")
    service.switch(fleet.store, "f", "one", State.ABORTED, now=101.0)
    fleet.deploy("two", devices=devices[5:6])


def test_a_name_comes_once_in_a_fleet(fleet):
    fleet.deploy("one", devices=["d01"])
    with pytest.raises(ManagerError, match="a deployment named one was there before"):
        fleet.deploy("one", devices=["d02"])


def test_a_deregistered_device_counts_no_more(fleet):
    devices = fleet.deploy("one")
    fleet.tell("one", "SUCCESS", *devices[1:])
    assert fleet.report("one")["state"] == "running"
    fleet.store.deregister("f", devices[0])
    assert fleet.rolling.advance_all(101.0)
    assert (fleet.report("one")["state"], fleet.report("one")["devices"]) == ("completed", 19)


def test_a_large_stage_is_given_in_slices(store):
    fleet = Fleet(store, [f"e{number}" for number in range(250)])
    draft = Draft("f", "one", "kws", "DO_NOTHING", (Definition("kws"),))
    number = Rollouts(store).begin(draft, lambda _: list(store.numbers("f").values()), 1.0)
    waiting = []
    while fleet.rolling.advance(number, 1.0):
        waiting.append(fleet.report("one").get("waiting", 0))
    assert waiting == [150, 50, 0]


def test_a_command_leaves_a_large_fleet_to_the_service(store, monkeypatch):
    """So does undoing: what is not withdrawn yet gets what was before, like what was fetched."""
    monkeypatch.setattr("gateway.manager.rollouts.runner.SLICE", 1)
    fleet = Fleet(store, [f"e{number}" for number in range(60)])
    fleet.deploy("one")
    assert (fleet.report("one")["pending"], fleet.report("one")["waiting"]) == (20, 40)
    while fleet.rolling.advance_all(101.0):
        pass
    undone = service.undo(store, "f", "one", now=102.0).name
    while fleet.rolling.advance_all(103.0):
        pass
    assert {tuple(fleet.ask(f"e{number}")) for number in range(60)} == {(), ((undone, None),)}


def test_a_step_that_fails_is_not_taken(fleet, monkeypatch):
    fleet.store.connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON deployments BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(sqlite3.Error, match="disk full"):
        fleet.deploy("one")
    assert fleet.report("one")["waiting"] == 20
    fleet.store.connection.execute("DROP TRIGGER full")
    while fleet.rolling.advance_all(101.0):
        pass
    assert having(fleet, "one") == set(NAMES)


# A file of the format before rollouts


@pytest.fixture
def old_file(tmp_path):
    """As the first version wrote it: kws-1 on two devices, told as SUCCESS by one, replaced by kws-3 on the other."""
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
    store = open_store(old_file, create=False)
    fleet = Fleet(store, [])
    assert [fleet.ask(device) for device in ("d1", "d2")] == [[("kws-1", "s3://m/k")], [("kws-3", "s3://m/k")]]
    one, three = fleet.report("kws-1"), fleet.report("kws-3")
    assert (one["devices"], one["succeeded"], one["superseded"], one["created"]) == (2, 1, 1, 5.0)
    assert (three["devices"], three["pending"], three["state"]) == (1, 1, "running")
    fleet.tell("kws-3", "SUCCESS", "d2")
    while fleet.rolling.advance_all(8.0):
        pass
    assert {fleet.report(name)["state"] for name in ("kws-1", "kws-3")} == {"completed"}
    assert Rollouts(store).next_number() == 4, "a name made of a number never comes twice"
    store.close()
    open_store(old_file, create=False).close()


def test_an_empty_file_of_an_earlier_version(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    for statement in FORMATS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = open_store(tmp_path, create=False)
    assert Fleet(store).deploy(None, devices=["d01"])
    assert [each.name for each in Rollouts(store).of_fleet()] == ["kws-1"]
    store.close()
