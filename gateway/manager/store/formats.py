"""The format of an open database: what it has, and the change to the newest one. It must never lose what was stored.

A format is a number: 1 to 3 are SQLite files of earlier versions, and each revision of `migrations` is one more. A file
has its own as `user_version`, which those versions read too: they refuse a newer one.
"""

import sqlite3
import time

import sqlalchemy as sa
import structlog

from gateway.manager.errors import ManagerError
from gateway.manager.store import engine as engines
from gateway.manager.store import legacy, migrations

FORMAT = legacy.FORMAT + int(migrations.HEAD)
"""The newest format."""
OLDEST_SERVER = 15
_LOCK = 0x656467652D6D6772
"""The number of the advisory lock of `lock`."""
_HAS_TABLES = "SELECT to_regclass('alembic_version') IS NOT NULL"

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


def require_newest(engine: sa.Engine) -> None:
    """Writes nothing. Raises ManagerError where the database has another format than the newest, or none."""
    with engine.execution_options(reads=True).begin() as connection:
        found = _format_of(connection)
    _refuse_newer(engine, found)
    if found == 0 and engine.dialect.name == "postgresql":
        hint = "start `manager serve` with it once, or correct --database"
        raise ManagerError(f"{engines.where(engine)} has no Edge Manager data: {hint}")
    if found < FORMAT:
        hint = "start `manager serve` once, which changes it"
        raise ManagerError(f"{engines.where(engine)} has an older format: {hint}")


def bring_to_newest(engine: sa.Engine) -> None:
    """In one transaction, by one process at a time; an empty database gets its tables.

    Raises ManagerError, and changes nothing, where the format is newer or the server too old.
    """
    with engine.execution_options(reads=True).begin() as connection:
        _check_server(connection)
        found = _format_of(connection)
    if found == FORMAT:
        return
    with engine.begin() as connection:
        lock(connection)
        _upgrade(connection)


def lock(connection: sa.Connection) -> None:
    """Of those who make or fill a database of PostgreSQL, one at a time goes on; its statements may take their time."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _upgrade(connection: sa.Connection) -> None:
    found = _format_of(connection)  # another process may just have changed it
    _refuse_newer(connection.engine, found)
    if found == FORMAT:
        return
    if found:
        event = "the database has an older format and is changed now; earlier versions refuse it afterwards"
        LOG.info(event, before=found, after=FORMAT)
    if 0 < found <= legacy.FORMAT:
        legacy.change(connection, found, lambda connection: migrations.upgrade(connection, "0001"), time.time())
    migrations.upgrade(connection)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")


def _format_of(connection: sa.Connection) -> int:
    """0: it has no tables."""
    if connection.dialect.name == "sqlite":
        found: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        return found
    if not connection.exec_driver_sql(_HAS_TABLES).scalar_one():
        return 0
    return legacy.FORMAT + int(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _refuse_newer(engine: sa.Engine, found: int) -> None:
    if found > FORMAT:
        raise ManagerError(f"{engines.where(engine)} has format {found}; this program reads formats up to {FORMAT}")


def _check_server(connection: sa.Connection) -> None:
    version = connection.dialect.server_version_info or (0,)
    if connection.dialect.name == "postgresql" and int(version[0]) < OLDEST_SERVER:
        found = ".".join(map(str, version))
        place = engines.where(connection.engine)
        raise ManagerError(f"{place} is of PostgreSQL {found}: {OLDEST_SERVER} or later is needed")


def make_shrinkable(engine: sa.Engine) -> None:
    """A SQLite file of an earlier version is written anew once, so that the retention can give pages back to the disk.

    Where that fails, for want of room or because others use the file, it serves all the same; the next start tries it.
    """
    pooled = engine.raw_connection()
    try:
        connection: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2:
            return
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            event = (
                "the database cannot be written anew: it serves, but its file never becomes smaller; make room for"
                " twice its size, and restart"
            )
            LOG.warning(event, detail=str(error))
    finally:
        pooled.close()
