"""Many rows in one statement, in the way of each engine.

It costs the driver one call, during which the GIL is released. Raw SQL, since the calls of all devices come through
here: SQLAlchemy would build each statement anew. It must never put a value into the text of a statement.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

MAX_PARAMETERS = 30_000
"""SQLite takes 32,766 in one statement."""

Rows = Sequence[Sequence[Any]]
T = TypeVar("T")


class Insert(NamedTuple):
    """Rows of a table; `conflict`: what follows ON CONFLICT. No two rows may have one key where it updates."""

    table: sa.Table
    columns: Sequence[str]
    rows: Rows
    conflict: str = ""

    @property
    def head(self) -> str:
        names = ", ".join(f'"{each}"' for each in self.columns)  # `user` is a word of SQL
        return f"INSERT INTO {self.table.name} ({names})"

    @property
    def tail(self) -> str:
        return f" ON CONFLICT {self.conflict}" if self.conflict else ""


def insert(connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Rows, conflict: str = "") -> None:
    """Inserts the rows: see `Insert`."""
    insert_all(connection, [Insert(table, columns, rows, conflict)])


def insert_all(connection: sa.Connection, inserts: Sequence[Insert]) -> None:
    """Into different tables. In PostgreSQL it is one statement, and the server is asked once."""
    wanted = [each for each in inserts if each.rows]
    if connection.dialect.name == "postgresql":
        if wanted:
            *before, last = [_from_arrays(each) for each in wanted]
            others = ", ".join(f"part{place} AS ({statement})" for place, statement in enumerate(before))
            arrays = tuple(list(column) for each in wanted for column in zip(*each.rows, strict=True))
            connection.exec_driver_sql(f"WITH {others} {last}" if others else last, arrays)
        return
    for each in wanted:
        size = MAX_PARAMETERS // len(each.columns)
        one = f"({', '.join('?' * len(each.columns))})"
        for part in parts(each.rows, size):
            values = ", ".join([one] * len(part))
            parameters = tuple(value for row in part for value in row)
            _execute(connection, f"{each.head} VALUES {values}{each.tail}", parameters)


def _from_arrays(wanted: Insert) -> str:
    arrays = ", ".join(_array(wanted.table.c[each]) for each in wanted.columns)
    return f"{wanted.head} SELECT * FROM unnest({arrays}){wanted.tail}"


def delete(connection: sa.Connection, table: sa.Table, keys: Rows) -> None:
    """The rows with these primary keys."""
    if keys:
        source = given(connection, keys, **{column.name: type(column.type) for column in table.primary_key})
        key = sa.tuple_(*table.primary_key)
        connection.execute(sa.delete(table).where(key.in_(sa.select(*source.c))))


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


def is_in(connection: sa.Connection, column: sa.Column[int], select: sa.Select[tuple[int]]) -> sa.ColumnElement[bool]:
    """Whether the column has one of the numbers of a small select, which PostgreSQL runs first.

    Of a join with it, or with IN, it may read the other table as a whole.
    """
    if connection.dialect.name == "postgresql":
        return column == sa.func.any(sa.func.array(select.scalar_subquery()))
    return column.in_(select)


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


def devices(connection: sa.Connection, names: Iterable[tuple[str, str]]) -> tuple[str, tuple[Any, ...]]:
    """A table `wanted` of these names of fleet and device, with the columns `fleet` and `name`, joined with the rows of
    `devices` that have them, and its parameters: (SQL, parameters).

    OFFSET 0 makes PostgreSQL look up each name for itself, by the whole index. Of tables without statistics it would
    read all devices of the fleet for each of them.
    """
    if connection.dialect.name == "postgresql":
        fleets, named = [], []
        for fleet, name in names:
            fleets.append(fleet)
            named.append(name)
        table = """unnest(%b::text[], %b::text[]) AS wanted (fleet, name)
            CROSS JOIN LATERAL (SELECT id FROM fleets WHERE fleets.name = wanted.fleet OFFSET 0) AS fleets
            CROSS JOIN LATERAL (
                SELECT * FROM devices WHERE devices.fleet = fleets.id AND devices.name = wanted.name OFFSET 0
            ) AS devices"""
        return table, (fleets, named)
    table = "(SELECT json_extract(value, '$[0]') AS fleet, json_extract(value, '$[1]') AS name FROM json_each(?))"
    joined = "JOIN devices ON devices.fleet = fleets.id AND devices.name = wanted.name"
    return f"{table} AS wanted JOIN fleets ON fleets.name = wanted.fleet {joined}", (json.dumps(list(names)),)


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
