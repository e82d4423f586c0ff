"""Who waits for a site, and who has its leave, stands in the jobs' rows."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WAITS = sa.text("awaiting_lease_since IS NOT NULL")
_HOLDS = sa.text("lease IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lease", sa.BigInteger))
    op.add_column("jobs", sa.Column("lined_up_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("awaiting_lease_since", sa.DateTime(timezone=True)))
    op.create_index(
        "jobs_awaiting_lease",
        "jobs",
        ["site", "owner", "priority", "awaiting_lease_since", "submitted_at", "position", "id"],
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    )
    op.create_index("jobs_with_lease", "jobs", ["site", "id"], sqlite_where=_HOLDS, postgresql_where=_HOLDS)
    op.drop_index("jobs_by_state", "jobs")
    op.create_index(
        "jobs_by_state", "jobs", ["held", "state", "dispatched_at", "site", "priority", "submitted_at", "id"]
    )
    with op.batch_alter_table("sites") as sites:
        sites.drop_column("in_use")
        sites.drop_column("waiting")


def downgrade() -> None:
    op.add_column("sites", sa.Column("in_use", sa.Integer, nullable=False, server_default="0"))
    op.add_column("sites", sa.Column("waiting", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("jobs_by_state", "jobs")
    op.create_index("jobs_by_state", "jobs", ["held", "state", "dispatched_at"])
    op.drop_index("jobs_with_lease", "jobs")
    op.drop_index("jobs_awaiting_lease", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("awaiting_lease_since")
        jobs.drop_column("lined_up_at")
        jobs.drop_column("lease")
