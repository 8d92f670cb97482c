"""Many rows in one statement, in the way of each engine.

It costs the driver one call, during which the GIL is released. Raw SQL, since the calls of all devices come through
here: SQLAlchemy would build each statement anew. It must never put a value into the text of a statement.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

MAX_PARAMETERS = 30_000
"""SQLite takes 32,766 in one statement."""

Rows = Sequence[Sequence[Any]]
T = TypeVar("T")


def insert(connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Rows, conflict: str = "") -> None:
    """Inserts the rows; `conflict`: what follows ON CONFLICT. No two rows may have one key where it updates."""
    head = f"INSERT INTO {table.name} ({', '.join(columns)})"
    tail = f" ON CONFLICT {conflict}" if conflict else ""
    if connection.dialect.name == "postgresql":
        if rows:
            source = f"SELECT * FROM unnest({', '.join(_array(table.c[each]) for each in columns)})"
            arrays = tuple(list(column) for column in zip(*rows, strict=True))
            connection.exec_driver_sql(f"{head} {source}{tail}", arrays)
        return
    size = MAX_PARAMETERS // len(columns)
    one = f"({', '.join('?' * len(columns))})"
    for part in parts(rows, size):
        values = ", ".join([one] * len(part))
        parameters = tuple(value for row in part for value in row)
        _execute(connection, f"{head} VALUES {values}{tail}", parameters)


def numbers(connection: sa.Connection, ids: Iterable[int]) -> tuple[str, tuple[Any, ...]]:
    """`IN` of a statement, and its parameter: (SQL, parameters)."""
    if connection.dialect.name == "postgresql":
        return "= ANY (%b::bigint[])", (list(ids),)
    return "IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)


def is_one(connection: sa.Connection, column: sa.Column[int], ids: Iterable[int]) -> sa.ColumnElement[bool]:
    """Whether the column has one of these numbers, with one parameter."""
    if connection.dialect.name == "postgresql":
        return column == sa.func.any(sa.bindparam(None, list(ids), sa.ARRAY(sa.BigInteger)))
    each = sa.func.json_each(json.dumps(list(ids))).table_valued("value")
    return column.in_(sa.select(each.c.value))


def given(
    connection: sa.Connection, rows: Iterable[Sequence[Any]], **columns: type[sa.types.TypeEngine[Any]]
) -> sa.FromClause:
    """A table of these rows for a statement, with one parameter a column. `columns`: their names and types."""
    listed = list(rows)
    if connection.dialect.name == "postgresql":
        arrays = [
            sa.bindparam(None, [row[place] for row in listed], sa.ARRAY(each))
            for place, each in enumerate(columns.values())
        ]
        typed = [sa.column(name, each) for name, each in columns.items()]
        return sa.func.unnest(*arrays).table_valued(*typed, name="given").render_derived()
    each = sa.func.json_each(json.dumps(listed)).table_valued("value")
    extracted = [sa.func.json_extract(each.c.value, f"$[{place}]").label(name) for place, name in enumerate(columns)]
    return sa.select(*extracted).subquery("given")


def pairs(connection: sa.Connection, names: Iterable[tuple[str, str]]) -> tuple[str, tuple[Any, ...]]:
    """A table of the pairs, with the columns `fleet` and `name`, and its parameters: (SQL, parameters)."""
    if connection.dialect.name == "postgresql":
        fleets, devices = [], []
        for fleet, name in names:
            fleets.append(fleet)
            devices.append(name)
        return "unnest(%b::text[], %b::text[]) AS wanted (fleet, name)", (fleets, devices)
    table = "(SELECT json_extract(value, '$[0]') AS fleet, json_extract(value, '$[1]') AS name FROM json_each(?))"
    return f"{table} AS wanted", (json.dumps(list(names)),)


def fetch(connection: sa.Connection, columns: str, rest: str, parameters: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
    """`SELECT columns rest`: all its rows, whose values are text, whole numbers and None.

    In SQLite they come as one row of JSON: each row that is fetched would release the GIL and wait for it. Bytes: see
    `binary`.
    """
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql(f"SELECT {columns} {rest}", parameters).all()
    select = f"SELECT json_group_array(json_array({columns})) {rest}"
    found: Sequence[Sequence[Any]] = json.loads(_execute(connection, select, parameters).fetchone()[0])
    return found


def _execute(connection: sa.Connection, statement: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
    """In SQLite, by the driver: SQLAlchemy would take longer than the statement of a small group. Raises DBAPIError."""
    driver: Any = connection.connection.driver_connection
    try:
        cursor: sqlite3.Cursor = driver.execute(statement, parameters)
    except sqlite3.Error as error:
        raise sa.exc.DBAPIError.instance(statement, parameters, error, sqlite3.Error) from error
    return cursor


def binary(connection: sa.Connection, column: str) -> str:
    """A column of bytes for `fetch`; `as_bytes` of its values are they."""
    return column if connection.dialect.name == "postgresql" else f"hex({column})"


def as_bytes(value: Any) -> bytes:
    return bytes.fromhex(value) if isinstance(value, str) else bytes(value)


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces of `size`, the last one smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _array(column: sa.Column[Any]) -> str:
    """The parameter for all values of a column, in binary: psycopg escapes the text of an array in Python."""
    names = {
        sa.BigInteger: "bigint",
        sa.Integer: "integer",
        sa.Double: "float8",
        sa.Text: "text",
        sa.Boolean: "boolean",
        sa.LargeBinary: "bytea",
    }
    return f"%b::{names[type(column.type)]}[]"
