"""Deployment plans over any order of what operators, commands, devices and the background do, which may be killed.

The rules are those of gateway/manager/README.md, "Plans and stages".
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gateway.manager.control import ArnScope, Caller, ControlApi, StageStarts
from gateway.manager.errors import ApiError, ManagerError
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import RolloutRunner, RolloutState, actions
from gateway.manager.store import FILE, ObjectStore, Place, open_store
from gateway.manager.store.control_tables import PACKAGES, PLAN_STAGES
from gateway.manager.store.tables import DEVICES, ROLLOUT_COUNTS, ROLLOUT_DEVICES, ROLLOUTS
from tests.support.stores import do_not_sync

NAMES = ["d1", "d2", "d3", "d4"]
PLANS = st.sampled_from(["p", "p", "p", "q"])
STAGES = st.sampled_from(["s1", "s2", "s3"])
ACTIVE = {"STARTING", "INPROGRESS", "STOPPING"}
STATUSES = ACTIVE | {"READYTODEPLOY", "DEPLOYED", "FAILED", "STOPPED"}
SELECTIONS = st.one_of(
    st.builds(lambda each: {"DeviceSubsetType": "PERCENTAGE", "Percentage": each}, st.sampled_from([1, 50, 100])),
    st.builds(
        lambda each: {"DeviceSubsetType": "SELECTION", "DeviceNames": sorted(each)},
        st.sets(st.sampled_from(NAMES), min_size=1),
    ),
    st.builds(
        lambda each: {"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": each}, st.sampled_from(["d", "3", "no"])
    ),
)


class Plans(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        shutil.copy(self.template, Path(self.folder.name) / FILE)
        self.store = open_store(Place(Path(self.folder.name)), create=False)
        sa.event.listen(self.store.engine, "checkout", do_not_sync)
        self.now = 1000.0
        objects = ObjectStore(Path(self.folder.name), self.store)
        self.control, self.api = ControlApi(self.store, objects, ArnScope()), EdgeApi(self.store)
        self.runner = RolloutRunner(self.store)
        self.processes = [StageStarts(self.store), StageStarts(self.store)]
        self.stopped: set[tuple[str, str]] = set()
        self.fetched: dict[str, set[str]] = {name: set() for name in NAMES}

    def teardown(self) -> None:
        self.check_nothing_is_left()
        self.store.close()
        self.folder.cleanup()

    # What is asked

    def call(self, operation: str, **members: Any) -> Any:
        """The output; the code of the error, as text."""
        self.now += 1.0
        try:
            body = json.dumps(members).encode()
            return json.loads(self.control.handle(f"SageMaker.{operation}", body, Caller(), self.now))
        except ApiError as error:
            return error.code

    def stages(self, plan: str) -> dict[str, dict[str, Any]] | None:
        """Its stages by name; None: there is no such plan."""
        found = self.call("DescribeEdgeDeploymentPlan", EdgeDeploymentPlanName=plan)
        if isinstance(found, str):
            return None
        statuses = {each["StageName"]: each["DeploymentStatus"] for each in found["Stages"]}
        for each in ("Success", "Pending", "Failed"):
            counted = sum(one[f"EdgeDeployment{each}InStage"] for one in statuses.values())
            assert found[f"EdgeDeployment{each}"] == counted
        return statuses

    def rows(self, select: sa.Select[Any]) -> list[tuple[Any, ...]]:
        return self.store.read(lambda transaction: [tuple(row) for row in transaction.connection.execute(select)])

    def was_started(self, plan: str) -> set[str]:
        joined = sa.select(PLAN_STAGES.c.name).join_from(PLAN_STAGES, ROLLOUTS).where(ROLLOUTS.c.plan == plan)
        return {name for (name,) in self.rows(joined)}

    # What happens

    @initialize(stages=st.lists(SELECTIONS, min_size=2, max_size=3), both=st.booleans())
    def begin(self, stages: list[dict[str, Any]], both: bool) -> None:
        file = {"url": "s3://m/k", "size": 1, "sha1": "0" * 40}
        package = {"name": "k", "request": "{}", "model": "k", "version": "1", "status": "COMPLETED", **file}
        insert = sa.insert(PACKAGES).values(**package, created=1.0, changed=1.0)
        self.store.write(lambda transaction: transaction.connection.execute(insert))
        self.store.write(lambda transaction: transaction.register("f", NAMES, self.now))
        self.create_plan("p")
        for number, selection in enumerate(stages, 1):
            self.create_stage("p", f"s{number}", selection)
        for stage in ("s1", "s2") if both else ("s1",):
            self.change_stage("p", stage, "Start")

    @rule(plan=PLANS)
    def create_plan(self, plan: str) -> None:
        before = self.stages(plan)
        models = [{"ModelHandle": plan, "EdgePackagingJobName": "k"}]
        members = {"EdgeDeploymentPlanName": plan, "DeviceFleetName": "f", "ModelConfigs": models}
        assert (self.call("CreateEdgeDeploymentPlan", **members) == "ResourceInUse") == (before is not None)

    @rule(plan=PLANS)
    def delete_plan(self, plan: str) -> None:
        before, given = self.stages(plan), self.given()
        answer = self.call("DeleteEdgeDeploymentPlan", EdgeDeploymentPlanName=plan)
        if before is None:
            assert answer == "ValidationException"
        elif any(each["StageStatus"] in ACTIVE for each in before.values()):
            assert answer == "ResourceInUse"
        else:
            assert answer == {}
            assert self.stages(plan) is None
            self.stopped = {each for each in self.stopped if each[0] != plan}
        assert self.given() == given

    @rule(plan=PLANS, stage=STAGES, selection=SELECTIONS)
    def create_stage(self, plan: str, stage: str, selection: dict[str, Any]) -> None:
        before = self.stages(plan)
        stages = [{"StageName": stage, "DeviceSelectionConfig": selection}]
        answer = self.call("CreateEdgeDeploymentStage", EdgeDeploymentPlanName=plan, Stages=stages)
        assert answer == ("ValidationException" if before is None or stage in before else {})

    @rule(plan=PLANS, stage=STAGES, operation=st.sampled_from(["Start", "Start", "Stop", "Delete"]))
    def change_stage(self, plan: str, stage: str, operation: str) -> None:
        before, started = self.stages(plan) or {}, self.was_started(plan)
        answer = self.call(f"{operation}EdgeDeploymentStage", EdgeDeploymentPlanName=plan, StageName=stage)
        status = before[stage]["StageStatus"] if stage in before else None
        is_right = status in ACTIVE if operation == "Stop" else not (stage in started or status in ACTIVE)
        if status is None or not is_right:
            assert answer == (
                "ResourceInUse" if status is not None and operation == "Delete" else "ValidationException"
            )
            return
        assert answer == {}
        change = self.stopped.add if operation == "Stop" else self.stopped.discard
        change((plan, stage))
        after = (self.stages(plan) or {}).get(stage, {}).get("StageStatus")
        expected = {"Start": ("STARTING",), "Stop": ("STOPPING", "STOPPED"), "Delete": (None,)}
        assert after in expected[operation]

    @rule(process=st.integers(0, 1), steps=st.integers(1, 6), is_killed=st.sampled_from([False, False, True]))
    def work(self, process: int, steps: int, is_killed: bool) -> None:
        """Of a process that is killed another one takes the place."""
        for _ in range(steps):
            self.processes[process].step(self.now)
        if is_killed:
            self.processes[process] = StageStarts(self.store)

    @rule()
    def settle(self) -> None:
        """The background has nothing to do."""
        one, other = self.processes
        while one.step(self.now) | other.step(self.now) | self.runner.advance_all(self.now):
            pass
        for plan in ("p", "q"):
            for name, status in (self.stages(plan) or {}).items():
                assert status["StageStatus"] not in ("STARTING", "STOPPING")
                assert status["StageStatus"] == "STOPPED" or (plan, name) not in self.stopped

    @rule(device=st.sampled_from(NAMES))
    def fetch(self, device: str) -> None:
        body = json.dumps({"DeviceFleetName": "f", "DeviceName": device}).encode()
        answer: Any = self.api.handle("GetDeployments", body, self.now)
        self.fetched[device] |= {each["DeploymentName"] for each in answer["Deployments"]}

    @rule(data=st.data(), device=st.sampled_from(NAMES), status=st.sampled_from(["SUCCESS", "FAIL"]))
    def report(self, data: st.DataObject, device: str, status: str) -> None:
        if self.fetched[device]:
            name = data.draw(st.sampled_from(sorted(self.fetched[device])))
            result = {"DeploymentName": name, "DeploymentStatus": status}
            body = {"DeviceFleetName": "f", "DeviceName": device, "AgentVersion": "1", "DeploymentResult": result}
            self.api.handle("SendHeartbeat", json.dumps(body).encode(), self.now)

    @rule(device=st.sampled_from(NAMES))
    def deregister_and_register(self, device: str) -> None:
        self.store.write(lambda transaction: transaction.deregister("f", device))
        self.fetched[device] = set()
        self.store.write(lambda transaction: transaction.register("f", [device], self.now))

    @rule(data=st.data(), state=st.sampled_from([RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ABORTED]))
    def command(self, data: st.DataObject, state: RolloutState) -> None:
        found = self.rows(sa.select(ROLLOUTS.c.name).where(ROLLOUTS.c.state.in_(("running", "paused"))))
        if found:
            (name,) = data.draw(st.sampled_from(sorted(found)))
            try:
                actions.set_state(self.store, "f", name, state, now=self.now)
            except ManagerError:
                pass  # it has ended

    # What is true

    def given(self) -> dict[int, list[str]]:
        numbers = self.store.read(lambda transaction: transaction.device_ids("f"))
        in_force = self.store.read(lambda transaction: transaction.deployments_in_force(numbers.values()))
        return {device: [each.name for each in found] for device, found in in_force.items()}

    @invariant()
    def stages_and_their_devices(self) -> None:
        for plan in ("p", "q"):
            statuses = self.stages(plan) or {}
            started = self.was_started(plan)
            holders: list[str] = []
            for name, status in statuses.items():
                assert status["StageStatus"] in STATUSES
                devices = self.devices(plan, name)
                if name in started:
                    counted = [status[f"EdgeDeployment{each}InStage"] for each in ("Success", "Pending", "Failed")]
                    assert sum(counted) == len(devices)
                    holders += [each for each, state in devices.items() if state != "STOPPED"]
                else:
                    assert set(devices.values()) <= {"READYTODEPLOY"}
            assert len(holders) == len(set(holders)), plan

    def devices(self, plan: str, stage: str) -> dict[str, str]:
        """By pages of two."""
        found: list[Any] = []
        options: dict[str, Any] = {"EdgeDeploymentPlanName": plan, "StageName": stage, "MaxResults": 2}
        while True:
            answer = self.call("ListStageDevices", **options)
            found += answer["DeviceDeploymentSummaries"]
            if "NextToken" not in answer:
                break
            options["NextToken"] = answer["NextToken"]
        by_name = {each["DeviceName"]: each["DeviceDeploymentStatus"] for each in found}
        assert len(by_name) == len(found)
        return by_name

    def check_nothing_is_left(self) -> None:
        """An hour later: no rollout half made, none of a plan that no stage of it names, and counts that are right."""
        self.now += 7200.0
        self.settle()
        assert not self.rows(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.state == "preparing"))
        rollout, state = ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state
        kept = self.rows(sa.select(ROLLOUT_COUNTS).where(ROLLOUT_COUNTS.c.devices != 0))
        assert sorted(kept) == sorted(self.rows(sa.select(rollout, state, sa.func.count()).group_by(rollout, state)))
        named = [
            number
            for (number,) in self.rows(sa.select(PLAN_STAGES.c.rollout).where(PLAN_STAGES.c.rollout.is_not(None)))
        ]
        assert len(named) == len(set(named))
        running = {
            number
            for (number,) in self.rows(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.state.in_(("running", "paused"))))
        }
        assert running <= set(named)
        assert len(self.rows(sa.select(DEVICES.c.id))) == len(NAMES)


def test_plans_keep_their_rules(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.manager.rollouts.runner.PAUSE", 0.0)
    monkeypatch.setattr("gateway.manager.rollouts.repository.PART", 2)
    monkeypatch.setattr(Plans, "template", template, raising=False)
    run_state_machine_as_test(Plans, settings=settings(max_examples=20, stateful_step_count=25))
