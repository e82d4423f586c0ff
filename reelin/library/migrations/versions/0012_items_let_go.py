"""Of a batch's items that are queued, those that were let go are found by the index."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_REST = ("size_bytes", "kind", "site", "failure_kind", "submitted_at", "finished_at", "position")


def upgrade() -> None:
    op.drop_index("items_by_state", "items")
    op.create_index("items_by_state", "items", ["batch_id", "state", "skipped", "released", *_REST])


def downgrade() -> None:
    op.drop_index("items_by_state", "items")
    op.create_index("items_by_state", "items", ["batch_id", "state", "skipped", *_REST])
