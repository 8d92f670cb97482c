"""What compilation jobs and edge packaging jobs have in common: made once, found, stopped."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.manager.control import tags
from gateway.manager.control.arns import not_found
from gateway.manager.control.calls import ControlCall, Members
from gateway.manager.errors import ApiError, validation_error

ACTIVE = ("STARTING", "INPROGRESS")


def add(call: ControlCall, table: sa.Table, resource: str, asked: Members, **values: Any) -> None:
    """Makes a job of the input `asked`, with these other columns. Raises ApiError where the name is taken."""
    request = {name: value for name, value in asked.items() if name != "Tags"}
    values |= {"request": json.dumps(request), "created": call.now, "changed": call.now}
    try:
        call.connection.execute(sa.insert(table).values(values))
    except IntegrityError as error:
        raise ApiError("ResourceInUse", f"Resource Already Exists: {call.arn(resource)}") from error
    tags.add(call, resource, asked.get("Tags", ()))
    call.audit(resource, None, asked)


def require(call: ControlCall, table: sa.Table, resource: str, name: str, *, lock: bool = False) -> sa.Row[Any]:
    """The row. `lock`: nobody else changes it until the commit. Raises ApiError."""
    select = sa.select(table).where(table.c.name == name)
    row = call.connection.execute(select.with_for_update() if lock else select).one_or_none()
    if row is None:
        raise not_found(resource)
    return row


def stop(call: ControlCall, table: sa.Table, resource: str, name: str) -> None:
    """At once: whoever carries it out finds that it is not to be carried out. Raises ApiError where it has ended."""
    row = require(call, table, resource, name, lock=True)
    if row.status not in ACTIVE:
        raise validation_error(f"{resource} has ended, it is {row.status}: only a job that goes on can be stopped")
    call.connection.execute(sa.update(table).where(table.c.id == row.id).values(status="STOPPED", changed=call.now))
    call.audit(resource, {"Status": row.status}, {"Status": "STOPPED"})
