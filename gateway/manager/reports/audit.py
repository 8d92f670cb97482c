"""The audit, for people and programs: who changed what."""

import json
from collections.abc import Iterator
from typing import Any, TypedDict

import sqlalchemy as sa

from gateway.manager.store import Transaction
from gateway.manager.store.control_tables import AUDIT


class AuditReport(TypedDict):
    """A row of the audit. `at`: Unix seconds; `before`, `after`: of the resource, None: there was nothing, or is."""

    at: float
    key: str
    address: str
    action: str
    resource: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def audit_rows(
    transaction: Transaction, resource: str | None = None, since: float | None = None, limit: int = 100
) -> list[AuditReport]:
    """The newest rows, at most `limit`, in the order in which they were written; of that resource, and since then."""
    row = AUDIT.c
    select = sa.select(row.at, row.key, row.address, row.action, row.resource, row.before, row.after)
    if resource is not None:
        select = select.where(row.resource == resource)
    if since is not None:
        select = select.where(row.at >= since)
    rows = transaction.connection.execute(select.order_by(row.id.desc()).limit(limit)).all()
    return list(_reports(reversed(rows)))


def audit_page(transaction: Transaction, before: int | None, limit: int) -> tuple[list[AuditReport], int | None]:
    """At most `limit` rows, the newest first: those before the row of that id, None: the newest of all.

    And the `before` of the next page; None: there is no more.
    """
    row = AUDIT.c
    select = sa.select(row.id, row.at, row.key, row.address, row.action, row.resource, row.before, row.after)
    if before is not None:
        select = select.where(row.id < before)
    found = transaction.connection.execute(select.order_by(row.id.desc()).limit(limit + 1)).all()
    rows = found[:limit]
    return list(_reports(columns for _, *columns in rows)), rows[-1].id if len(found) > limit else None


def _reports(rows: Any) -> Iterator[AuditReport]:
    for at, key, address, action, resource, *states in rows:
        before, after = (None if each is None else json.loads(each) for each in states)
        yield AuditReport(at=at, key=key, address=address, action=action, resource=resource, before=before, after=after)
