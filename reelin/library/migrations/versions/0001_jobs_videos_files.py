"""Jobs, videos and files."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("title", sa.Text),
        sa.Column("site", sa.String(255)),
        sa.Column("parent_id", sa.String(64)),
        sa.Column("position", sa.Integer),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("preset", sa.String(32), nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("force", sa.Boolean, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("submitted_at", MOMENT, nullable=False),
        sa.Column("dispatched_at", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("next_attempt_at", MOMENT),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("keep_partial", sa.Boolean, nullable=False),
        sa.Column("failure_kind", sa.String(32)),
        sa.Column("failure", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("jobs_by_submission", "jobs", ["submitted_at", "id"])
    op.create_index("jobs_by_state", "jobs", ["state", "dispatched_at"])
    op.create_index("jobs_by_version", "jobs", ["version"])
    op.create_index("jobs_by_parent", "jobs", ["parent_id", "position"])
    op.create_table(
        "forgotten",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
    )
    op.create_table(
        "videos",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("uploader", sa.Text),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("uploaded_on", sa.Date),
        sa.Column("site", sa.String(255), nullable=False),
        sa.Column("extractor", sa.String(128)),
        sa.Column("extractor_id", sa.String(512)),
        sa.Column("thumbnail_url", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
    )
    op.create_index("videos_by_addition", "videos", ["added_at", "id"])
    op.create_table(
        "files",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("video_id", sa.String(64), sa.ForeignKey("videos.id", ondelete="CASCADE"), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("path", sa.Text, nullable=False, unique=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("published_at", MOMENT, nullable=False),
    )
    op.create_index("files_by_video", "files", ["video_id"])
    op.create_index("files_by_job", "files", ["job_id"])


def downgrade() -> None:
    op.drop_table("files")
    op.drop_table("videos")
    op.drop_table("forgotten")
    op.drop_table("jobs")
