"""The operations of the control plane over the store: X-Amz-Target and a body in, JSON out.

Each is one transaction, in a thread of its caller; one that looks at a whole fleet reads it before. What takes longer
(a stage of many devices, a job) is a state in the database, which the background carries out. It must never change
anything for a caller whose role does not allow it.
"""

import json
from collections.abc import Mapping

from gateway.manager.control import access, compilation, devices, fleets, model, packages, plans, report, tags
from gateway.manager.control.arns import ArnScope
from gateway.manager.control.calls import Caller, ControlCall, ControlOperation, Members
from gateway.manager.errors import ApiError
from gateway.manager.store import ObjectStore, Store, Transaction

_OPERATIONS: Mapping[str, ControlOperation] = {
    **fleets.OPERATIONS,
    **devices.OPERATIONS,
    **tags.OPERATIONS,
    **report.OPERATIONS,
    **packages.OPERATIONS,
    **compilation.OPERATIONS,
    **plans.OPERATIONS,
}
EDGE_MANAGER = "this is an Edge Manager: of SageMaker it has device fleets, packaging jobs and deployment plans"


class ControlApi:
    """The operations over one store. Any thread may call it. `objects` None: whether a package's file is still there is
    not asked."""

    def __init__(self, store: Store, scope: ArnScope, objects: ObjectStore | None = None) -> None:
        self._store = store
        self._objects = objects
        self._scope = scope
        self._reports: dict[int, Members] = {}

    def handle(self, target: str, body: bytes, caller: Caller, now: float) -> bytes:
        """One call that came at `now` (Unix seconds); its output as JSON. Raises ApiError and StoreUnavailable.

        `target`: the header X-Amz-Target, SageMaker.CreateDeviceFleet.
        """
        service, _, name = target.partition(".")
        operation = _OPERATIONS.get(name) if service == model.SERVICE else None
        if operation is None:
            raise ApiError("UnknownOperationException", f"there is no operation '{target[:80]}': {EDGE_MANAGER}")
        action = f"sagemaker:{name}"
        access.require(caller.key, caller.role, action)
        asked: Members = model.parse(name, body)
        if operation.prepare is not None:
            asked = operation.prepare(self._store, asked)

        def work(transaction: Transaction) -> Members | None:
            call = ControlCall(transaction, caller, self._scope, action, now, self._objects, self._reports)
            return operation.run(call, asked)

        output = self._store.write(work) if operation.writes else self._store.read(work)
        return json.dumps({} if output is None else output, separators=(",", ":")).encode()
