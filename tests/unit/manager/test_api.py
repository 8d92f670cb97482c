"""The three operations over a real store, and the commands' half of a deployment."""

import hashlib
import json

import pytest

from gateway.manager.api.operations import make_api
from gateway.manager.errors import ApiError, ManagerError
from gateway.manager.objects.object_store import Objects
from gateway.manager.rollouts.service import choose_devices, deploy, having, read_pairs, registered, undeploy
from gateway.manager.store.database import open_store

WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path, create=True)
    for device in ("d", "e"):
        opened.register("f", device, 1.0)
    yield opened
    opened.close()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.bin"
    path.write_bytes(b"model")
    return path


def ask(store, operation: str, **members: object):
    return make_api(store, 30, 6).answer(operation, json.dumps(WHO | members).encode(), 100.0)


def give(store, tmp_path, files, devices=("d",), **options):
    numbers = {device: registered(store, "f", device) for device in devices}
    chosen = {"bucket": "models", "name": None, "policy": "DO_NOTHING", "now": 5.0} | options
    return deploy(store, Objects(tmp_path / "objects"), "f", numbers, files, **chosen)


def test_registration_and_its_time_to_live(store):
    assert ask(store, "GetDeviceRegistration") == {"DeviceRegistration": "REGISTERED", "CacheTTL": "30"}
    unknown = ask(store, "GetDeviceRegistration", DeviceName="other")
    assert unknown == {"DeviceRegistration": "NOT_REGISTERED", "CacheTTL": "6"}


@pytest.mark.parametrize("operation", ["SendHeartbeat", "GetDeployments"])
def test_a_device_that_is_not_registered_is_refused(store, operation):
    with pytest.raises(ApiError, match="not registered") as caught:
        ask(store, operation, DeviceName="other", AgentVersion="1")
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_an_operation_that_is_none(store):
    with pytest.raises(ApiError) as caught:
        ask(store, "ListDevices")
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 404)


def test_a_heartbeat_answers_nothing_and_is_kept(store):
    assert ask(store, "SendHeartbeat", AgentVersion="1") is None
    assert store.connection.execute("SELECT accepted FROM heartbeats").fetchall() == [(1,)]


def test_a_deployment_reaches_its_devices_and_no_other(store, tmp_path, model):
    plan = give(store, tmp_path, {"kws": model})
    assert plan.name == "kws-1"
    sha1 = hashlib.sha1(b"model").hexdigest()
    definition = {
        "ModelHandle": "kws",
        "State": "DEPLOY",
        "S3Url": f"s3://models/kws/{sha1[:16]}.bin",
        "Checksum": {"Type": "SHA1", "Sum": sha1},
    }
    assert ask(store, "GetDeployments") == {
        "Deployments": [
            {
                "DeploymentName": "kws-1",
                "Type": "Model",
                "FailureHandlingPolicy": "DO_NOTHING",
                "Definitions": [definition],
            }
        ]
    }
    assert ask(store, "GetDeployments", DeviceName="e") == {"Deployments": []}


def test_undeploying_a_handle(store, tmp_path, model):
    give(store, tmp_path, {"kws": model})
    rollout = undeploy(store, "f", {"d": registered(store, "f", "d")}, "kws", name=None, now=6.0)
    (answer,) = ask(store, "GetDeployments")["Deployments"]
    assert answer["DeploymentName"] == rollout.name == "kws-2"
    assert answer["Definitions"] == [{"ModelHandle": "kws", "State": "UNDEPLOY"}]


def test_undeploying_what_a_device_does_not_have(store, tmp_path, model):
    give(store, tmp_path, {"kws": model})
    both = choose_devices(store, "f", [], everyone=True)
    with pytest.raises(ManagerError, match="device e has no kws"):
        undeploy(store, "f", both, "kws", name=None, now=6.0)
    assert list(having(store, both, "kws")) == ["d"]
    with pytest.raises(ManagerError, match="no device of the fleet has vad"):
        having(store, both, "vad")


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        ({"k_s": "m.bin"}, {}, "'k_s' is no EntityName"),
        ({"kws": "m.bin"}, {"name": "x" * 64}, "is no EntityName"),
        ({"kws": "m.bin"}, {"policy": "PRAY"}, "'PRAY' is no policy"),
        ({"kws": "none.bin"}, {}, "none.bin cannot be taken in"),
        ({"kws": "m.bin"}, {"bucket": "No"}, "'No' is no name of a bucket"),
    ],
)
def test_a_deployment_that_cannot_be(store, tmp_path, model, files, options, told):
    with pytest.raises(ManagerError, match=told):
        give(store, tmp_path, {handle: tmp_path / name for handle, name in files.items()}, **options)
    assert ask(store, "GetDeployments") == {"Deployments": []}


def test_the_longest_handle_makes_a_name_that_the_service_takes(store, tmp_path, model):
    assert give(store, tmp_path, {"k" * 63: model}).name == "k" * 50 + "-1"


@pytest.mark.parametrize(("arguments", "told"), [(["d"], "HANDLE=FILE"), (["d", "a=x", "a=y"], "comes twice")])
def test_pairs_that_cannot_be(arguments, told):
    with pytest.raises(ManagerError, match=told):
        read_pairs(arguments)


def test_pairs_and_devices_in_any_order():
    devices, files = read_pairs(["d", "a=x=1", "e"])
    assert (devices, {handle: str(file) for handle, file in files.items()}) == (["d", "e"], {"a": "x=1"})


@pytest.mark.parametrize(
    ("fleet", "devices", "everyone", "told"),
    [
        ("f", [], False, "--all"),
        ("f", ["d"], True, "not both"),
        ("g", [], True, "no device"),
        ("f", ["x"], False, "not registered"),
    ],
)
def test_devices_that_cannot_be_chosen(store, fleet, devices, everyone, told):
    with pytest.raises(ManagerError, match=told):
        choose_devices(store, fleet, devices, everyone)
