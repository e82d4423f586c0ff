"""Resumes that Temporal has not been told of; what a wanted video is to become; an index for throughput."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("resumed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("videos", sa.Column("preset", sa.String(32)))
    op.add_column("videos", sa.Column("options", sa.JSON))
    op.create_index("jobs_by_finish", "jobs", ["finished_at"])


def downgrade() -> None:
    op.drop_index("jobs_by_finish", "jobs")
    for table, columns in (("videos", ("options", "preset")), ("jobs", ("resumed",))):
        with op.batch_alter_table(table) as altered:
            for name in columns:
                altered.drop_column(name)
