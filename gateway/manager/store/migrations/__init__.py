"""Migrations of the manager's database, by Alembic: each module of `versions` changes one format into the next.

Stored data depend on them: once released, a revision must never change. What they make equals `tables.METADATA`; a test
compares both. A new one is named by the number after the newest, and adds only what the programs before it can do
without: several programs may use one database of PostgreSQL while they are replaced one by one.
"""

from sqlalchemy import Connection

HEAD = "0004"
"""The newest revision. Here so that a database that has it is opened without Alembic, whose import takes 0.2 s."""


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Brings the database to that revision, in the caller's transaction; `connection` must be in one."""
    from alembic import command
    from alembic.config import Config

    assert connection.in_transaction()
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "gateway.manager.store:migrations")
    command.upgrade(config, revision)
