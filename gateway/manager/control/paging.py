"""Pages of a list by keys, so that each costs the same wherever it is, and a row that comes or goes shifts none.

A NextToken is where the page ended: the value by which the list is sorted, and the row's id.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.calls import Members
from gateway.manager.errors import ApiError, validation_error

MOST = 100
"""Rows of a page, where MaxResults says nothing."""


def encode_token(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def wrong_token() -> ApiError:
    return validation_error("NextToken is not one that this list returned")


def decode_token(token: str, *types: type | tuple[type, ...]) -> list[Any]:
    """The values, of those types. Raises ApiError."""
    try:
        values = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        values = None
    is_right = isinstance(values, list) and len(values) == len(types)
    if not is_right or not all(isinstance(value, kind) for value, kind in zip(values, types, strict=True)):
        raise wrong_token()
    found: list[Any] = values
    return found


def page(
    connection: sa.Connection,
    select: sa.Select[Any],
    asked: Members,
    key: sa.ColumnElement[Any],
    columns: Mapping[str, sa.ColumnElement[Any]],
    default: str,
) -> tuple[Sequence[sa.Row[Any]], str | None]:
    """The rows of one page, and the token of the next one; None: it is the last.

    `asked` has MaxResults, NextToken, SortBy (one of `columns`; else `default`) and SortOrder as the service model has
    them. `key` is unique. Raises ApiError.
    """
    column = columns[asked.get("SortBy", default)]
    descending = asked.get("SortOrder", "Ascending") == "Descending"
    limit = max(asked.get("MaxResults", MOST), 1)
    if "NextToken" in asked:
        value, last = decode_token(asked["NextToken"], (str, int, float), int)
        here = sa.tuple_(column, key)
        end = sa.tuple_(sa.literal(value, column.type), sa.literal(last, key.type))
        select = select.where(here < end if descending else here > end)
    order = [each.desc() if descending else each.asc() for each in (column, key)]
    found = connection.execute(select.add_columns(column, key).order_by(*order).limit(limit + 1)).all()
    rows = found[:limit]
    token = encode_token(*rows[-1][-2:]) if len(found) > limit else None
    return rows, token


def in_times(asked: Members, created: sa.ColumnElement[float], changed: sa.ColumnElement[float]) -> list[Any]:
    """The conditions of CreationTimeAfter and its three siblings."""
    conditions: list[Any] = []
    for name, column in (("CreationTime", created), ("LastModifiedTime", changed)):
        if f"{name}After" in asked:
            conditions.append(column > asked[f"{name}After"])
        if f"{name}Before" in asked:
            conditions.append(column < asked[f"{name}Before"])
    return conditions


def contains(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    """Whether `part` is in the text, in upper or lower case alike, and none of its characters is special."""
    return column.icontains(part, autoescape=True)


def with_token(members: dict[str, Any], token: str | None) -> dict[str, Any]:
    return members if token is None else members | {"NextToken": token}
