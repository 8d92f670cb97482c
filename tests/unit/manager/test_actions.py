"""What an operator does with deployments, over a real store of each engine and a real object store."""

import os
import threading

import pytest

from gateway.manager import ManagerError
from gateway.manager.rollouts.actions import (
    check_names,
    choose_devices,
    deploy,
    devices_with,
    parse_targets,
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


def deploy_to(fleet, tmp_path, files, devices=("d",), **options):
    device_ids = {device: require_device(fleet, "f", device) for device in devices}
    chosen = {"bucket": "models", "name": None, "policy": "DO_NOTHING", "now": 5.0} | options
    return deploy(fleet, ObjectStore(tmp_path), "f", device_ids, files, **chosen)


def in_force(fleet, device):
    number = require_device(fleet, "f", device)
    found = fleet.read(lambda transaction: transaction.deployments_in_force([number]))
    return [each.to_api() for each in found[number]]


def test_undeploying_a_handle(fleet, tmp_path, model):
    deploy_to(fleet, tmp_path, {"kws": model})
    rollout = undeploy(fleet, "f", {"d": require_device(fleet, "f", "d")}, "kws", name=None, now=6.0)
    (deployment,) = in_force(fleet, "d")
    assert deployment["DeploymentName"] == rollout.name == "kws-2"
    assert deployment["Definitions"] == [{"ModelHandle": "kws", "State": "UNDEPLOY"}]


def test_undeploying_what_a_device_does_not_have(fleet, tmp_path, model):
    deploy_to(fleet, tmp_path, {"kws": model})
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
    ("files", "options", "message"),
    [
        ({"k_s": "m.bin"}, {}, "HANDLE 'k_s' is not allowed"),
        ({"kws": "m.bin"}, {"name": "x" * 64}, "--name 'x{64}' is not allowed"),
        ({"kws": "m.bin"}, {"policy": "PRAY"}, "--policy 'PRAY' is not one: ROLLBACK"),
        ({"kws": "none.bin"}, {}, "none.bin: No such file or directory"),
        ({"kws": "m.bin"}, {"bucket": "No"}, "'No' is not a bucket name"),
    ],
)
def test_a_deployment_that_is_not_possible(fleet, tmp_path, model, files, options, message):
    with pytest.raises(ManagerError, match=message):
        deploy_to(fleet, tmp_path, {handle: tmp_path / name for handle, name in files.items()}, **options)
    assert in_force(fleet, "d") == []


@pytest.mark.parametrize("files", [{"kws": "m.bin"}, {"other": "m.bin", "vad": "none.bin"}], ids=["name", "file"])
def test_a_refused_deployment_stores_no_file(fleet, tmp_path, model, files):
    """Its name is taken, or the last of its files is missing."""
    deploy_to(fleet, tmp_path, {"first": model}, name="taken")
    before = sorted((tmp_path / "objects").rglob("*"))
    name = "taken" if len(files) == 1 else None
    with pytest.raises(ManagerError):
        deploy_to(fleet, tmp_path, {handle: tmp_path / file for handle, file in files.items()}, name=name)
    assert sorted((tmp_path / "objects").rglob("*")) == before


def test_a_model_comes_from_a_named_pipe(fleet, tmp_path, model):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(model.read_bytes(),))
    writer.start()
    deploy_to(fleet, tmp_path, {"kws": pipe})
    writer.join()
    (stored,) = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert stored.read_bytes() == model.read_bytes()


def test_the_longest_handle_makes_a_name_that_the_service_accepts(fleet, tmp_path, model):
    assert deploy_to(fleet, tmp_path, {"k" * 63: model}).name == "k" * 50 + "-1"


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
