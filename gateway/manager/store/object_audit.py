"""Rows of the audit for changes of objects; and the order of a row and its change, where files are in the directory.

There a row is committed before its change: no kill leaves a change without a row. The rows that a kill or a full disk
left without their change are the newest ones, since one change follows the other: each gets a row that says what is
there.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from gateway.manager.errors import StoreUnavailable
from gateway.manager.store.audit import Auditor, ResourceState, local_auditor
from gateway.manager.store.control_tables import AUDIT
from gateway.manager.store.store import Store
from gateway.manager.store.transaction import Transaction

CHECKED = "edge-manager:CheckObject"
"""The action of a row by which the one before it is corrected."""

ObjectChange = tuple[str, ResourceState, ResourceState]
"""(resource, before, after)"""


def object_resource(bucket: str, key: str = "") -> str:
    """Of an object, or of a bucket."""
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"


def object_state(size: int, etag: str, modified: float) -> ResourceState:
    """`modified`: Unix seconds."""
    return {"Size": size, "ETag": etag.strip('"'), "LastModified": round(modified, 3)}


def bucket_state(bucket: str) -> ResourceState:
    return {"Bucket": bucket}


class DirectoryAudit:
    """The rows of changes of the directory. One thread at a time calls it. `find`: what is there of a resource."""

    def __init__(self, store: Store, find: Callable[[str], ResourceState]) -> None:
        self._store = store
        self._find = find
        self._is_checked = False

    @contextmanager
    def recorded(self, auditor: Auditor, changes: Sequence[ObjectChange]) -> Iterator[None]:
        """The block makes these changes. Raises StoreUnavailable before it, and then nothing is changed."""
        self.check()
        self._is_checked = False
        self._store.write(lambda transaction: auditor.add(transaction.connection, changes))
        try:
            yield
        except Exception:
            with suppress(StoreUnavailable):
                self.check()
            raise
        self._is_checked = True

    def check(self) -> None:
        """Where the newest rows say something else than what is there, a row for each says what is. Raises
        StoreUnavailable."""
        if self._is_checked:
            return
        said = self._store.read(_newest_states)
        found = {resource: self._find(resource) for resource in said}
        wrong = [(resource, said[resource], found[resource]) for resource in said if said[resource] != found[resource]]
        if wrong:
            auditor = local_auditor(CHECKED, time.time())
            self._store.write(lambda transaction: auditor.add(transaction.connection, wrong))
        self._is_checked = True


def _newest_states(transaction: Transaction) -> dict[str, ResourceState]:
    """What the newest call that changed objects left of each of them, as its rows say."""
    row = AUDIT.c
    of_objects = row.resource >= "s3://", row.resource < "s3:0"  # by an index: there may be many rows of devices
    newest = sa.select(sa.func.max(row.id)).where(*of_objects).scalar_subquery()
    at = sa.select(row.at).where(row.id == newest).scalar_subquery()
    select = sa.select(row.resource, row.after).where(row.at == at, *of_objects).order_by(row.id)
    rows = transaction.connection.execute(select)
    return {resource: None if after is None else json.loads(after) for resource, after in rows}
