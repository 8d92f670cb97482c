"""The three operations of `sagemaker-edge` over the database: input and time in, members of the output back. No HTTP.

It must never answer GetDeployments for a device that is not registered: an empty list would make it drop its models.
GetDeviceRegistration answers NOT_REGISTERED; the other two raise ApiError.
"""

from collections.abc import Awaitable
from typing import Any, TypeAlias

from gateway.manager.api import latest_values
from gateway.manager.api.validation import compile_operations, load_service_model, parse_input
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.rollouts import RolloutRunner
from gateway.manager.store import Database

Output: TypeAlias = dict[str, Any] | bytes | None
"""The members of an operation's output, or their JSON; None: the operation has none."""


class EdgeApi:
    """The operations over one database. `registered_ttl` and `unregistered_ttl`: CacheTTL of the answers, in seconds.

    Raises RuntimeError where botocore's service model has other operations.
    """

    def __init__(self, database: Database, registered_ttl: int = 300, unregistered_ttl: int = 60) -> None:
        self.database = database
        self.registered_ttl = registered_ttl
        self.unregistered_ttl = unregistered_ttl
        self._runner = RolloutRunner(database)
        self._checks = compile_operations(load_service_model())
        if set(self._checks) != {"GetDeployments", "GetDeviceRegistration", "SendHeartbeat"}:
            found = sorted(self._checks)
            raise RuntimeError(f"the installed botocore has other operations for sagemaker-edge: {found}")

    def handle(self, operation: str, body: bytes, now: float) -> Output | Awaitable[Output]:
        """The output of one call at `now` (Unix seconds), at once or later. Raises ApiError, StoreUnavailable."""
        check = self._checks.get(operation)
        if check is None:
            raise ApiError("UnknownOperationException", f"there is no operation '{operation[:80]}'", 404)
        call = parse_input(check, body)
        fleet, device = call["DeviceFleetName"], call["DeviceName"]
        device_id = self.database.device_id(fleet, device)
        if operation == "GetDeviceRegistration":
            if device_id is None:
                return {"DeviceRegistration": "NOT_REGISTERED", "CacheTTL": str(self.unregistered_ttl)}
            return {"DeviceRegistration": "REGISTERED", "CacheTTL": str(self.registered_ttl)}
        if device_id is None:
            raise validation_error(f"Device {device} is not registered in device fleet {fleet}")
        if operation == "GetDeployments":
            deployments = self.database.deployments_in_force(device_id)
            self._runner.on_fetched(device_id, [each.name for each in deployments])
            return {"Deployments": [each.to_api() for each in deployments]}
        values = latest_values(call, now)
        self.database.record_heartbeat(device_id, values, now)
        if values.deployment is not None:
            self._runner.on_result(device_id, values.deployment, values.status, now)
        return None
