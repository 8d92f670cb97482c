"""Tags of what has an ARN: AddTags, DeleteTags and ListTags.

Who changes the tags of a resource holds its row: nobody deletes it meanwhile, and leaves tags of what is not there.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.arns import not_found, parse_arn
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.store import bulk
from gateway.manager.store.control_tables import COMPILATION_JOBS, PACKAGES, PLANS, TAGS
from gateway.manager.store.tables import DEVICES, FLEETS

MOST = 50
"""Tags of a resource."""
_NAMED = {
    "device-fleet": FLEETS,
    "edge-packaging-job": PACKAGES,
    "compilation-job": COMPILATION_JOBS,
    "edge-deployment": PLANS,
}
"""By what comes before the name."""


def add(call: ControlCall, resource: str, tags: Sequence[Members]) -> None:
    """Gives tags to a resource whose row this transaction holds, or made. Raises ApiError."""
    add_to_all(call, [resource], tags)


def add_to_all(call: ControlCall, resources: Collection[str], tags: Sequence[Members]) -> None:
    """Gives the same tags to each."""
    values = {each["Key"]: each["Value"] for each in tags}
    if len(values) < len(tags):
        raise validation_error("Tag keys must be unique per resource")
    if not values:
        return
    rows = [(resource, key, value) for resource in sorted(resources) for key, value in sorted(values.items())]
    update = "(resource, key) DO UPDATE SET value = excluded.value"
    bulk.insert(call.connection, TAGS, ("resource", "key", "value"), rows, update)
    given = bulk.given(call.connection, [[each] for each in resources], resource=sa.Text)
    counts = sa.select(TAGS.c.resource).where(TAGS.c.resource.in_(sa.select(given.c.resource)))
    beyond = call.connection.scalar(counts.group_by(TAGS.c.resource).having(sa.func.count() > MOST).limit(1))
    if beyond is not None:
        raise ApiError("ResourceLimitExceeded", f"{beyond} would have more than {MOST} tags")


def delete_from_all(call: ControlCall, resources: Collection[str], keys: Collection[str]) -> None:
    """Those with these keys, of resources whose rows this transaction holds."""
    if keys:
        given = bulk.given(call.connection, [[each] for each in resources], resource=sa.Text)
        of_one = TAGS.c.resource.in_(sa.select(given.c.resource))
        call.connection.execute(sa.delete(TAGS).where(of_one, TAGS.c.key.in_(keys)))


def delete_all(call: ControlCall, resources: sa.Select[tuple[str]] | Sequence[str]) -> None:
    """The tags of resources whose rows this transaction deleted."""
    call.connection.execute(sa.delete(TAGS).where(TAGS.c.resource.in_(resources)))


def _add_tags(call: ControlCall, asked: Members) -> Members:
    resource = _hold(call, asked)
    before = _read(call, resource)
    add(call, resource, asked["Tags"])
    return _audited(call, resource, before)


def _delete_tags(call: ControlCall, asked: Members) -> None:
    resource = _hold(call, asked)
    before = _read(call, resource)
    named = (TAGS.c.resource == resource) & TAGS.c.key.in_(asked["TagKeys"])
    call.connection.execute(sa.delete(TAGS).where(named))
    _audited(call, resource, before)


def _list_tags(call: ControlCall, asked: Members) -> Members:
    """All in one page, since MaxResults is MOST at least."""
    if "NextToken" in asked:
        raise validation_error("NextToken is not one that this list returned")
    return {"Tags": _read(call, _find(call, asked, sa.select(sa.literal(1))))}


def _audited(call: ControlCall, resource: str, before: list[Members]) -> Members:
    after = {"Tags": _read(call, resource)}
    call.audit(resource, {"Tags": before}, after)
    return after


def _read(call: ControlCall, resource: str) -> list[Members]:
    select = sa.select(TAGS.c.key, TAGS.c.value).where(TAGS.c.resource == resource).order_by(TAGS.c.key)
    return [{"Key": key, "Value": value} for key, value in call.connection.execute(select)]


def _hold(call: ControlCall, asked: Members) -> str:
    """The resource; until the commit nobody deletes it, or changes its tags."""
    return _find(call, asked, sa.select(sa.literal(1)).with_for_update(key_share=True))


def _find(call: ControlCall, asked: Members, select: sa.Select[Any]) -> str:
    """The resource. Raises ApiError where it is not there."""
    resource = parse_arn(asked["ResourceArn"])
    match resource.split("/"):
        case ["device-fleet", fleet, "device", device]:
            number = sa.select(FLEETS.c.id).where(FLEETS.c.name == fleet).scalar_subquery()
            select = select.select_from(DEVICES).where(DEVICES.c.fleet == number, DEVICES.c.name == device)
        case [kind, name] if kind in _NAMED:
            select = select.select_from(_NAMED[kind]).where(_NAMED[kind].c.name == name)
        case _:
            raise not_found(resource)
    if call.connection.scalar(select) is None:
        raise not_found(resource)
    return resource


OPERATIONS = {
    "AddTags": ControlOperation(_add_tags, writes=True),
    "DeleteTags": ControlOperation(_delete_tags, writes=True),
    "ListTags": ControlOperation(_list_tags),
}
