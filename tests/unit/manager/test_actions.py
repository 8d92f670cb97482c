"""What an operator does with deployments, over a real store of each engine and a real object store."""

from fractions import Fraction

import pytest

from gateway.manager import ManagerError
from gateway.manager.rollouts import RolloutRepository, RolloutRules, Stage
from gateway.manager.rollouts.actions import (
    NewDeployment,
    check_names,
    choose_devices,
    deploy,
    devices_with,
    parse_targets,
    preview,
    require_device,
    undeploy,
)
from gateway.manager.store import ObjectStore


@pytest.fixture
def fleet(store):
    """The store with the devices f/d and f/e."""
    store.write(lambda transaction: transaction.register("f", ["d", "e"], 1.0))
    return store


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.bin"
    path.write_bytes(b"model")
    return path


def deploy_to(fleet, tmp_path, file, *handles, **options):
    device_ids = {"d": require_device(fleet, "f", "d")}
    files = {handle: ObjectStore(tmp_path).put_file(file, "models", handle) for handle in handles}
    return deploy(fleet, NewDeployment("f", handles, **options), device_ids, files, {}, now=5.0)


def in_force(fleet, device):
    number = require_device(fleet, "f", device)
    found = fleet.read(lambda transaction: transaction.deployments_in_force([number]))
    return [each.to_api() for each in found[number]]


def test_undeploying_a_handle(fleet, tmp_path, model):
    deploy_to(fleet, tmp_path, model, "kws")
    rollout = undeploy(fleet, "f", {"d": require_device(fleet, "f", "d")}, "kws", name=None, now=6.0)
    (deployment,) = in_force(fleet, "d")
    assert deployment["DeploymentName"] == rollout.name == "kws-2"
    assert deployment["Definitions"] == [{"ModelHandle": "kws", "State": "UNDEPLOY"}]


def test_undeploying_what_a_device_does_not_have(fleet, tmp_path, model):
    deploy_to(fleet, tmp_path, model, "kws")
    both = choose_devices(fleet, "f", [], all_devices=True)
    with pytest.raises(ManagerError, match="device e has no kws"):
        undeploy(fleet, "f", both, "kws", name=None, now=6.0)
    with pytest.raises(ManagerError, match="device e has no vad to undeploy"):
        undeploy(fleet, "f", {"e": both["e"]}, "vad", name=None, now=6.0)
    assert list(devices_with(fleet, both, "kws")) == ["d"]
    with pytest.raises(ManagerError, match="no device of the fleet has vad"):
        devices_with(fleet, both, "vad")


@pytest.mark.parametrize("name", ["kws", "a" * 63])
def test_names_that_the_service_accepts(name):
    check_names("HANDLE", "EntityName", [name])


@pytest.mark.parametrize("name", ["a" * 64, "a_b", ""])
def test_names_that_the_service_rejects(name):
    with pytest.raises(ManagerError, match=f"HANDLE '{name}' is not allowed: should be 1 to 63 characters: letters"):
        check_names("HANDLE", "EntityName", [name])


@pytest.mark.parametrize(
    ("handles", "name", "message"),
    [
        (["k_s"], None, "HANDLE 'k_s' is not allowed"),
        (["kws"], "x" * 64, "--name 'x{64}' is not allowed"),
        (["kws", "kws"], None, "a model handle comes twice"),
        (["kws"], "taken", "there is or was a deployment named taken"),
    ],
)
def test_a_deployment_that_is_not_possible(fleet, tmp_path, model, handles, name, message):
    deploy_to(fleet, tmp_path, model, "first", name="taken")
    new = NewDeployment("f", handles, name)
    devices = {"d": require_device(fleet, "f", "d")}
    with pytest.raises(ManagerError, match=message):
        preview(fleet, new, devices, 5.0)
    with pytest.raises(ManagerError, match=message):
        deploy_to(fleet, tmp_path, model, *handles, name=name)
    assert [each["DeploymentName"] for each in in_force(fleet, "d")] == ["taken"]


def test_a_preview_makes_nothing(fleet):
    both = choose_devices(fleet, "f", [], all_devices=True)
    rules = RolloutRules((Stage(Fraction(1, 2), Fraction(1), 0.0), Stage(Fraction(1))))
    rollout = preview(fleet, NewDeployment("f", ["kws"], rules=rules), both, 5.0)
    assert [rollout.progress.stage_size(stage) for stage in (0, 1)] == [1, 2]
    assert fleet.read(lambda transaction: RolloutRepository(transaction).list_rollouts()) == []


def test_the_longest_handle_makes_a_name_that_the_service_accepts(fleet, tmp_path, model):
    assert deploy_to(fleet, tmp_path, model, "k" * 63).name == "k" * 50 + "-1"


@pytest.mark.parametrize(("arguments", "message"), [(["d"], "HANDLE=FILE"), (["d", "a=x", "a=y"], "comes twice")])
def test_targets_that_are_not_possible(arguments, message):
    with pytest.raises(ManagerError, match=message):
        parse_targets(arguments)


def test_files_and_devices_in_any_order():
    devices, files = parse_targets(["d", "a=x=1", "e"])
    assert (devices, {handle: str(file) for handle, file in files.items()}) == (["d", "e"], {"a": "x=1"})


@pytest.mark.parametrize(
    ("fleet_name", "devices", "all_devices", "message"),
    [
        ("f", [], False, "--all"),
        ("f", ["d"], True, "not both"),
        ("g", [], True, "no device"),
        ("f", ["x"], False, "not registered"),
    ],
)
def test_devices_that_cannot_be_chosen(fleet, fleet_name, devices, all_devices, message):
    with pytest.raises(ManagerError, match=message):
        choose_devices(fleet, fleet_name, devices, all_devices)
