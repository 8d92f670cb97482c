"""The operations of the control plane over the store: X-Amz-Target and a body in, JSON out.

Each runs in a thread of its caller. One of `sagemaker` is one transaction; one that looks at a whole fleet reads it
before. What takes longer (a stage of many devices, a job) is a state in the database, which the background carries out.
It must never change anything for a caller whose role does not allow it.
"""

import json
from collections.abc import Mapping

from gateway.manager.control import access, compilation, devices, fleets, model, own, packages, plans, report, tags
from gateway.manager.control.arns import ArnScope
from gateway.manager.control.calls import Caller, ControlCall, ControlOperation, Members, StoreCall, StoreOperation
from gateway.manager.errors import ApiError, ManagerError, StoreUnavailable, validation_error
from gateway.manager.store import ObjectStore, Store, Transaction

_SAGEMAKER: Mapping[str, ControlOperation] = {
    **fleets.OPERATIONS,
    **devices.OPERATIONS,
    **tags.OPERATIONS,
    **report.OPERATIONS,
    **packages.OPERATIONS,
    **compilation.OPERATIONS,
    **plans.OPERATIONS,
}
_OPERATIONS: Mapping[str, Mapping[str, ControlOperation | StoreOperation]] = {
    model.SAGEMAKER: _SAGEMAKER,
    model.EDGE_MANAGER: own.OPERATIONS,
}
"""By what is before the dot of X-Amz-Target."""
EDGE_MANAGER = "this is an Edge Manager: of SageMaker it has device fleets, packaging jobs and deployment plans"


class ControlApi:
    """The operations over one store. Any thread may call it."""

    def __init__(self, store: Store, objects: ObjectStore, scope: ArnScope) -> None:
        self._store = store
        self._objects = objects
        self._scope = scope
        self._reports: dict[int, Members] = {}

    def handle(self, target: str, body: bytes, caller: Caller, now: float) -> bytes:
        """One call that came at `now` (Unix seconds); its output as JSON. Raises ApiError and StoreUnavailable.

        `target`: the header X-Amz-Target, SageMaker.CreateDeviceFleet or EdgeManager.Deploy.
        """
        service, _, name = target.partition(".")
        operation = _OPERATIONS.get(service, {}).get(name)
        action = access.requested_action(target, "")
        if operation is None or action is None:
            raise ApiError("UnknownOperationException", f"there is no operation '{target[:80]}': {EDGE_MANAGER}")
        access.require(caller.key, caller.role, action)
        asked: Members = model.parse(service, name, body)
        if isinstance(operation, ControlOperation):
            output = self._in_transaction(operation, asked, caller, action, now)
        else:
            output = self._over_store(operation, asked, caller, action, now)
        return json.dumps({} if output is None else output, separators=(",", ":")).encode()

    def _in_transaction(
        self, operation: ControlOperation, asked: Members, caller: Caller, action: str, now: float
    ) -> Members | None:
        if operation.prepare is not None:
            asked = operation.prepare(self._store, asked)

        def work(transaction: Transaction) -> Members | None:
            call = ControlCall(transaction, caller, self._scope, action, now, self._objects, self._reports)
            return operation.run(call, asked)

        return self._store.write(work) if operation.writes else self._store.read(work)

    def _over_store(
        self, operation: StoreOperation, asked: Members, caller: Caller, action: str, now: float
    ) -> Members:
        try:
            return operation.run(StoreCall(self._store, self._objects, caller, self._scope, action, now), asked)
        except StoreUnavailable:
            raise
        except ManagerError as error:
            raise validation_error(str(error)) from error
