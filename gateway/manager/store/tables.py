"""The tables of the manager's database, for both engines, and nothing else.

Times are Unix seconds as floats, but whole microseconds in `device_states` and of the samples. What a heartbeat
changes is in no index, so that PostgreSQL updates a row in place (HOT). A change of these tables needs a migration: a
test compares both.
"""

from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Only an INTEGER numbers itself in SQLite."""
CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
_UPDATED: dict[str, Any] = {"postgresql_with": {"fillfactor": 70}}
NUMBERED: dict[str, Any] = {"sqlite_autoincrement": True}  # a number, and so a name made of it, never comes twice


def _device(*, primary_key: bool = False) -> sa.Column[int]:
    foreign = sa.ForeignKey("devices.id", ondelete="CASCADE")
    return sa.Column("device", NUMBER, foreign, nullable=False, primary_key=primary_key)


def _rollout() -> sa.Column[int]:
    return sa.Column("rollout", NUMBER, sa.ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)


FLEETS = sa.Table(
    "fleets",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("role_arn", sa.Text),
    sa.Column("output", sa.Text),
    sa.Column("iot_role_alias", sa.Text),
    sa.Column("created", sa.Double, nullable=False, server_default="0"),
    sa.Column("changed", sa.Double, nullable=False, server_default="0"),
    **NUMBERED,
)
"""`output`: an OutputConfig as JSON. Who registers a device in a fleet that there is not makes it."""

DEVICES = sa.Table(
    "devices",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("fleet", NUMBER, sa.ForeignKey("fleets.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("registered", sa.Double, nullable=False),
    sa.Column("plan", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fetched", sa.Integer, nullable=False, server_default="0"),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("iot_thing", sa.Text),
    sa.UniqueConstraint("fleet", "name"),
    **NUMBERED,
)
"""`plan` grows by one with each change of the device's deployments; `fetched`: the one that GetDeployments returned
last."""

DEVICE_STATES = sa.Table(
    "device_states",
    METADATA,
    _device(primary_key=True),
    sa.Column("fleet", NUMBER, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("due", sa.BigInteger),
    sa.Column("agent_version", sa.Text),
    sa.Column("accepted", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("newest", sa.BigInteger),
    sa.Column("announced", sa.Integer),
    sa.Column("seconds", sa.BigInteger),
    sa.Column("announced_at", sa.BigInteger),
    sa.Column("heartbeats", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reported", sa.LargeBinary),
    **_UPDATED,
)
"""The members of `api.DeviceRecord`, what it was judged to be (`state`, until `due`) and the newest values
(`store.reported`); one row for each device, also before its first heartbeat."""

FLEET_STATES = sa.Table(
    "fleet_states",
    METADATA,
    sa.Column("fleet", NUMBER, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("devices", sa.BigInteger, nullable=False),
    **CLUSTERED,
    **_UPDATED,
)
"""How many rows of `device_states` have that fleet and state."""

FLEET_MODELS = sa.Table(
    "fleet_models",
    METADATA,
    sa.Column("fleet", NUMBER, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("devices", sa.BigInteger, nullable=False),
    **CLUSTERED,
    **_UPDATED,
)
"""How many rows of `device_models` that are the newest have that model, by fleet; those without one have no row."""

METRIC_NAMES = sa.Table(
    "metric_names",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("dimension", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.UniqueConstraint("model", "version", "dimension", "name"),
    **NUMBERED,
)
"""`api.MetricKey` -> the number by which the other tables name it. `model`, `version`: empty for the agent's
metrics."""

DEVICE_METRICS = sa.Table(
    "device_metrics",
    METADATA,
    _device(primary_key=True),
    sa.Column("metric", NUMBER, sa.ForeignKey("metric_names.id"), primary_key=True),
    sa.Index("device_metrics_metric", "metric"),
    **CLUSTERED,
)
"""The metrics of which `reported` has a sample. The index is for the deletion of names that nobody uses."""

DEVICE_MODELS = sa.Table(
    "device_models",
    METADATA,
    _device(primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("newest", sa.Boolean, nullable=False),
    **CLUSTERED,
)
"""The models of which `reported` has times. `newest`: whether they are the latest ones of that name."""

RESULTS = sa.Table(
    "results",
    METADATA,
    _device(primary_key=True),
    sa.Column("deployment", sa.Text, primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("received", sa.Double, nullable=False),
    sa.Column("told", sa.BigInteger, nullable=False),
    **CLUSTERED,
)
"""The newest DeploymentResult of each deployment, as JSON. `told`: how often one was reported."""

DEPLOYMENTS = sa.Table(
    "deployments",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    _device(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("definitions", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("in_force", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.UniqueConstraint("device", "name"),
    sa.Index(
        "deployments_in_force", "device", "id", sqlite_where=sa.text("in_force"), postgresql_where=sa.text("in_force")
    ),
    **NUMBERED,
)
"""A row for each device that has it. `in_force`: GetDeployments returns it; `api.deployments` has the rule."""

ROLLOUTS = sa.Table(
    "rollouts",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("fleet", NUMBER, sa.ForeignKey("fleets.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("definitions", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("undoes", sa.Text),
    sa.Column("plan", sa.Text),
    sa.Column("state", sa.Text, nullable=False, server_default="running"),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("stage", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lasted", sa.Double, nullable=False, server_default="0"),
    sa.Column("counted", sa.Double, nullable=False),
    sa.Column("watched", sa.Double, nullable=False, server_default="0"),
    sa.Column("silent", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("rollouts_by_name", "fleet", "name"),
    **NUMBERED,
)
"""`lasted`: seconds that the stage has lasted, as they were counted until `counted`. `watched`, `silent`: as of
`rollouts.Progress`. `plan`: the name of the deployment plan of the API whose stage it carries out, also once that plan
is deleted; NULL: a command made it."""

ROLLOUT_DEVICES = sa.Table(
    "rollout_devices",
    METADATA,
    _device(primary_key=True),
    _rollout(),
    sa.Column("place", NUMBER, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
    sa.Index("rollout_devices_next", "rollout", "state", "place"),
    **CLUSTERED,
)
"""`state`: a `RolloutDeviceState`; its ASSIGNED is stored as 'given'."""

ROLLOUT_COUNTS = sa.Table(
    "rollout_counts",
    METADATA,
    _rollout(),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("devices", sa.BigInteger, nullable=False),
    **CLUSTERED,
)
"""How many rows of `rollout_devices` have that rollout and state."""

RECENT_SAMPLES = sa.Table(
    "recent_samples",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("device", NUMBER, nullable=False, index=True),
    sa.Column("samples", sa.LargeBinary, nullable=False),
    **NUMBERED,
)
"""The samples of one accepted heartbeat, as `history.pack_samples` writes them, until they are compacted. Without a
foreign key, which would cost PostgreSQL a lock for each row: the compaction drops those of devices that are gone."""

SAMPLE_CHUNKS = sa.Table(
    "sample_chunks",
    METADATA,
    sa.Column("device", NUMBER, primary_key=True),
    sa.Column("metric", NUMBER, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("totals", sa.LargeBinary, nullable=False),
    sa.Column("samples", sa.LargeBinary, nullable=False),
    sa.Index("sample_chunks_start", "start"),
    **CLUSTERED,
)
"""The samples of one metric of a device within one span, as `history.chunks` writes them. `start` (of the span),
`first` and `last` in microseconds. `totals`: least, greatest and sum as doubles, as `store.history` writes them: rows
are read as one JSON text, in which SQLite's doubles are not exact."""

DEREGISTERED = sa.Table(
    "deregistered", METADATA, sa.Column("device", NUMBER, primary_key=True, autoincrement=False), **CLUSTERED
)
"""Numbers of devices that are gone, and may have chunks still: the retention deletes these in parts."""

FLEET_HOURS = sa.Table(
    "fleet_hours",
    METADATA,
    sa.Column("fleet", NUMBER, primary_key=True),
    sa.Column("metric", NUMBER, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("min", sa.Double, nullable=False),
    sa.Column("max", sa.Double, nullable=False),
    sa.Column("sum", sa.Double),
    sa.Index("fleet_hours_start", "start"),
    **CLUSTERED,
)
"""All compacted samples of a metric in a fleet within one hour, `start` in microseconds. `sum`: NULL where it is beyond
a double."""

HISTORY_DAYS = sa.Table(
    "history_days",
    METADATA,
    sa.Column("day", sa.BigInteger, primary_key=True),
    sa.Column("chunks", sa.BigInteger, nullable=False),
    sa.Column("samples", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    **CLUSTERED,
)
"""What `sample_chunks` has of each day, for the retention. `day`: its start in microseconds; `bytes`: of `samples`."""

OBJECTS = sa.Table(
    "objects",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha1", sa.Text, nullable=False),
    sa.Column("modified", sa.Double, nullable=False),
    sa.Column("facts", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("bucket", "key"),
    **NUMBERED,
)
"""The model files, in PostgreSQL alone: with SQLite they are in the data directory. `facts`: as `store.object_facts`
has them. A bucket that begins with a dot has no model files, but parts of uploads, or the names of buckets."""

OBJECT_PIECES = sa.Table(
    "object_pieces",
    METADATA,
    sa.Column("object", NUMBER, primary_key=True),
    sa.Column("piece", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("written", sa.Double, nullable=False),
)
"""Their bytes. Without a foreign key, since they are there before the row of `objects`."""

DEVICE_LOG = sa.Table(
    "device_log",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    _device(),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("device_log_device", "device", "id"),
    sa.Index("device_log_at", "at"),
    **NUMBERED,
)
"""Changes of state, results and changes of the plan. `detail`: JSON."""

TASKS = sa.Table(
    "tasks",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("done", sa.Double, nullable=False),
    **CLUSTERED,
)
"""What one process at a time does in the background: it holds the lock of that row meanwhile. `done`: the last time."""
