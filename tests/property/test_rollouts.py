"""What a device is given, over any order of what operators, devices and clocks do: the real store against plain rules.

The rules are those of gateway/manager/README.md, "What a device is given": `Model.settle` and `Model.undo` are they.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from gateway.manager.api import ModelDefinition
from gateway.manager.errors import ManagerError
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import (
    AT_ONCE,
    PENDING,
    REPLACED,
    NewRollout,
    Rollout,
    RolloutRepository,
    RolloutRules,
    RolloutRunner,
    RolloutState,
    Stage,
    actions,
    runner,
)
from gateway.manager.store import FILE, Place, open_store
from gateway.manager.store.tables import DEVICES, ROLLOUT_COUNTS, ROLLOUT_DEVICES
from tests.support.stores import do_not_sync

DAY = 86_400.0
WAIT = 20.0
SILENT = 25.0
WATCHED = RolloutRules(
    (Stage(Fraction(1, 2), Fraction(1)), Stage(Fraction(1))), Fraction(1, 2), 2, SILENT, Fraction(1, 2)
)
"""A device is silent once it has sent no heartbeat for `SILENT` seconds; half of a stage's devices may be."""
STAGED = RolloutRules((Stage(Fraction(1, 2), Fraction(1, 2), WAIT), Stage(Fraction(1))), Fraction(1, 2), 2)
RUNNING = ("running", "completed")
NAMES = ["d1", "d2", "d3"]
RULES = st.sampled_from([AT_ONCE, STAGED, WATCHED])
HANDLES = st.sampled_from(["a", "a", "b"])


@dataclass
class Deployed:
    """A deployment. `devices`: those that it is for, in order; `gives`: what the devices that it reached get."""

    name: str
    handle: str
    devices: list[str]
    rules: RolloutRules
    undoes: str | None = None
    state: str = "running"
    stage: int = 0
    halted: bool = False
    since: float = 0.0
    gives: dict[str, str | None] = field(default_factory=dict)


@dataclass
class Device:
    """`plans`: handle -> the deployments that reached it, the newest last. `over`: those that are never given again."""

    plans: dict[str, list[str]] = field(default_factory=lambda: {"a": [], "b": []})
    over: list[str] = field(default_factory=list)
    waits: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)
    results: dict[str, tuple[int, str]] = field(default_factory=dict)
    heard: float = 0.0

    def succeeded(self, name: str) -> bool:
        return self.results.get(name, (0, ""))[1] == "SUCCESS"


class Model:
    """The rules. Which state and stage a rollout has is the store's: `test_decisions` has the rules of these."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.known: dict[str, Deployed] = {}

    def given(self, device: str) -> list[tuple[str, str | None]]:
        """The newest of each handle."""
        tops = [each[-1] for each in self.devices[device].plans.values() if each]
        return sorted((each, self.known[each].gives[device]) for each in tops)

    def add(self, new: Deployed) -> None:
        self.known[new.name] = new
        for device in new.devices:
            self.devices[device].waits.add(new.name)

    def settle(self) -> None:
        """What is paused or halted goes where it was not fetched; what runs comes to the devices of its stage."""
        while any(self._take_back(each) for each in self.known.values()):
            pass
        for each in self.known.values():
            self._give(each)

    def _take_back(self, one: Deployed) -> bool:
        if one.state in RUNNING and not one.halted:
            return False
        changed = False
        for device in self.devices.values():
            plan = device.plans[one.handle]
            if plan[-1:] == [one.name] and one.name not in device.fetched:
                plan.pop()
                if not one.halted:
                    device.waits.add(one.name)
                while plan and self.known[plan[-1]].halted:  # never again
                    device.over.append(plan.pop())
                changed = True
        return changed

    def _give(self, one: Deployed) -> None:
        if one.state != "running":
            return
        there = [each for each in one.devices if each in self.devices]
        waiting = [each for each in there if one.name in self.devices[each].waits]
        missing = -(-one.rules.stages[one.stage].share * len(there) // 1) - (len(there) - len(waiting))
        for name in waiting[: max(0, int(missing))]:
            device = self.devices[name]
            device.waits.discard(one.name)
            plan, order = device.plans[one.handle], list(self.known)
            if plan and order.index(plan[-1]) > order.index(one.name):
                continue  # what is newer stays
            if one.undoes is not None:
                found = self.undo(device, name, one.undoes)
                if found is None:
                    continue
                one.gives[name] = found[0]
            else:
                one.gives[name] = one.name
            plan.append(one.name)

    def undo(self, device: Device, name: str, undone: str) -> tuple[str | None] | None:
        """What the device had before that: the newest that it said to have, and that is not halted; else nothing."""
        plan = device.plans[self.known[undone].handle]
        newest = plan[-1:] == [undone] or (undone in device.over and self._was_newest(device, undone))
        if not newest or undone not in device.fetched:
            return None
        for each in reversed(plan):
            if each != undone and device.succeeded(each) and not self.known[each].halted:
                return (self.known[each].gives[name],)
        return (None,)

    def _was_newest(self, device: Device, name: str) -> bool:
        order = list(self.known)
        plan = device.plans[self.known[name].handle]
        return all(order.index(each) < order.index(name) for each in plan)


class Rollouts(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        shutil.copy(self.template, Path(self.folder.name) / FILE)
        self.store = open_store(Place(Path(self.folder.name)), create=False)
        sa.event.listen(self.store.engine, "checkout", do_not_sync)
        self.now, self.steady = 1000.0, 0.0
        self.runner = RolloutRunner(self.store, lambda: self.steady)
        self.api = EdgeApi(self.store)
        self.model = Model()

    def teardown(self) -> None:
        self.check_counts()
        self.store.close()
        self.folder.cleanup()

    @initialize()
    def register_all(self) -> None:
        self.store.write(lambda transaction: transaction.register("f", NAMES, self.now))
        self.model.devices = {name: Device() for name in NAMES}

    def settle(self) -> None:
        """The service takes every step that is due; then each device is to be given what the rules say."""
        while self.runner.advance_all(self.now):
            pass
        found = self.store.read(lambda transaction: RolloutRepository(transaction).list_rollouts())
        for each in found:
            one = self.model.known[each.name]
            if each.progress.stage > one.stage:
                assert each.progress.stage == one.stage + 1
            if one.rules is WATCHED:
                self.check_gate(each, one)
            elif each.progress.stage > one.stage:
                assert self.steady - one.since >= WAIT
            one.state, one.stage = str(each.progress.state), each.progress.stage
            one.halted |= one.state in ("aborted", "stopped")
        self.model.settle()
        numbers = self.store.read(lambda transaction: transaction.device_ids("f"))
        in_force = self.store.read(lambda transaction: transaction.deployments_in_force(numbers.values()))
        for name, number in numbers.items():
            given = [(each.name, definition.url) for each in in_force[number] for definition in each.definitions]
            assert sorted(given) == self.model.given(name), name

    def check_gate(self, rollout: Rollout, one: Deployed) -> None:
        """A stage ended without a device that is pending only where that is silent, and not too many are."""
        ended = rollout.progress.stage > one.stage or (rollout.progress.state == "completed" and one.state == "running")
        if not ended:
            return
        select = sa.select(DEVICES.c.name, ROLLOUT_DEVICES.c.state).join_from(ROLLOUT_DEVICES, DEVICES)
        select = select.where(ROLLOUT_DEVICES.c.rollout == rollout.id).order_by(ROLLOUT_DEVICES.c.place)
        states = self.store.read(lambda transaction: transaction.connection.execute(select).all())
        size = -(-one.rules.stages[one.stage].share * len(states) // 1)
        counted = [(name, state) for name, state in states[: int(size)] if state not in REPLACED]
        pending = [name for name, state in counted if state in PENDING]
        for name in pending:
            assert self.steady - max(self.model.devices[name].heard, one.since) >= SILENT, name
        assert len(pending) <= one.rules.max_silent * len(counted)

    def check_counts(self) -> None:
        rollout, state = ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state
        by_rows = sa.select(rollout, state, sa.func.count()).group_by(rollout, state)
        selects = (sa.select(ROLLOUT_COUNTS), by_rows)
        kept, real = self.store.read(
            lambda transaction: [transaction.connection.execute(each).all() for each in selects]
        )
        assert {tuple(each) for each in kept if each[2]} == {tuple(each) for each in real}

    def call(self, operation: str, device: str, **members: object) -> object:
        body = {"DeviceFleetName": "f", "DeviceName": device} | members
        return self.api.handle(operation, json.dumps(body).encode(), self.now)

    @rule(handle=HANDLES, devices=st.sets(st.sampled_from(NAMES), min_size=1), rules=RULES)
    def deploy(self, handle: str, devices: set[str], rules: RolloutRules) -> None:
        chosen = sorted(devices & self.model.devices.keys())
        if not chosen:
            return
        numbers = self.store.read(lambda transaction: transaction.device_ids("f", chosen))
        name = f"n{len(self.model.known)}"
        new = NewRollout("f", name, handle, "DO_NOTHING", (ModelDefinition(handle, url=name),), rules)
        try:
            self.runner.create(new, lambda _: [numbers[each] for each in chosen], self.now)
        except ManagerError:
            self.settle()
            return
        self.model.add(Deployed(name, handle, chosen, rules, since=self.steady))
        self.settle()

    @rule(device=st.sampled_from(NAMES))
    def fetch(self, device: str) -> None:
        if device in self.model.devices:
            answer = self.call("GetDeployments", device)["Deployments"]  # type: ignore[index]
            given = [(each["DeploymentName"], one.get("S3Url")) for each in answer for one in each["Definitions"]]
            assert sorted(given) == self.model.given(device)
            self.model.devices[device].fetched |= {name for name, _ in given}
            self.settle()

    @rule(
        data=st.data(),
        device=st.sampled_from(NAMES),
        ended=st.integers(1, 4),
        status=st.sampled_from(["SUCCESS", "FAIL"]),
    )
    def report(self, data: st.DataObject, device: str, ended: int, status: str) -> None:
        known = self.model.devices.get(device)
        if known is None or not known.fetched:
            return
        name = data.draw(st.sampled_from(sorted(known.fetched)))
        result = {"DeploymentName": name, "DeploymentStatus": status, "DeploymentEndTime": ended}
        self.call("SendHeartbeat", device, AgentVersion="1", DeploymentResult=result)
        known.heard = self.steady
        if ended >= known.results.get(name, (0, ""))[0]:
            known.results[name] = (ended, status)
        self.settle()

    @rule(device=st.sampled_from(NAMES))
    def heartbeat(self, device: str) -> None:
        if device in self.model.devices:
            self.call("SendHeartbeat", device, AgentVersion="1")
            self.model.devices[device].heard = self.steady
            self.settle()

    @precondition(lambda self: self.model.known)
    @rule(data=st.data(), state=st.sampled_from(["paused", "running", "aborted"]))
    def set_state(self, data: st.DataObject, state: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.known)))
        try:
            actions.set_state(self.store, "f", name, RolloutState(state), now=self.now)
        except ManagerError:
            assert self.model.known[name].state not in ("paused", "running")
        self.settle()

    @precondition(lambda self: self.model.known)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.known)))
        undone = self.model.known[name]
        try:
            undoing = actions.undo(self.store, "f", name, now=self.now)
        except ManagerError:
            self.settle()  # it changes nothing
            return
        if undoing is not None and undoing.undoes is not None:
            undone.halted = True
            rows = sa.select(ROLLOUT_DEVICES.c.device).where(ROLLOUT_DEVICES.c.rollout == undoing.id)
            order = rows.order_by(ROLLOUT_DEVICES.c.place)
            numbers = self.store.read(lambda transaction: transaction.connection.scalars(order).all())
            names = {number: each for each, number in self.store.read(lambda each: each.device_ids("f")).items()}
            had = {each for each in self.model.devices if self.model.undo(self.model.devices[each], each, name)}
            assert had <= {names[each] for each in numbers}
            self.model.add(Deployed(undoing.name, undone.handle, [names[each] for each in numbers], AT_ONCE, name))
        self.settle()

    @rule(device=st.sampled_from(NAMES))
    def deregister_and_register(self, device: str) -> None:
        """A new device of that name has nothing."""
        self.store.write(lambda transaction: transaction.deregister("f", device))
        self.model.devices.pop(device)
        for each in self.model.known.values():
            each.devices = [name for name in each.devices if name != device]
        self.store.write(lambda transaction: transaction.register("f", [device], self.now))
        self.model.devices[device] = Device()
        self.settle()

    @rule(seconds=st.sampled_from([1.0, 6.0, 30.0]), jump=st.sampled_from([0.0, 0.0, DAY, -DAY]))
    def pass_time(self, seconds: float, jump: float) -> None:
        self.steady += seconds
        self.now += seconds + jump
        self.settle()


def test_a_device_is_given_what_the_rules_say(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PAUSE", 0.0)
    monkeypatch.setattr(Rollouts, "template", template, raising=False)
    run_state_machine_as_test(Rollouts, settings=settings(max_examples=40, stateful_step_count=25))
