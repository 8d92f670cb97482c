"""Deployment plans and their stages as boto3 sees them, and as the commands do."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from gateway.manager import Place
from gateway.manager.api import ModelDefinition
from gateway.manager.control import ArnScope, Caller, ControlApi, StageStarts, fleet_parts, stage_devices
from gateway.manager.control.model import load_service_model
from gateway.manager.errors import ApiError, ManagerError
from gateway.manager.rollouts import (
    NewRollout,
    RolloutRepository,
    RolloutRules,
    RolloutRunner,
    RolloutState,
    Stage,
    actions,
    rollout_order,
)
from gateway.manager.store import ObjectStore, Store
from gateway.manager.store.control_tables import PACKAGES, PLAN_STAGES
from gateway.manager.store.tables import DEVICES as DEVICE_ROWS
from gateway.manager.store.tables import ROLLOUT_DEVICES, ROLLOUTS
from tests.support.arrivals import DEADLINE_S
from tests.support.served_manager import ServedManager

CONTENT = b"kws!"
SHA1 = hashlib.sha1(CONTENT).hexdigest()
MODELS = [{"ModelHandle": "kws", "EdgePackagingJobName": "kws-1"}]
DEVICES = [f"dev-{number}" for number in range(10)]
ALL = {"DeviceSubsetType": "PERCENTAGE", "Percentage": 100}


@pytest.fixture(autouse=True)
def _filled(place: Place, store: Store) -> None:
    """A fleet of ten devices, and a package; before the manager serves, and open beside it."""
    store.write(lambda transaction: transaction.register("barn", DEVICES, 1.0))
    path = Path(place.data, "objects", "models", "kws-1")
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    add_package(store, "kws-1")


def add_package(store: Store, name: str, status: str = "COMPLETED") -> None:
    of_content = {"size": len(CONTENT), "sha1": SHA1}
    file = {"url": f"s3://models/{name}", **of_content} if status == "COMPLETED" else {}
    row = {"name": name, "request": "{}", "model": "kws", "version": "1", "status": status, "created": 1, "changed": 1}
    store.write(lambda transaction: transaction.connection.execute(sa.insert(PACKAGES), {**row, **file}))


def stage(name: str, selection: dict[str, Any] | None = None, policy: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"StageName": name, "DeviceSelectionConfig": selection or ALL}
    return made if policy is None else made | {"DeploymentConfig": {"FailureHandlingPolicy": policy}}


def make_plan(sagemaker: Any, *stages: dict[str, Any], name: str = "p") -> None:
    sagemaker.create_edge_deployment_plan(
        EdgeDeploymentPlanName=name, ModelConfigs=MODELS, DeviceFleetName="barn", Stages=list(stages)
    )


def start(sagemaker: Any, name: str, plan: str = "p") -> None:
    sagemaker.start_edge_deployment_stage(EdgeDeploymentPlanName=plan, StageName=name)


def described(sagemaker: Any, plan: str = "p") -> dict[str, Any]:
    """Stage -> its DeploymentStatus."""
    found = sagemaker.describe_edge_deployment_plan(EdgeDeploymentPlanName=plan)
    return {each["StageName"]: each["DeploymentStatus"] for each in found["Stages"]}


def until_status(sagemaker: Any, name: str, *statuses: str, plan: str = "p") -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while (found := described(sagemaker, plan)[name])["StageStatus"] not in statuses:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return dict(found)


def listed(sagemaker: Any, name: str, plan: str = "p", **options: Any) -> list[dict[str, Any]]:
    pages = sagemaker.get_paginator("list_stage_devices").paginate(
        EdgeDeploymentPlanName=plan, StageName=name, PaginationConfig={"PageSize": 2}, **options
    )
    found = list(pages)
    assert all(len(each["DeviceDeploymentSummaries"]) <= 2 for each in found)
    return [each for page in found for each in page["DeviceDeploymentSummaries"]]


def names(summaries: list[dict[str, Any]]) -> list[str]:
    return [each["DeviceName"] for each in summaries]


def statuses(summaries: list[dict[str, Any]]) -> dict[str, str]:
    return {each["DeviceName"]: each["DeviceDeploymentStatus"] for each in summaries}


def fetch(served: ServedManager, device: str) -> list[dict[str, Any]]:
    found = served.client("sagemaker-edge").get_deployments(DeviceName=device, DeviceFleetName="barn")
    return list(found.get("Deployments", []))


def report(served: ServedManager, device: str, status: str = "SUCCESS") -> None:
    """The device fetches, and reports a result of its newest deployment."""
    result = {"DeploymentName": fetch(served, device)[-1]["DeploymentName"], "DeploymentStatus": status}
    result |= {"DeploymentStatusMessage": f"it is a {status}"}
    served.client("sagemaker-edge").send_heartbeat(
        DeviceName=device, DeviceFleetName="barn", AgentVersion="1", DeploymentResult=result
    )


@contextmanager
def refused(match: str, code: str = "ValidationException") -> Iterator[None]:
    with pytest.raises(ClientError, match=match) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == code


def test_the_flow_of_aws(served: ServedManager, sagemaker: Any, store: Store) -> None:
    """A plan without stages, a stage, its start, DEPLOYED; the plan is deleted, and the device keeps the model."""
    make_plan(sagemaker)
    only = {"DeviceSubsetType": "SELECTION", "DeviceNames": ["dev-3"]}
    sagemaker.create_edge_deployment_stage(EdgeDeploymentPlanName="p", Stages=[stage("one", only, "DO_NOTHING")])
    found = sagemaker.describe_edge_deployment_plan(EdgeDeploymentPlanName="p")
    assert found["EdgeDeploymentPlanArn"] == "arn:aws:sagemaker:us-east-1:000000000000:edge-deployment/p"
    assert (found["ModelConfigs"], found["DeviceFleetName"]) == (MODELS, "barn")
    [described_stage] = found["Stages"]
    assert described_stage["DeviceSelectionConfig"] == only
    assert described_stage["DeploymentConfig"] == {"FailureHandlingPolicy": "DO_NOTHING"}
    assert described_stage["DeploymentStatus"]["StageStatus"] == "READYTODEPLOY"
    start(sagemaker, "one")
    with refused("STARTING|INPROGRESS", "ResourceInUse"):
        sagemaker.delete_edge_deployment_plan(EdgeDeploymentPlanName="p")
    status = until_status(sagemaker, "one", "INPROGRESS")
    assert (status["EdgeDeploymentPendingInStage"], status["EdgeDeploymentSuccessInStage"]) == (1, 0)
    assert status["EdgeDeploymentStageStartTime"] >= found["CreationTime"]
    [given] = _until(lambda: fetch(served, "dev-3"))
    assert given["FailureHandlingPolicy"] == "DO_NOTHING"
    definition = {"ModelHandle": "kws", "S3Url": "s3://models/kws-1", "Checksum": {"Type": "SHA1", "Sum": SHA1}}
    assert given["Definitions"] == [definition | {"State": "DEPLOY"}]
    assert given["DeploymentName"].startswith("p-")
    report(served, "dev-3")
    until_status(sagemaker, "one", "DEPLOYED")
    [device] = listed(sagemaker, "one")
    assert (device["DeviceDeploymentStatus"], device["DeployedStageName"]) == ("DEPLOYED", "one")
    assert device["DeviceArn"].endswith("device-fleet/barn/device/dev-3")
    assert device["DeploymentStartTime"] >= status["EdgeDeploymentStageStartTime"]
    sagemaker.delete_edge_deployment_plan(EdgeDeploymentPlanName="p")
    with refused("No edge deployment plan with name p"):
        described(sagemaker)
    assert sagemaker.list_edge_deployment_plans()["EdgeDeploymentPlanSummaries"] == []
    assert [each["DeploymentName"] for each in fetch(served, "dev-3")] == [given["DeploymentName"]]
    [rollout] = store.read(lambda transaction: RolloutRepository(transaction).list_rollouts("barn"))
    assert (rollout.name, rollout.plan) == (given["DeploymentName"], "p")


def _until(found: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + DEADLINE_S
    while not (what := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return what


def test_percentages_are_cumulative(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, stage("first", ALL | {"Percentage": 15}), stage("rest"))
    asked = listed(sagemaker, "rest")
    assert statuses(asked) == dict.fromkeys(DEVICES, "READYTODEPLOY")
    order = rollout_order("p", DEVICES)
    assert names(asked) == sorted(DEVICES)
    assert names(listed(sagemaker, "first")) == sorted(order[:2])
    start(sagemaker, "first")
    until_status(sagemaker, "first", "INPROGRESS")
    assert names(listed(sagemaker, "first")) == order[:2]
    assert {each.get("DeployedStageName") for each in listed(sagemaker, "rest")} == {"first", None}
    others = listed(sagemaker, "rest", ExcludeDevicesDeployedInOtherStage=True)
    assert names(others) == sorted(order[2:])
    start(sagemaker, "rest")
    until_status(sagemaker, "rest", "INPROGRESS")
    assert names(listed(sagemaker, "rest")) == order[2:]
    counts = sagemaker.describe_edge_deployment_plan(EdgeDeploymentPlanName="p")
    assert counts["EdgeDeploymentPending"] == 10


def test_a_stage_by_a_part_of_names(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, stage("some", {"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": "v-1"}))
    assert names(listed(sagemaker, "some")) == ["dev-1"]
    start(sagemaker, "some")
    until_status(sagemaker, "some", "INPROGRESS")
    assert names(listed(sagemaker, "some")) == ["dev-1"]


def test_pages_before_the_start_look_at_so_many_devices(
    sagemaker: Any, served: ServedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the parts end: the devices that the start chooses, each once, in the order of names."""
    monkeypatch.setattr(fleet_parts, "PART", 3)
    monkeypatch.setattr(stage_devices, "CHUNK", 2)
    monkeypatch.setattr(stage_devices, "SCANNED", 4)
    order = rollout_order("p", DEVICES)
    contains = {"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": "9"}
    expected = {"some": order[:3], "all": order, "named": ["dev-9"], "two": ["dev-2", "dev-7"]}
    selections: list[dict[str, Any]] = [ALL | {"Percentage": 25}, ALL, contains, _selection(7, 2)]
    make_plan(sagemaker, *(stage(name, each) for name, each in zip(expected, selections, strict=True)))
    assert {name: names(listed(sagemaker, name)) for name in expected} == {
        name: sorted(devices) for name, devices in expected.items()
    }
    first = sagemaker.list_stage_devices(EdgeDeploymentPlanName="p", StageName="named")
    assert (first["DeviceDeploymentSummaries"], "NextToken" in first) == ([], True)
    start(sagemaker, "some")
    until_status(sagemaker, "some", "INPROGRESS")
    start(sagemaker, "all")
    until_status(sagemaker, "all", "INPROGRESS")
    assert names(listed(sagemaker, "some")) + names(listed(sagemaker, "all")) == order


def test_results_and_what_fails(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, *(stage(name, _selection(*devices)) for name, *devices in (("a", 0, 1), ("b", 2))))
    for name in ("b", "a"):
        start(sagemaker, name)
        until_status(sagemaker, name, "INPROGRESS")
    _until(lambda: fetch(served, "dev-1"))
    report(served, "dev-0", "FAIL")
    status = described(sagemaker)["a"]
    assert [status[f"EdgeDeployment{each}InStage"] for each in ("Success", "Pending", "Failed")] == [0, 1, 1]
    report(served, "dev-1")
    status = until_status(sagemaker, "a", "DEPLOYED")
    assert status["EdgeDeploymentStatusMessage"] == "1 of 2 devices reported FAIL"
    failed = {each["DeviceName"]: each for each in listed(sagemaker, "a")}["dev-0"]
    assert failed["DeviceDeploymentStatus"] == "FAILED"
    assert failed["DeviceDeploymentStatusMessage"] == "it is a FAIL"
    report(served, "dev-2", "FAIL")
    until_status(sagemaker, "b", "FAILED")
    [summary] = sagemaker.list_edge_deployment_plans()["EdgeDeploymentPlanSummaries"]
    assert [summary[f"EdgeDeployment{each}"] for each in ("Success", "Pending", "Failed")] == [1, 0, 2]


def _selection(*devices: int) -> dict[str, Any]:
    return {"DeviceSubsetType": "SELECTION", "DeviceNames": [f"dev-{each}" for each in devices]}


def test_a_stage_is_stopped(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, stage("a", _selection(0, 1)), stage("b", _selection(1)))
    with refused("a of p is READYTODEPLOY: there is nothing to stop"):
        sagemaker.stop_edge_deployment_stage(EdgeDeploymentPlanName="p", StageName="a")
    start(sagemaker, "a")
    until_status(sagemaker, "a", "INPROGRESS")
    _until(lambda: fetch(served, "dev-0"))
    sagemaker.stop_edge_deployment_stage(EdgeDeploymentPlanName="p", StageName="a")
    status = until_status(sagemaker, "a", "STOPPED")
    assert [status[f"EdgeDeployment{each}InStage"] for each in ("Success", "Pending", "Failed")] == [0, 1, 1]
    assert statuses(listed(sagemaker, "a")) == {"dev-0": "INPROGRESS", "dev-1": "STOPPED"}
    assert fetch(served, "dev-1") == []
    with refused("it was started already"):
        start(sagemaker, "a")
    with refused("it was started already", "ResourceInUse"):
        sagemaker.delete_edge_deployment_stage(EdgeDeploymentPlanName="p", StageName="a")
    start(sagemaker, "b")  # it was withdrawn from this device
    until_status(sagemaker, "b", "INPROGRESS")
    assert names(listed(sagemaker, "b")) == ["dev-1"]
    assert names(listed(sagemaker, "a", ExcludeDevicesDeployedInOtherStage=True)) == ["dev-0"]
    sagemaker.stop_edge_deployment_stage(EdgeDeploymentPlanName="p", StageName="b")
    until_status(sagemaker, "b", "STOPPED")
    sagemaker.delete_edge_deployment_plan(EdgeDeploymentPlanName="p")


def test_commands_change_a_stage(served: ServedManager, sagemaker: Any, store: Store) -> None:
    make_plan(sagemaker, stage("a", _selection(0)))
    start(sagemaker, "a")
    until_status(sagemaker, "a", "INPROGRESS")
    [rollout] = store.read(lambda transaction: RolloutRepository(transaction).list_rollouts("barn"))
    actions.set_state(store, "barn", rollout.name, RolloutState.PAUSED, now=2.0)
    status = described(sagemaker)["a"]
    assert status["StageStatus"] == "INPROGRESS"
    assert status["EdgeDeploymentStatusMessage"].startswith("paused")
    actions.set_state(store, "barn", rollout.name, RolloutState.ABORTED, now=3.0)
    until_status(sagemaker, "a", "STOPPED")


def test_a_stage_that_cannot_be_made(served: ServedManager, sagemaker: Any, store: Store) -> None:
    """It says why, and is started again once that is mended."""
    one = store.read(lambda transaction: transaction.device_ids("barn", ["dev-5"]))
    rules = RolloutRules((Stage(_HALF, _HALF), Stage(_HALF * 2)))
    new = NewRollout("barn", "cli", "cli", "DO_NOTHING", (ModelDefinition("kws", url="s3://models/old"),), rules)
    all_ids = store.read(lambda transaction: transaction.device_ids("barn"))
    order = [number for name, number in all_ids.items() if name != "dev-5"] + list(one.values())
    RolloutRunner(store).start(new, lambda _: order, time.time())  # what is old counts as abandoned
    make_plan(sagemaker, stage("a", _selection(5)))
    start(sagemaker, "a")
    status = until_status(sagemaker, "a", "FAILED")
    assert "cli has not reached all its devices" in status["EdgeDeploymentStatusMessage"]
    actions.set_state(store, "barn", "cli", RolloutState.ABORTED, now=2.0)
    start(sagemaker, "a")
    until_status(sagemaker, "a", "INPROGRESS")
    assert [each["DeploymentName"][:2] for each in _until(lambda: fetch(served, "dev-5"))] == ["p-"]


def test_a_stage_of_nobody_fails(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, stage("a", {"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": "none"}), stage("b"))
    start(sagemaker, "a")
    assert "no device that the stage a is for" in until_status(sagemaker, "a", "FAILED")["EdgeDeploymentStatusMessage"]
    sagemaker.delete_edge_deployment_stage(EdgeDeploymentPlanName="p", StageName="a")
    assert list(described(sagemaker)) == ["b"]


def test_the_rest_of_nobody_is_deployed(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, stage("a"), stage("b"))
    start(sagemaker, "a")
    until_status(sagemaker, "a", "INPROGRESS")
    start(sagemaker, "b")
    assert until_status(sagemaker, "b", "DEPLOYED")["EdgeDeploymentPendingInStage"] == 0


_HALF = RolloutRules().stages[0].share / 2


def test_a_rollout_of_a_command_is_a_plan(served: ServedManager, sagemaker: Any, store: Store) -> None:
    rules = RolloutRules((Stage(_HALF / 2, _HALF * 2, 90.0), Stage(_HALF, _HALF), Stage(_HALF * 2)))
    devices = store.read(lambda transaction: transaction.device_ids("barn"))
    new = NewRollout("barn", "cli", "kws", "DO_NOTHING", (ModelDefinition("kws", url="s3://models/kws-1"),), rules)
    RolloutRunner(store).start(new, lambda _: list(devices.values()), time.time())  # what is old counts as abandoned
    found = sagemaker.describe_edge_deployment_plan(EdgeDeploymentPlanName="cli")
    assert (found["ModelConfigs"], found["DeviceFleetName"]) == (MODELS, "barn")
    assert [each["DeviceSelectionConfig"]["Percentage"] for each in found["Stages"]] == [25, 50, 100]
    status = described(sagemaker, "cli")
    assert {name: each["StageStatus"] for name, each in status.items()} == {
        "stage-1": "INPROGRESS",
        "stage-2": "READYTODEPLOY",
        "stage-3": "READYTODEPLOY",
    }
    gate = "starts by itself once 100% of stage-1 succeeded and 90 s have passed since it began"
    assert status["stage-2"]["EdgeDeploymentStatusMessage"] == gate
    assert [status[each]["EdgeDeploymentPendingInStage"] for each in status] == [3, 2, 5]
    assert found["EdgeDeploymentPending"] == 10
    report(served, "dev-0", "FAIL")
    status = until_status(sagemaker, "stage-1", "FAILED", plan="cli")
    rule = "1 of 3 devices failed, and 100% must succeed before stage 2"
    assert (status["EdgeDeploymentFailedInStage"], status["EdgeDeploymentStatusMessage"]) == (3, rule)
    later = list(described(sagemaker, "cli").values())[1:]
    ended = [(each["StageStatus"], each["EdgeDeploymentFailedInStage"]) for each in later]
    assert ended == [("STOPPED", 2), ("STOPPED", 5)]
    assert names(listed(sagemaker, "stage-1", "cli")) == DEVICES[:3]
    assert names(listed(sagemaker, "stage-3", "cli")) == DEVICES[5:]
    for refuse in (sagemaker.start_edge_deployment_stage, sagemaker.stop_edge_deployment_stage):
        with refused("a deployment of the command"):
            refuse(EdgeDeploymentPlanName="cli", StageName="stage-1")
    with refused("a deployment of the command"):
        sagemaker.delete_edge_deployment_plan(EdgeDeploymentPlanName="cli")
    with refused("Already Exists", "ResourceInUse"):
        make_plan(sagemaker, name="cli")
    with refused("No stage with name stage-4"):
        listed(sagemaker, "stage-4", "cli")


def test_plans_are_listed(served: ServedManager, sagemaker: Any, store: Store) -> None:
    store.write(lambda transaction: transaction.register("attic", ["x"], 1.0))
    new = NewRollout("attic", "m-cli", "kws", "DO_NOTHING", (ModelDefinition("kws", url="s3://m/one"),))
    ids = list(store.read(lambda transaction: transaction.device_ids("attic")).values())
    RolloutRunner(store).start(new, lambda _: ids, time.time())  # what is old counts as abandoned
    aged = sa.update(ROLLOUTS).values(created=5.0, counted=5.0)
    store.write(lambda transaction: transaction.connection.execute(aged))
    for name in ("z-1", "a-2", "k-3", "b-4"):
        make_plan(sagemaker, stage("one"), name=name)
    paginator = sagemaker.get_paginator("list_edge_deployment_plans")

    def found(**options: Any) -> list[str]:
        pages = paginator.paginate(PaginationConfig={"PageSize": 2}, **options)
        return [each["EdgeDeploymentPlanName"] for page in pages for each in page["EdgeDeploymentPlanSummaries"]]

    assert found() == ["m-cli", "z-1", "a-2", "k-3", "b-4"]
    assert found(SortOrder="Descending") == ["b-4", "k-3", "a-2", "z-1", "m-cli"]
    assert found(SortBy="NAME") == ["a-2", "b-4", "k-3", "m-cli", "z-1"]
    assert found(SortBy="DEVICE_FLEET_NAME")[0] == "m-cli"
    assert found(SortBy="LAST_MODIFIED_TIME", NameContains="-") == ["m-cli", "z-1", "a-2", "k-3", "b-4"]
    assert found(NameContains="K-") == ["k-3"]
    assert found(DeviceFleetNameContains="att") == ["m-cli"]
    assert found(CreationTimeBefore=6.0) == ["m-cli"]
    assert len(found(CreationTimeAfter=6.0)) == 4


def test_stages_come_in_pages(served: ServedManager, sagemaker: Any) -> None:
    make_plan(sagemaker, *(stage(f"s{number}") for number in range(5)))
    first = sagemaker.describe_edge_deployment_plan(EdgeDeploymentPlanName="p", MaxResults=2)
    assert [each["StageName"] for each in first["Stages"]] == ["s0", "s1"]
    last = sagemaker.describe_edge_deployment_plan(EdgeDeploymentPlanName="p", NextToken=first["NextToken"])
    assert [each["StageName"] for each in last["Stages"]] == ["s2", "s3", "s4"]
    assert "NextToken" not in last


def test_what_is_refused(served: ServedManager, sagemaker: Any, store: Store) -> None:
    add_package(store, "slow", "INPROGRESS")
    make_plan(sagemaker, stage("one"))

    def create(**changes: Any) -> None:
        members = {"EdgeDeploymentPlanName": "q", "ModelConfigs": MODELS, "DeviceFleetName": "barn"}
        sagemaker.create_edge_deployment_plan(**(members | changes))

    with refused("Already Exists", "ResourceInUse"):
        create(EdgeDeploymentPlanName="p")
    with refused("No device fleet with name none"):
        create(DeviceFleetName="none")
    for models, words in (
        ([], "ModelConfigs is empty"),
        ([MODELS[0] | {"EdgePackagingJobName": "none"}], "No edge packaging job with name none"),
        ([MODELS[0] | {"EdgePackagingJobName": "slow"}], "slow is INPROGRESS"),
        (MODELS * 2, "kws comes twice"),
    ):
        with refused(words):
            create(ModelConfigs=models)
    for selection, words in (
        ({"DeviceSubsetType": "PERCENTAGE"}, "PERCENTAGE requires a Percentage of 1 to 100"),
        ({"DeviceSubsetType": "PERCENTAGE", "Percentage": 0}, "PERCENTAGE requires a Percentage of 1 to 100"),
        ({"DeviceSubsetType": "PERCENTAGE", "Percentage": -5}, "from 1 to 100"),
        ({"DeviceSubsetType": "SELECTION"}, "SELECTION requires a DeviceNames"),
        ({"DeviceSubsetType": "SELECTION", "DeviceNames": []}, "greater than or equal to 1"),
        ({"DeviceSubsetType": "SELECTION", "DeviceNames": ["dev-0", "none"]}, "No device with name none"),
        ({"DeviceSubsetType": "NAMECONTAINS"}, "NAMECONTAINS requires a DeviceNameContains"),
        (ALL | {"DeviceNames": ["dev-0"]}, "PERCENTAGE has a Percentage and no DeviceNames"),
    ):
        with refused(words):
            create(Stages=[stage("one", selection)])
    with refused("has a stage named one already"):
        sagemaker.create_edge_deployment_stage(EdgeDeploymentPlanName="p", Stages=[stage("one")])
    with refused("at most 10 stages", "ResourceLimitExceeded"):
        create(Stages=[stage(f"s{number}") for number in range(11)])
    with refused("No edge deployment plan with name none"):
        start(sagemaker, "one", "none")
    with refused("No stage with name none in the edge deployment plan p"):
        start(sagemaker, "none")
    with refused("NextToken"):
        sagemaker.list_stage_devices(EdgeDeploymentPlanName="p", StageName="one", NextToken="?")
    [only] = sagemaker.list_edge_deployment_plans()["EdgeDeploymentPlanSummaries"]
    assert only["EdgeDeploymentPlanName"] == "p"


def test_tags_end_with_the_plan(served: ServedManager, sagemaker: Any, store: Store) -> None:
    tags = [{"Key": "team", "Value": "one"}]
    for _ in range(2):
        sagemaker.create_edge_deployment_plan(
            EdgeDeploymentPlanName="p", ModelConfigs=MODELS, DeviceFleetName="barn", Tags=tags
        )
        sagemaker.delete_edge_deployment_plan(EdgeDeploymentPlanName="p")


def test_a_command_does_not_take_the_name_of_a_plan(served: ServedManager, sagemaker: Any, store: Store) -> None:
    make_plan(sagemaker)
    new = NewRollout("barn", "p", "kws", "DO_NOTHING", (ModelDefinition("kws", url="s3://m/one"),))
    with pytest.raises(ManagerError, match="there is a deployment plan named p"):
        RolloutRunner(store).create(new, lambda _: [1], 1.0)


service_model = cache(load_service_model)


class Steps:
    """A store that nobody serves: each step of the background is the test's."""

    def __init__(self, store: Store, data: Path) -> None:
        self.store = store
        self._api = ControlApi(store, ObjectStore(data, store), ArnScope())

    def call(self, operation: str, **members: Any) -> Any:
        """The output, which has what the service model requires."""
        body = json.dumps(members).encode()
        output = json.loads(self._api.handle(f"SageMaker.{operation}", body, Caller(), 10.0))
        shape = service_model().operation_model(operation).output_shape
        if shape is not None:
            errors = ParamValidator().validate(output, shape)
            assert not errors.has_errors(), errors.generate_report()
        return output

    def make(self, *stages: dict[str, Any]) -> None:
        named = {"EdgeDeploymentPlanName": "p", "DeviceFleetName": "barn", "ModelConfigs": MODELS}
        self.call("CreateEdgeDeploymentPlan", **named, Stages=stages)

    def start(self, name: str) -> None:
        self.call("StartEdgeDeploymentStage", EdgeDeploymentPlanName="p", StageName=name)

    def stop(self, name: str) -> None:
        self.call("StopEdgeDeploymentStage", EdgeDeploymentPlanName="p", StageName=name)

    def statuses(self) -> dict[str, str]:
        found = self.call("DescribeEdgeDeploymentPlan", EdgeDeploymentPlanName="p")["Stages"]
        return {each["StageName"]: each["DeploymentStatus"]["StageStatus"] for each in found}

    def check(self, *stages: list[str]) -> None:
        """Each of these stages has a rollout with these devices, and after an hour nothing else is there."""
        while RolloutRunner(self.store).advance_all(10_000.0):
            pass
        in_stage = sa.select(PLAN_STAGES.c.number, DEVICE_ROWS.c.name).join_from(ROLLOUT_DEVICES, DEVICE_ROWS)
        joined = in_stage.join(PLAN_STAGES, PLAN_STAGES.c.rollout == ROLLOUT_DEVICES.c.rollout)
        selects = (joined, sa.select(sa.func.count()).select_from(ROLLOUTS))
        rows, [(rollouts,)] = self.store.read(
            lambda transaction: [transaction.connection.execute(each).all() for each in selects]
        )
        found: dict[int, set[str]] = {}
        for number, name in rows:
            found.setdefault(number, set()).add(name)
        assert [found[number] for number in sorted(found)] == [set(each) for each in stages]
        assert rollouts == len(stages)


@pytest.fixture
def steps(place: Place, store: Store, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Ten devices are four parts."""
    monkeypatch.setattr("gateway.manager.rollouts.repository.PART", 3)
    monkeypatch.setattr("gateway.manager.rollouts.runner.PAUSE", 0.0)
    return Steps(store, place.data)


def run(starts: StageStarts) -> None:
    while starts.step(10.0):
        pass


def test_a_process_that_is_killed_between_two_steps(steps: Steps) -> None:
    steps.make(stage("a"))
    steps.start("a")
    for done in range(1, 6):
        killed = StageStarts(steps.store)
        for _ in range(done):
            assert killed.step(10.0)
        assert steps.statuses() == {"a": "STARTING"}
    run(StageStarts(steps.store))
    assert steps.statuses() == {"a": "INPROGRESS"}
    steps.check(DEVICES)
    [plan] = steps.call("ListEdgeDeploymentPlans")["EdgeDeploymentPlanSummaries"]
    assert plan["EdgeDeploymentPending"] == 10
    page = steps.call("ListStageDevices", EdgeDeploymentPlanName="p", StageName="a", MaxResults=3)
    assert len(page["DeviceDeploymentSummaries"]) == 3


def test_a_plan_is_made_once_by_calls_of_one_moment(steps: Steps) -> None:
    begin = threading.Barrier(4)

    def make(number: int) -> str:
        begin.wait(DEADLINE_S)
        try:
            steps.make()
        except ApiError as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(4) as callers:
        assert sorted(callers.map(make, range(4))) == ["ResourceInUse"] * 3 + ["made"]


def test_two_processes_make_one_rollout(steps: Steps) -> None:
    steps.make(stage("a", ALL | {"Percentage": 50}), stage("b"))
    steps.start("a")
    steps.start("b")
    both = [StageStarts(steps.store), StageStarts(steps.store)]
    while both[0].step(10.0) | both[1].step(10.0):
        pass
    assert steps.statuses() == {"a": "INPROGRESS", "b": "INPROGRESS"}
    order = rollout_order("p", DEVICES)
    steps.check(order[:5], order[5:])


def test_a_stage_that_another_one_overtakes_is_chosen_anew(steps: Steps) -> None:
    """One process chose the devices of `b`; another one started `a` before it is published."""
    steps.make(stage("a", ALL | {"Percentage": 50}), stage("b"))
    steps.start("b")
    slow = StageStarts(steps.store)
    for _ in range(5):
        assert slow.step(10.0)
    steps.store.write(lambda transaction: transaction.connection.execute(sa.update(PLAN_STAGES).values(started=20.0)))
    steps.start("a")
    quick = StageStarts(steps.store)
    while steps.statuses()["a"] == "STARTING":
        assert quick.step(10.0)
    run(slow)
    assert steps.statuses() == {"a": "INPROGRESS", "b": "INPROGRESS"}
    order = rollout_order("p", DEVICES)
    steps.check(order[:5], order[5:])


def test_a_stage_is_stopped_before_it_began(steps: Steps) -> None:
    steps.make(stage("a"))
    steps.start("a")
    starts = StageStarts(steps.store)
    for _ in range(3):
        assert starts.step(10.0)
    steps.stop("a")
    assert steps.statuses() == {"a": "STOPPING"}
    run(starts)
    assert steps.statuses() == {"a": "STOPPED"}
    steps.check()
    steps.start("a")
    run(starts)
    steps.check(DEVICES)
