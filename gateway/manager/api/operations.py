"""The three operations of `sagemaker-edge`: a checked input and the time in, the members of the output back.

It performs nothing but what the store does, and knows no HTTP. A device that is not registered gets its answer from
GetDeviceRegistration alone; the other two refuse it: an empty list of deployments would tell it to drop its models.
"""

from collections.abc import Mapping
from typing import Any

from gateway.manager.api.device_status import condense
from gateway.manager.api.validation import Check, compile_operations, load, parse
from gateway.manager.errors import ApiError, validation
from gateway.manager.rollouts.runner import Rolling
from gateway.manager.store.database import Store

Input = Mapping[str, Any]


class Api:
    """The operations over one store. `registered_ttl` and `unregistered_ttl` are in seconds."""

    def __init__(self, store: Store, checks: Mapping[str, Check], registered_ttl: int, unregistered_ttl: int) -> None:
        self.store = store
        self.rolling = Rolling(store)
        self.checks = checks
        self.registered_ttl = registered_ttl
        self.unregistered_ttl = unregistered_ttl

    def answer(self, operation: str, body: bytes, now: float) -> dict[str, Any] | None:
        """The output of one call at `now` (Unix seconds), None where the operation has none. Raises ApiError."""
        check = self.checks.get(operation)
        if check is None:
            raise ApiError("UnknownOperationException", f"there is no operation '{operation[:80]}'", 404)
        call = parse(check, body)
        if operation == "GetDeviceRegistration":
            return self.get_device_registration(call)
        if operation == "GetDeployments":
            return self.get_deployments(call)
        self.send_heartbeat(call, now)
        return None

    def get_device_registration(self, call: Input) -> dict[str, Any]:
        known = self.store.device_id(call["DeviceFleetName"], call["DeviceName"]) is not None
        return {
            "DeviceRegistration": "REGISTERED" if known else "NOT_REGISTERED",
            "CacheTTL": str(self.registered_ttl if known else self.unregistered_ttl),
        }

    def get_deployments(self, call: Input) -> dict[str, Any]:
        device = self._device(call)
        deployments = self.store.deployments(device)
        self.rolling.fetched(device, [each.name for each in deployments])
        return {"Deployments": [each.to_api() for each in deployments]}

    def send_heartbeat(self, call: Input, now: float) -> None:
        device, heartbeat = self._device(call), condense(call, now)
        self.store.record(device, heartbeat, now)
        if heartbeat.deployment is not None:
            self.rolling.told(device, heartbeat.deployment, heartbeat.status, now)

    def _device(self, call: Input) -> int:
        fleet, device = call["DeviceFleetName"], call["DeviceName"]
        number = self.store.device_id(fleet, device)
        if number is None:
            raise validation(f"Device {device} is not registered in device fleet {fleet}")
        return number


def make_api(store: Store, registered_ttl: int = 300, unregistered_ttl: int = 60) -> Api:
    """The operations as botocore's service model has them."""
    api = Api(store, compile_operations(load()), registered_ttl, unregistered_ttl)
    expected = {"GetDeployments", "GetDeviceRegistration", "SendHeartbeat"}
    if set(api.checks) != expected:
        raise RuntimeError(f"the installed botocore has other operations for sagemaker-edge: {sorted(api.checks)}")
    return api
