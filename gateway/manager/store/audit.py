"""The audit: a row for each change by an operator, in the transaction of the change."""

import json
import os
import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from gateway.manager.store.control_tables import AUDIT

MOST = 4096
"""Characters of a text; what is longer is cut."""

ResourceState: TypeAlias = Mapping[str, Any] | None
"""Of a resource, before or after the change; None: there was nothing, or is nothing."""


@dataclass(frozen=True, slots=True)
class Auditor:
    """Who does what. `key`: an access key's id, empty: none was needed. `address`: of the caller; `now`: Unix seconds.

    `action`: sagemaker:CreateDeviceFleet, or edge-manager:Deploy.
    """

    key: str
    address: str
    action: str
    now: float

    def add(self, connection: sa.Connection, changes: Iterable[tuple[str, ResourceState, ResourceState]]) -> None:
        """A row for each (resource, before, after)."""
        who = {"at": self.now, "key": self.key, "address": self.address, "action": self.action}
        rows = [
            {**who, "resource": resource[:MOST], "before": _text(before), "after": _text(after)}
            for resource, before, after in changes
        ]
        if rows:
            connection.execute(sa.insert(AUDIT), rows)


def local_auditor(action: str, now: float) -> Auditor:
    """Of a command on the manager's machine, by the account that runs it."""
    return Auditor("", local_address(), action, now)


def local_address() -> str:
    """`local:` and the account that runs this process."""
    try:
        return f"local:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container may have none
        return f"local:{os.getuid()}"


def _text(state: ResourceState) -> str | None:
    if state is None:
        return None
    text = json.dumps(state, separators=(",", ":"))
    return text if len(text) <= MOST else json.dumps({"Truncated": text[: MOST // 2]})
