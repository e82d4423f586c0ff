"""Batches and their items; jobs that a batch holds back, that pause, that come from a playlist."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        for name, value in (("pause_requested", sa.false()), ("held", sa.false()), ("standalone", sa.true())):
            jobs.add_column(sa.Column(name, sa.Boolean, nullable=False, server_default=value))
        jobs.add_column(sa.Column("depth", sa.Integer, nullable=False, server_default="0"))
        jobs.add_column(sa.Column("entry", sa.JSON))
    for name in ("jobs_by_submission", "jobs_by_state", "jobs_by_parent"):
        op.drop_index(name, "jobs")
    op.create_index("jobs_by_submission", "jobs", ["standalone", "submitted_at", "id"])
    op.create_index("jobs_by_state", "jobs", ["held", "state", "dispatched_at"])
    op.create_index("jobs_by_failure", "jobs", ["failure_kind"])
    op.create_table(
        "batches",
        sa.Column("id", sa.String(64), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("source", sa.JSON),
        sa.Column("cursor", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer),
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.Column("expanded", sa.Boolean, nullable=False),
        sa.Column("preview", sa.Boolean, nullable=False),
        sa.Column("at_once", sa.Integer),
        sa.Column("request_hash", sa.String(64)),
    )
    op.create_table(
        "items",
        sa.Column("batch_id", sa.String(64), sa.ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("site", sa.String(255), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("released", sa.Boolean, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("skipped", sa.Boolean, nullable=False),
    )
    op.create_index("items_by_job", "items", ["job_id"])
    op.create_index("items_by_state", "items", ["batch_id", "state", "skipped", "size_bytes"])
    op.create_index("items_in_line", "items", ["batch_id", "released", "site", "priority", "position"])
    op.create_index("videos_by_url", "videos", ["url"])
    op.create_index("videos_by_extractor", "videos", ["extractor_id", "extractor"])


def downgrade() -> None:
    op.drop_index("videos_by_extractor", "videos")
    op.drop_index("videos_by_url", "videos")
    op.drop_table("items")
    op.drop_table("batches")
    for name in ("jobs_by_submission", "jobs_by_state", "jobs_by_failure"):
        op.drop_index(name, "jobs")
    with op.batch_alter_table("jobs") as jobs:
        for name in ("pause_requested", "held", "standalone", "depth", "entry"):
            jobs.drop_column(name)
    op.create_index("jobs_by_submission", "jobs", ["submitted_at", "id"])
    op.create_index("jobs_by_state", "jobs", ["state", "dispatched_at"])
    op.create_index("jobs_by_parent", "jobs", ["parent_id", "position"])
