"""The tables of the first format for both engines. In SQLite it is the file's format 4: `legacy` has those before."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
_UPDATED: dict[str, Any] = {"postgresql_with": {"fillfactor": 70}}
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
    _devices()
    _reports()
    _deployments()
    _history()
    _objects()


def _devices() -> None:
    op.create_table(
        "fleets",
        _column("id", _NUMBER),
        _column("name", sa.Text),
        _column("description", sa.Text, server_default=""),
        *(sa.Column(each, sa.Text) for each in ("role_arn", "output", "iot_role_alias")),
        *(_column(each, sa.Double, server_default="0") for each in ("created", "changed")),
        _key("fleets", "id"),
        _unique("fleets", "name"),
        **_NUMBERED,
    )
    op.create_table(
        "devices",
        _column("id", _NUMBER),
        _column("fleet", _NUMBER),
        _column("name", sa.Text),
        _column("registered", sa.Double),
        _column("plan", sa.Integer, server_default="0"),
        _column("fetched", sa.Integer, server_default="0"),
        _column("description", sa.Text, server_default=""),
        sa.Column("iot_thing", sa.Text),
        _key("devices", "id"),
        _unique("devices", "fleet", "name"),
        _of("devices", "fleet", "fleets"),
        **_NUMBERED,
    )
    op.create_table(
        "device_states",
        _column("device", _NUMBER, autoincrement=False),
        _column("fleet", _NUMBER),
        _column("state", sa.Text),
        sa.Column("due", sa.BigInteger),
        sa.Column("agent_version", sa.Text),
        _column("accepted", sa.BigInteger, server_default="0"),
        sa.Column("newest", sa.BigInteger),
        sa.Column("announced", sa.Integer),
        sa.Column("seconds", sa.BigInteger),
        sa.Column("announced_at", sa.BigInteger),
        _column("heartbeats", sa.BigInteger, server_default="0"),
        sa.Column("reported", sa.LargeBinary),
        _key("device_states", "device"),
        _of("device_states", "device", "devices", ondelete="CASCADE"),
        **_UPDATED,
    )
    op.create_table(
        "fleet_states",
        _column("fleet", _NUMBER, autoincrement=False),
        _column("state", sa.Text),
        _column("devices", sa.BigInteger),
        _key("fleet_states", "fleet", "state"),
        **_CLUSTERED,
        **_UPDATED,
    )
    op.create_table(
        "fleet_models",
        _column("fleet", _NUMBER, autoincrement=False),
        *(_column(each, sa.Text) for each in ("name", "version")),
        _column("devices", sa.BigInteger),
        _key("fleet_models", "fleet", "name", "version"),
        **_CLUSTERED,
        **_UPDATED,
    )
    op.create_table(
        "device_log",
        _column("id", _NUMBER),
        _column("device", _NUMBER),
        _column("at", sa.Double),
        _column("kind", sa.Text),
        _column("detail", sa.Text),
        _key("device_log", "id"),
        _of("device_log", "device", "devices", ondelete="CASCADE"),
        **_NUMBERED,
    )
    op.create_index("device_log_device", "device_log", ["device", "id"])
    op.create_index("device_log_at", "device_log", ["at"])
    op.create_table("tasks", _column("name", sa.Text), _column("done", sa.Double), _key("tasks", "name"), **_CLUSTERED)


def _reports() -> None:
    op.create_table(
        "metric_names",
        _column("id", _NUMBER),
        *(_column(each, sa.Text) for each in ("model", "version", "dimension", "name")),
        _key("metric_names", "id"),
        _unique("metric_names", "model", "version", "dimension", "name"),
        **_NUMBERED,
    )
    op.create_table(
        "device_metrics",
        _column("device", _NUMBER, autoincrement=False),
        _column("metric", _NUMBER, autoincrement=False),
        _key("device_metrics", "device", "metric"),
        _of("device_metrics", "device", "devices", ondelete="CASCADE"),
        _of("device_metrics", "metric", "metric_names"),
        **_CLUSTERED,
    )
    op.create_index("device_metrics_metric", "device_metrics", ["metric"])
    op.create_table(
        "device_models",
        _column("device", _NUMBER, autoincrement=False),
        _column("name", sa.Text),
        _column("version", sa.Text),
        _column("newest", sa.Boolean),
        _key("device_models", "device", "name", "version"),
        _of("device_models", "device", "devices", ondelete="CASCADE"),
        **_CLUSTERED,
    )
    op.create_table(
        "results",
        _column("device", _NUMBER, autoincrement=False),
        _column("deployment", sa.Text),
        _column("result", sa.Text),
        _column("received", sa.Double),
        _column("told", sa.BigInteger),
        _key("results", "device", "deployment"),
        _of("results", "device", "devices", ondelete="CASCADE"),
        **_CLUSTERED,
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        _column("id", _NUMBER),
        _column("device", _NUMBER),
        _column("name", sa.Text),
        _column("policy", sa.Text),
        _column("definitions", sa.Text),
        _column("created", sa.Double),
        _column("in_force", sa.Boolean, server_default=sa.true()),
        _key("deployments", "id"),
        _unique("deployments", "device", "name"),
        _of("deployments", "device", "devices", ondelete="CASCADE"),
        **_NUMBERED,
    )
    in_force = sa.text("in_force")
    op.create_index(
        "deployments_in_force", "deployments", ["device", "id"], sqlite_where=in_force, postgresql_where=in_force
    )
    op.create_table(
        "rollouts",
        _column("id", _NUMBER),
        _column("fleet", _NUMBER),
        _column("name", sa.Text),
        _column("policy", sa.Text),
        _column("definitions", sa.Text),
        _column("created", sa.Double),
        _column("rules", sa.Text),
        sa.Column("undoes", sa.Text),
        sa.Column("plan", sa.Text),
        _column("state", sa.Text, server_default="running"),
        _column("reason", sa.Text, server_default=""),
        _column("stage", sa.Integer, server_default="0"),
        _column("lasted", sa.Double, server_default="0"),
        _column("counted", sa.Double),
        _column("watched", sa.Double, server_default="0"),
        _column("silent", sa.BigInteger, server_default="0"),
        _key("rollouts", "id"),
        _of("rollouts", "fleet", "fleets"),
        **_NUMBERED,
    )
    op.create_index("rollouts_by_name", "rollouts", ["fleet", "name"])
    op.create_table(
        "rollout_devices",
        _column("device", _NUMBER, autoincrement=False),
        _column("rollout", _NUMBER, autoincrement=False),
        _column("place", _NUMBER),
        _column("state", sa.Text, server_default="waiting"),
        _key("rollout_devices", "device", "rollout"),
        _of("rollout_devices", "device", "devices", ondelete="CASCADE"),
        _of("rollout_devices", "rollout", "rollouts", ondelete="CASCADE"),
        **_CLUSTERED,
    )
    op.create_index("rollout_devices_next", "rollout_devices", ["rollout", "state", "place"])
    op.create_table(
        "rollout_counts",
        _column("rollout", _NUMBER, autoincrement=False),
        _column("state", sa.Text),
        _column("devices", sa.BigInteger),
        _key("rollout_counts", "rollout", "state"),
        _of("rollout_counts", "rollout", "rollouts", ondelete="CASCADE"),
        **_CLUSTERED,
    )


def _history() -> None:
    op.create_table(
        "recent_samples",
        _column("id", _NUMBER),
        _column("device", _NUMBER),
        _column("samples", sa.LargeBinary),
        _key("recent_samples", "id"),
        **_NUMBERED,
    )
    op.create_index("recent_samples_device_idx", "recent_samples", ["device"])
    op.create_table(
        "sample_chunks",
        _column("device", _NUMBER, autoincrement=False),
        _column("metric", _NUMBER, autoincrement=False),
        _column("start", sa.BigInteger, autoincrement=False),
        _column("part", sa.Integer, autoincrement=False),
        _column("first", sa.BigInteger),
        _column("last", sa.BigInteger),
        _column("count", sa.Integer),
        _column("totals", sa.LargeBinary),
        _column("samples", sa.LargeBinary),
        _key("sample_chunks", "device", "metric", "start", "part"),
        **_CLUSTERED,
    )
    op.create_index("sample_chunks_start", "sample_chunks", ["start"])
    op.create_table(
        "deregistered", _column("device", _NUMBER, autoincrement=False), _key("deregistered", "device"), **_CLUSTERED
    )
    op.create_table(
        "fleet_hours",
        _column("fleet", _NUMBER, autoincrement=False),
        _column("metric", _NUMBER, autoincrement=False),
        _column("start", sa.BigInteger, autoincrement=False),
        _column("count", sa.BigInteger),
        *(_column(each, sa.Double) for each in ("min", "max")),
        sa.Column("sum", sa.Double),
        _key("fleet_hours", "fleet", "metric", "start"),
        **_CLUSTERED,
    )
    op.create_index("fleet_hours_start", "fleet_hours", ["start"])
    op.create_table(
        "history_days",
        _column("day", sa.BigInteger, autoincrement=False),
        *(_column(each, sa.BigInteger) for each in ("chunks", "samples", "bytes")),
        _key("history_days", "day"),
        **_CLUSTERED,
    )


def _objects() -> None:
    op.create_table(
        "objects",
        _column("id", _NUMBER),
        _column("bucket", sa.Text),
        _column("key", sa.Text),
        _column("size", sa.BigInteger),
        _column("sha1", sa.Text),
        _column("modified", sa.Double),
        _column("facts", sa.Text, server_default=""),
        _key("objects", "id"),
        _unique("objects", "bucket", "key"),
        **_NUMBERED,
    )
    op.create_table(
        "object_pieces",
        _column("object", _NUMBER, autoincrement=False),
        _column("piece", sa.Integer, autoincrement=False),
        _column("data", sa.LargeBinary),
        _column("written", sa.Double),
        _key("object_pieces", "object", "piece"),
    )
