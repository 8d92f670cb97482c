"""The tables of the control plane. In SQLite it is the file's format 5."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
_NUMBERED: dict[str, Any] = {"sqlite_autoincrement": True}


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"{table}_pkey")


def _of(table: str, column: str, parent: str, **options: Any) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=f"{table}_{column}_fkey", **options)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"{table}_{'_'.join(columns)}_key")


def upgrade() -> None:
    _tags()
    _jobs()
    _deployed_files()
    _plans()
    _access()


def _tags() -> None:
    op.create_table(
        "tags",
        *(_column(each, sa.Text) for each in ("resource", "key", "value")),
        _key("tags", "resource", "key"),
        **_CLUSTERED,
    )


def _jobs() -> None:
    op.create_table(
        "compilation_jobs",
        _column("id", _NUMBER),
        *(_column(each, sa.Text) for each in ("name", "request", "status")),
        _column("message", sa.Text, server_default=""),
        _column("created", sa.Double),
        _column("changed", sa.Double),
        _key("compilation_jobs", "id"),
        _unique("compilation_jobs", "name"),
        **_NUMBERED,
    )
    op.create_index("compilation_jobs_status", "compilation_jobs", ["status", "id"])
    op.create_index("compilation_jobs_created", "compilation_jobs", ["created", "id"])
    op.create_table(
        "packages",
        _column("id", _NUMBER),
        *(_column(each, sa.Text) for each in ("name", "request", "model", "version", "status")),
        _column("message", sa.Text, server_default=""),
        sa.Column("url", sa.Text),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha1", sa.Text),
        _column("created", sa.Double),
        _column("changed", sa.Double),
        _key("packages", "id"),
        _unique("packages", "name"),
        **_NUMBERED,
    )
    op.create_index("packages_status", "packages", ["status", "id"])
    op.create_index("packages_url", "packages", ["url", "id"])
    op.create_index("packages_created", "packages", ["created", "id"])


def _deployed_files() -> None:
    """What was deployed before becomes a package, as `deploy` makes one: its version is the first digits of its SHA-1.

    A later `deploy` of the file then finds it.
    """
    names = ("name", "request", "model", "version", "status", "url", "size", "sha1", "created", "changed")
    packages = sa.table("packages", *map(sa.column, names))
    found: dict[str, dict[str, Any]] = {}
    for text, created in op.get_bind().execute(sa.text("SELECT definitions, created FROM rollouts ORDER BY id")):
        for each in json.loads(text):
            url, sha1, size = each.get("url"), each.get("sha1"), each.get("size")
            if url is not None and sha1 and size is not None and url not in found:
                version = sha1[:12]
                digest = hashlib.sha1(f"{url} {version}".encode(), usedforsecurity=False).hexdigest()
                row = (f"{each['handle'][:50]}-{digest[:12]}", "{}", each["handle"], version, "COMPLETED")
                found[url] = dict(zip(names, (*row, url, size, sha1, created, created), strict=True))
    op.bulk_insert(packages, list(found.values()))


def _plans() -> None:
    op.create_table(
        "plans",
        _column("id", _NUMBER),
        _column("name", sa.Text),
        _column("fleet", _NUMBER),
        _column("models", sa.Text),
        _column("created", sa.Double),
        _column("changed", sa.Double),
        _key("plans", "id"),
        _unique("plans", "name"),
        _of("plans", "fleet", "fleets"),
        **_NUMBERED,
    )
    op.create_table(
        "plan_stages",
        _column("plan", _NUMBER, autoincrement=False),
        _column("number", sa.Integer, autoincrement=False),
        *(_column(each, sa.Text) for each in ("name", "selection", "policy", "state")),
        _column("message", sa.Text, server_default=""),
        sa.Column("started", sa.Double),
        sa.Column("rollout", _NUMBER),
        _key("plan_stages", "plan", "number"),
        _unique("plan_stages", "plan", "name"),
        _of("plan_stages", "plan", "plans", ondelete="CASCADE"),
        _of("plan_stages", "rollout", "rollouts", ondelete="SET NULL"),
        **_CLUSTERED,
    )
    op.create_index("plan_stages_state", "plan_stages", ["state"])
    op.create_index("plan_stages_rollout", "plan_stages", ["rollout"])


def _access() -> None:
    op.create_table(
        "access_keys",
        *(_column(each, sa.Text) for each in ("key", "secret", "role")),
        _column("description", sa.Text, server_default=""),
        _column("created", sa.Double),
        sa.Column("revoked", sa.Double),
        _key("access_keys", "key"),
    )
    op.create_table(
        "audit",
        _column("id", _NUMBER),
        _column("at", sa.Double),
        *(_column(each, sa.Text) for each in ("key", "address", "action", "resource")),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        _key("audit", "id"),
        **_NUMBERED,
    )
    op.create_index("audit_at", "audit", ["at"])
    op.create_index("audit_resource", "audit", ["resource", "id"])
