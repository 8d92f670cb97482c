"""One call of the control plane: who asks, the open transaction, and what an operation is. No HTTP."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from gateway.manager.control.arns import ArnScope
from gateway.manager.store import Auditor, ObjectStore, Store, Transaction

T = TypeVar("T")

Members: TypeAlias = Mapping[str, Any]
"""Of a structure of the service model; times are Unix seconds."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed the request, and from where. `key`: the access key's id, empty: no key was needed."""

    key: str = ""
    role: str = "admin"
    address: str = ""

    def auditor(self, action: str, now: float) -> Auditor:
        return Auditor(self.key, self.address, action, now)


@dataclass(frozen=True, slots=True)
class ControlCall:
    """`now` in Unix seconds. `objects` None: nobody asks for model files. A transaction may be run again: an operation
    changes nothing but through it.

    `reports`: by the id of a fleet, what this process counted last of its devices.
    """

    transaction: Transaction
    caller: Caller
    scope: ArnScope
    action: str
    now: float
    objects: ObjectStore | None = None
    reports: MutableMapping[int, Members] = field(default_factory=dict)

    @property
    def connection(self) -> sa.Connection:
        return self.transaction.connection

    def arn(self, resource: str) -> str:
        return self.scope.arn(resource)

    def audit(self, resource: str, before: Members | None, after: Members | None) -> None:
        """A row of the audit for the change that this transaction makes."""
        self.audits([(resource, before, after)])

    def audits(self, changes: Iterable[tuple[str, Members | None, Members | None]]) -> None:
        """As `audit`, for several resources: (resource, before, after)."""
        self.caller.auditor(self.action, self.now).add(self.connection, changes)


@dataclass(frozen=True, slots=True)
class StoreCall:
    """One call of an operation that makes its own transactions. `now` in Unix seconds."""

    store: Store
    objects: ObjectStore
    caller: Caller
    scope: ArnScope
    action: str
    now: float

    def write(self, work: "Callable[[ControlCall], T]") -> T:
        """A transaction of this call."""
        given = self.caller, self.scope, self.action, self.now
        return self.store.write(lambda transaction: work(ControlCall(transaction, *given)))

    @property
    def auditor(self) -> Auditor:
        return self.caller.auditor(self.action, self.now)


@dataclass(frozen=True, slots=True)
class StoreOperation:
    """As `ControlOperation`, over several transactions. `run` raises ManagerError too, as a ValidationException."""

    run: Callable[[StoreCall, Members], Members]


@dataclass(frozen=True, slots=True)
class ControlOperation:
    """`run` gets the checked input and returns the output's members; it raises ApiError. `writes`: it may change
    something. `prepare`: reads before, in transactions of its own, what would take too long in one; it returns the
    input for `run`."""

    run: Callable[[ControlCall, Members], Members | None]
    writes: bool = False
    prepare: Callable[[Store, Members], Members] | None = None
