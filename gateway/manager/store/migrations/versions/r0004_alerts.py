"""Alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "alerts",
        *(sa.Column(each, sa.Text, nullable=False) for each in ("name", "subject", "summary")),
        sa.Column("since", sa.Double, nullable=False),
        *(sa.Column(each, sa.Double) for each in ("fired", "ended", "muted")),
        sa.Column("notified", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("name", "subject", name="alerts_pkey"),
    )
