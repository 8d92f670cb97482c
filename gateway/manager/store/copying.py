"""All rows of one database into another, empty one, of whichever engine: in the caller's transactions.

Ids stay, and numbers go on after those of the source. It must never write into a database that has rows. Model files,
which PostgreSQL has in tables and SQLite has not, are the caller's.
"""

from collections.abc import Callable

import sqlalchemy as sa

from gateway.manager.errors import ManagerError
from gateway.manager.store import bulk
from gateway.manager.store import engine as engines
from gateway.manager.store.tables import METADATA, OBJECT_PIECES, OBJECTS, TASKS

PART = 2000
"""Rows that are read and written at once."""
TABLES = [table for table in METADATA.sorted_tables if table not in (OBJECTS, OBJECT_PIECES)]
"""Each after those to which it refers."""
_NUMBERED = [table for table in TABLES if table.dialect_options["sqlite"]["autoincrement"]]
_OWN = "pg_get_serial_sequence('{table}', 'id')"

OnRows = Callable[[str, int], None]
"""(table, so many more of its rows)"""


def count_rows(connection: sa.Connection) -> dict[str, int]:
    """By table."""
    return {
        table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in TABLES
    }


def require_empty(connection: sa.Connection) -> None:
    """Raises ManagerError where any table has a row; but a `serve` that ran once may have noted its tasks."""
    for table in METADATA.sorted_tables:
        if table is not TASKS and connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            hint = "give an empty database"
            raise ManagerError(f"{engines.where(connection.engine)} has rows in its table {table.name}: {hint}")


def copy_rows(
    source: sa.Connection, target: sa.Connection, on_rows: OnRows = lambda table, rows: None
) -> dict[str, int]:
    """By table: how many rows it has then. Raises ManagerError where the target has rows, or has not as many then."""
    require_empty(target)
    target.execute(sa.delete(TASKS))
    for connection in (source, target):
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # large tables take as long as they take
    for table in TABLES:
        select = sa.select(table).order_by(*table.primary_key).execution_options(yield_per=PART)
        for rows in source.execute(select).partitions():
            bulk.insert(target, table, table.columns.keys(), rows)
            if on_rows is not None:
                on_rows(table.name, len(rows))
    for table in _NUMBERED:
        _set_number(target, table.name, _last_number(source, table.name))
    expected, found = count_rows(source), count_rows(target)
    if expected != found:
        raise ManagerError(f"the copy has not as many rows as its source, and is not kept: {found}, not {expected}")
    return found


def _last_number(connection: sa.Connection, table: str) -> int:
    """The largest that the table ever had; 0: none."""
    if connection.dialect.name == "postgresql":
        select = f"SELECT pg_sequence_last_value({_OWN.format(table=table)}::regclass)"
        return connection.exec_driver_sql(select).scalar() or 0
    select = "SELECT seq FROM sqlite_sequence WHERE name = ?"
    return connection.exec_driver_sql(select, (table,)).scalar() or 0


def _set_number(connection: sa.Connection, table: str, last: int) -> None:
    if not last:
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT setval({_OWN.format(table=table)}, %s)", (last,))
        return
    connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))
