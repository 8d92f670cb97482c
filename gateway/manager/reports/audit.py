"""The audit, for people and programs: who changed what."""

import json
from typing import Any, TypedDict

import sqlalchemy as sa

from gateway.manager.store import Transaction
from gateway.manager.store.control_tables import AUDIT


class AuditReport(TypedDict):
    """A row of the audit. `id`: greater ones were written later; `at`: Unix s; `before`, `after`: of the resource,
    None: there was nothing, or is.
    """

    id: int
    at: float
    key: str
    address: str
    action: str
    resource: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def audit_rows(
    transaction: Transaction,
    resource: str | None = None,
    since: float | None = None,
    *,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditReport]:
    """The newest rows, at most `limit`, the newest first: of that resource, since then, and with lower ids."""
    row = AUDIT.c
    select = sa.select(row.id, row.at, row.key, row.address, row.action, row.resource, row.before, row.after)
    if resource is not None:
        select = select.where(row.resource == resource)
    if since is not None:
        select = select.where(row.at >= since)
    if before is not None:
        select = select.where(row.id < before)
    rows = transaction.connection.execute(select.order_by(row.id.desc()).limit(limit))
    return [_report(*each) for each in rows]


def _report(
    number: int, at: float, key: str, address: str, action: str, resource: str, before: str | None, after: str | None
) -> AuditReport:
    return AuditReport(
        id=number,
        at=at,
        key=key,
        address=address,
        action=action,
        resource=resource,
        before=_state(before),
        after=_state(after),
    )


def _state(text: str | None) -> dict[str, Any] | None:
    state: dict[str, Any] | None = None if text is None else json.loads(text)
    return state
