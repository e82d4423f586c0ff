"""Items hold what lists are filtered and sorted by; indexes from which lists and their counts are read."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ITEMS = ("batch_id", "state", "skipped", "size_bytes")
_LISTED = ("kind", "site", "failure_kind", "submitted_at", "finished_at")
_TAKEN_OVER = ("kind", "title", "url", "failure_kind", "submitted_at", "finished_at")


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    for name, kind in (("kind", sa.String(16)), ("title", sa.Text), ("url", sa.Text), ("failure_kind", sa.String(32))):
        op.add_column("items", sa.Column(name, kind))
    for name in ("submitted_at", "finished_at"):
        op.add_column("items", sa.Column(name, moment))
    names = ", ".join(_TAKEN_OVER)
    values = ", ".join(f"jobs.{name}" for name in _TAKEN_OVER)
    op.execute(f"UPDATE items SET ({names}) = (SELECT {values} FROM jobs WHERE jobs.id = items.job_id)")
    op.drop_index("items_by_state", "items")
    op.create_index("items_by_state", "items", [*_ITEMS, *_LISTED, "position"])
    op.drop_index("jobs_by_failure", "jobs")
    op.create_index("jobs_listed", "jobs", ["standalone", "state", *_LISTED, "size_bytes", "position", "id"])


def downgrade() -> None:
    op.drop_index("jobs_listed", "jobs")
    op.create_index("jobs_by_failure", "jobs", ["failure_kind"])
    op.drop_index("items_by_state", "items")
    with op.batch_alter_table("items") as items:
        for name in _TAKEN_OVER:
            items.drop_column(name)
    op.create_index("items_by_state", "items", list(_ITEMS))
