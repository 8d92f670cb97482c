"""The three operations over a real database."""

import hashlib
import json

import pytest

from gateway.manager.errors import ApiError
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import actions
from gateway.manager.store import ObjectStore

WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture
def call(database):
    """Makes one call at 100 s; both devices of the fleet `f` are registered."""
    for device in ("d", "e"):
        database.register("f", device, 1.0)
    api = EdgeApi(database, 30, 6)
    return lambda operation, **members: api.handle(operation, json.dumps(WHO | members).encode(), 100.0)


def test_registration_and_its_time_to_live(call):
    assert call("GetDeviceRegistration") == {"DeviceRegistration": "REGISTERED", "CacheTTL": "30"}
    unknown = call("GetDeviceRegistration", DeviceName="other")
    assert unknown == {"DeviceRegistration": "NOT_REGISTERED", "CacheTTL": "6"}


@pytest.mark.parametrize("operation", ["SendHeartbeat", "GetDeployments"])
def test_a_device_that_is_not_registered_is_rejected(call, operation):
    with pytest.raises(ApiError, match="not registered") as caught:
        call(operation, DeviceName="other", AgentVersion="1")
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_an_unknown_operation(call):
    with pytest.raises(ApiError) as caught:
        call("ListDevices")
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 404)


def test_a_heartbeat_has_no_output_and_is_stored(call, database):
    assert call("SendHeartbeat", AgentVersion="1") is None
    assert database.connection.execute("SELECT accepted FROM heartbeats").fetchall() == [(1,)]


def test_a_deployment_reaches_its_devices_and_no_other(call, database, tmp_path):
    model = tmp_path / "m.bin"
    model.write_bytes(b"model")
    devices = {"d": actions.require_device(database, "f", "d")}
    options = {"bucket": "models", "name": None, "policy": "DO_NOTHING", "now": 5.0}
    rollout = actions.deploy(database, ObjectStore(tmp_path), "f", devices, {"kws": model}, **options)
    assert rollout.name == "kws-1"
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
