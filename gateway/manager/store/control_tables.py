"""The tables of the control plane: what an operator makes of SageMaker's resources, access keys, users of the console,
alerts, and the audit.

Times are Unix seconds; what is JSON has the members of the service model's shapes. As in `tables`, a change needs a
migration.
"""

import sqlalchemy as sa

from gateway.manager.store.tables import CLUSTERED, DEVICES, FLEETS, METADATA, NUMBER, NUMBERED


def fleet_resource(fleet: str) -> str:
    """What the audit and `TAGS` call a fleet."""
    return f"device-fleet/{fleet}"


def device_resource(fleet: str, device: str) -> str:
    """As `fleet_resource`, of a device."""
    return f"device-fleet/{fleet}/device/{device}"


RESOURCE_OF_DEVICE = sa.literal("device-fleet/") + FLEETS.c.name + "/device/" + DEVICES.c.name
"""What `device_resource` returns, of a row of FLEETS and DEVICES."""


def deployment_resource(fleet: str, deployment: str) -> str:
    """As `fleet_resource`, of a deployment that a command or a stage made."""
    return f"device-fleet/{fleet}/deployment/{deployment}"


def packaging_resource(job: str) -> str:
    """As `fleet_resource`, of an edge packaging job."""
    return f"edge-packaging-job/{job}"


TAGS = sa.Table(
    "tags",
    METADATA,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    **CLUSTERED,
)
"""`resource`: the part of an ARN after the account, such as device-fleet/F/device/D. Who deletes a resource deletes its
rows."""

COMPILATION_JOBS = sa.Table(
    "compilation_jobs",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False, server_default=""),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("changed", sa.Double, nullable=False),
    sa.Index("compilation_jobs_status", "status", "id"),
    sa.Index("compilation_jobs_created", "created", "id"),
    **NUMBERED,
)
"""`request`: the input of CreateCompilationJob as JSON, without its tags. `message`: why it is FAILED."""

MADE = "COMPLETED"
"""The status of a package whose file is known."""

PACKAGES = sa.Table(
    "packages",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False, server_default=""),
    sa.Column("url", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("sha1", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("changed", sa.Double, nullable=False),
    sa.Index("packages_status", "status", "id"),
    sa.Index("packages_url", "url", "id"),
    sa.Index("packages_created", "created", "id"),
    **NUMBERED,
)
"""Edge packaging jobs. `request`: the input of CreateEdgePackagingJob as JSON, without its tags, {} where the CLI's
`deploy` made it. `url` (S3) of the file, its `size` in bytes and `sha1`: NULL until COMPLETED; but while INPROGRESS,
and until what a FAILED or STOPPED job may have written is removed, `url` is that of the file which it copies."""

PLANS = sa.Table(
    "plans",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("fleet", NUMBER, sa.ForeignKey("fleets.id"), nullable=False),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("changed", sa.Double, nullable=False),
    **NUMBERED,
)
"""Edge deployment plans that the API made; a rollout of the CLI shows as one without a row. `models`: ModelConfigs."""

PLAN_STAGES = sa.Table(
    "plan_stages",
    METADATA,
    sa.Column("plan", NUMBER, sa.ForeignKey("plans.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("selection", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False, server_default=""),
    sa.Column("started", sa.Double),
    sa.Column("rollout", NUMBER, sa.ForeignKey("rollouts.id", ondelete="SET NULL")),
    sa.UniqueConstraint("plan", "name"),
    sa.Index("plan_stages_state", "state"),
    sa.Index("plan_stages_rollout", "rollout"),
    **CLUSTERED,
)
"""`selection`: a DeviceSelectionConfig as JSON. `state`: READYTODEPLOY, STARTING, STOPPING, FAILED or STOPPED while
there is no `rollout` that carries the stage out; then INPROGRESS, and the rollout says how far it is."""

ACCESS_KEYS = sa.Table(
    "access_keys",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("revoked", sa.Double),
)
"""The secret as it is, since Signature Version 4 is a keyed hash: who reads the database can sign. `revoked`: when
it was, and then the secret is empty; NULL: it is valid."""

USERS = sa.Table(
    "users",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("disabled", sa.Double),
)
"""Of the console. `password`: as `control.passwords` writes its hash. `disabled`: when the user was removed, and then
the hash is empty; NULL: the user may log in. A row stays: where a user was ever made, nobody gets in without one."""

SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("used", sa.Double, nullable=False),
    sa.Index("sessions_user", "user"),
)
"""Of users that are logged in. `token`: the SHA-256 of what their browsers have. `used`: within a minute of the last
request."""

ALERTS = sa.Table(
    "alerts",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("fired", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("muted", sa.Double),
    sa.Column("notified", sa.Text, nullable=False, server_default=""),
)
"""`subject`: empty, a fleet, or FLEET/DEPLOYMENT. `fired`, `ended`: NULL: not yet. `muted`: until when nobody is
notified. `notified`: the state of which the webhook was notified."""

AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Index("audit_at", "at"),
    sa.Index("audit_resource", "resource", "id"),
    **NUMBERED,
)
"""Every change by an operator. `key`: an access key's id, empty: none was needed. `address`: of the caller; `local:`
and the account of a command on the manager's machine. `action`: as sagemaker:CreateDeviceFleet, or
s3:PutObject. `before`, `after`: JSON; NULL: there was nothing, or is nothing."""
