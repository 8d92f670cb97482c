"""Users of the console, and their sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "users",
        *(sa.Column(each, sa.Text, nullable=False) for each in ("name", "role", "password")),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("disabled", sa.Double),
        sa.PrimaryKeyConstraint("name", name="users_pkey"),
    )
    op.create_table(
        "sessions",
        *(sa.Column(each, sa.Text, nullable=False) for each in ("token", "user")),
        *(sa.Column(each, sa.Double, nullable=False) for each in ("created", "used")),
        sa.PrimaryKeyConstraint("token", name="sessions_pkey"),
        sa.ForeignKeyConstraint(["user"], ["users.name"], name="sessions_user_fkey", ondelete="CASCADE"),
    )
    op.create_index("sessions_user", "sessions", ["user"])
