"""The three operations over each engine, one call alone and in groups."""

import hashlib
import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.manager import device_reports, operations
from gateway.manager.errors import ApiError
from gateway.manager.groups import Later
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import actions
from gateway.manager.store import ObjectStore

WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture
def api(store):
    """Both devices of the fleet `f` are registered."""
    store.write(lambda transaction: transaction.register("f", ["d", "e"], 1.0))
    return EdgeApi(store, 30, 6)


@pytest.fixture
def call(api):
    """Makes one call at 100 s."""
    return lambda operation, **members: api.handle(operation, json.dumps(WHO | members).encode(), 100.0)


def parsed(api, operation, now=100.0, **members):
    return api.parse(operation, json.dumps(WHO | members).encode(), now)


def answers(api, questions):
    """Once what they ask for is marked as fetched."""
    api.mark_fetched(questions)
    return api.answer(questions)


def accepted(store):
    return {each["device"]: each["accepted"] for each in device_reports(store, 100.0)}


def test_registration_and_its_time_to_live(call):
    known = {"DeviceRegistration": "REGISTERED", "CacheTTL": "30", "RegistrationTime": 1.0}
    assert call("GetDeviceRegistration") == known
    unknown = call("GetDeviceRegistration", DeviceName="other")
    assert unknown == {"DeviceRegistration": "NOT_REGISTERED", "CacheTTL": "6", "RegistrationTime": None}


@pytest.mark.parametrize("operation", ["SendHeartbeat", "GetDeployments"])
def test_a_device_that_is_not_registered_is_rejected(call, operation):
    with pytest.raises(ApiError, match="not registered") as caught:
        call(operation, DeviceName="other", AgentVersion="1")
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_an_unknown_operation(call):
    with pytest.raises(ApiError) as caught:
        call("ListDevices")
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 404)


def test_a_heartbeat_has_no_output_and_is_stored(call, store):
    assert call("SendHeartbeat", AgentVersion="1") is None
    assert accepted(store) == {"d": 1, "e": 0}


def version(api, device="d"):
    """What the answer to a heartbeat says of the device: (RegistrationTime, the number of its deployments)."""
    [output] = api.record([parsed(api, "SendHeartbeat", DeviceName=device, AgentVersion="1")])
    since, number = output.split("/")
    return float(since), int(number)


def test_a_version_changes_with_the_deployments_and_the_registration_of_its_device_alone(api, call, store, tmp_path):
    assert [version(api), version(api, "e")] == [(1.0, 0), (1.0, 0)]
    number = deploy(store, tmp_path, "kws")
    assert version(api) == (1.0, 1)
    assert call("GetDeployments")["Deployments"]
    assert version(api) == (1.0, 1)
    actions.undeploy(store, "f", {"d": number}, "kws", name="off", now=6.0)
    assert version(api) == (1.0, 2)
    store.write(lambda transaction: transaction.deregister("f", "d"))
    store.write(lambda transaction: transaction.register("f", ["d"], 1_795_458_600.123456789))
    assert version(api) == (call("GetDeviceRegistration")["RegistrationTime"], 0)
    assert version(api, "e") == (1.0, 0)


def test_in_a_group_each_call_gets_its_own_answer(api, store):
    group = [parsed(api, "SendHeartbeat", DeviceName=name, AgentVersion="1") for name in ("d", "x", "e", "d")]
    first, unknown, *others = api.record(group)
    assert [first, *others] == ["1.0/0"] * 3
    assert isinstance(unknown, ApiError)
    assert "Device x is not registered" in unknown.message
    assert accepted(store) == {"d": 2, "e": 1}


def test_a_call_that_the_database_refuses_fails_alone(api, store):
    """No input that the service model allows is known to do that; so it is one that never came through its checks."""
    good = [parsed(api, "SendHeartbeat", AgentVersion="1") for _ in range(3)]
    bad = parsed(api, "SendHeartbeat", AgentVersion="1", DeviceName="e")
    bad = replace(bad, values=bad.values._replace(agent_version={"no": "text"}))
    with capture_logs() as log:
        outputs = api.record([*good[:2], bad, *good[2:]])
    assert [output == "1.0/0" for output in outputs] == [True, True, False, True]
    assert outputs[2].code == "InternalServiceException"
    assert len(log) == 1
    assert accepted(store) == {"d": 3, "e": 0}


def test_what_is_kept_of_a_plan_is_not_answered_once_it_has_changed(api, call, store, tmp_path):
    """By another process: only the database tells."""
    assert call("GetDeployments") == {"Deployments": []}
    number = deploy(store, tmp_path, "kws")
    assert [each["DeploymentName"] for each in call("GetDeployments")["Deployments"]] == ["kws-1"]
    actions.undeploy(store, "f", {"d": number}, "kws", name="off", now=6.0)
    [deployment] = call("GetDeployments")["Deployments"]
    assert deployment["Definitions"] == [{"ModelHandle": "kws", "State": "UNDEPLOY"}]
    store.write(lambda transaction: transaction.deregister("f", "d"))
    with pytest.raises(ApiError, match="not registered"):
        call("GetDeployments")
    store.write(lambda transaction: transaction.register("f", ["d"], 2.0))
    assert call("GetDeployments") == {"Deployments": []}


def test_questions_of_a_group_are_answered_from_one_moment(api, store, tmp_path):
    deploy(store, tmp_path, "kws")
    names = ("GetDeployments", "d"), ("GetDeviceRegistration", "d"), ("GetDeployments", "x"), ("GetDeployments", "e")
    outputs = answers(api, [parsed(api, operation, DeviceName=device) for operation, device in names])
    assert isinstance(outputs[2], ApiError)
    deployments, registration, empty = (json.loads(outputs[number]) for number in (0, 1, 3))
    assert [each["DeploymentName"] for each in deployments["Deployments"]] == ["kws-1"]
    assert (registration["DeviceRegistration"], empty) == ("REGISTERED", {"Deployments": []})


def test_only_a_plan_that_is_not_marked_as_fetched_waits_for_that(api, store, tmp_path):
    """A database that takes no changes answers the others."""
    deploy(store, tmp_path, "kws")
    names = ("GetDeployments", "d"), ("GetDeviceRegistration", "d"), ("GetDeployments", "x"), ("GetDeployments", "e")
    outputs = api.answer([parsed(api, operation, DeviceName=device) for operation, device in names])
    assert outputs[0] is Later.LATER
    assert all(isinstance(output, bytes | ApiError) for output in outputs[1:])


def test_more_plans_than_are_kept(api, store, tmp_path, monkeypatch):
    monkeypatch.setattr(operations, "KEPT", 1)
    deploy(store, tmp_path, "kws")
    group = [parsed(api, "GetDeployments", DeviceName=device) for device in ("d", "e")]
    for _ in range(2):
        assert [len(json.loads(each)["Deployments"]) for each in answers(api, group)] == [1, 0]


def deploy(store, folder, handle):
    """To the device d. Its id."""
    model = folder / "m.bin"
    model.write_bytes(b"model")
    number = actions.require_device(store, "f", "d")
    files = {handle: ObjectStore(folder).put_file(model, "models", handle)}
    actions.deploy(store, actions.NewDeployment("f", [handle], policy="DO_NOTHING"), {"d": number}, files, {}, now=5.0)
    return number


def test_a_deployment_reaches_its_devices_and_no_other(call, store, tmp_path):
    deploy(store, tmp_path, "kws")
    sha1 = hashlib.sha1(b"model").hexdigest()
    definition = {
        "ModelHandle": "kws",
        "State": "DEPLOY",
        "S3Url": f"s3://models/kws/{sha1[:16]}.bin",
        "Checksum": {"Type": "SHA1", "Sum": sha1},
    }
    assert call("GetDeployments") == {
        "Deployments": [
            {
                "DeploymentName": "kws-1",
                "Type": "Model",
                "FailureHandlingPolicy": "DO_NOTHING",
                "Definitions": [definition],
            }
        ]
    }
    assert call("GetDeployments", DeviceName="e") == {"Deployments": []}
