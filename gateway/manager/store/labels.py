"""Labels of devices: their tags, as operators choose devices by them. It only reads; `control.tags` writes."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from gateway.manager.store import bulk
from gateway.manager.store.control_tables import RESOURCE_OF_DEVICE, TAGS, device_resource


def has_labels(labels: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """Whether a row of FLEETS and DEVICES has each of them: one look into the primary key of TAGS for each."""
    one = sa.select(TAGS.c.resource).where(TAGS.c.resource == RESOURCE_OF_DEVICE)
    return [sa.exists(one.where(TAGS.c.key == key, TAGS.c.value == value)) for key, value in labels.items()]


def read_labels(connection: sa.Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    """(fleet, device) -> its labels, in the order of their keys."""
    resources = {device_resource(*name): name for name in names}
    found: dict[tuple[str, str], dict[str, str]] = {name: {} for name in names}
    given = bulk.given(connection, [[each] for each in resources], resource=sa.Text)
    select = sa.select(TAGS).join_from(given, TAGS, TAGS.c.resource == given.c.resource)
    for resource, key, value in connection.execute(select.order_by(TAGS.c.key)):
        found[resources[resource]][key] = value
    return found
