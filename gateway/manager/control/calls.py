"""One call of the control plane: who asks, the open transaction, and what an operation is. No HTTP."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from gateway.manager.control.arns import Site
from gateway.manager.store import Transaction
from gateway.manager.store.control_tables import AUDIT

Members: TypeAlias = Mapping[str, Any]
"""Of a structure of the service model; times are Unix seconds."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed the request, and from where. `key`: the access key's id, empty: no key was needed."""

    key: str = ""
    role: str = "admin"
    address: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """`now` in Unix seconds. A transaction may be run again: an operation changes nothing but through it."""

    transaction: Transaction
    caller: Caller
    site: Site
    action: str
    now: float

    @property
    def connection(self) -> sa.Connection:
        return self.transaction.connection

    def arn(self, resource: str) -> str:
        return self.site.arn(resource)

    def audit(self, resource: str, before: Members | None, after: Members | None) -> None:
        """A row of the audit for the change that this transaction makes."""
        self.connection.execute(
            sa.insert(AUDIT).values(
                at=self.now,
                key=self.caller.key,
                address=self.caller.address,
                action=self.action,
                resource=resource,
                before=None if before is None else json.dumps(before),
                after=None if after is None else json.dumps(after),
            )
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """`run` gets the checked input and returns the output's members; it raises ApiError. `writes`: it may change
    something."""

    run: Callable[[Call, Members], Members | None]
    writes: bool = False
