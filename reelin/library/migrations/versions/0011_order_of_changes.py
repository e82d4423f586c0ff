"""Deletions have a place in the order of changes, and changes of one version an order among them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("forgotten", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("forgotten_by_version", "forgotten", ["version"])
    op.drop_index("jobs_by_version", "jobs")
    op.create_index("jobs_by_version", "jobs", ["version", "id"])


def downgrade() -> None:
    op.drop_index("jobs_by_version", "jobs")
    op.create_index("jobs_by_version", "jobs", ["version"])
    op.drop_index("forgotten_by_version", "forgotten")
    with op.batch_alter_table("forgotten") as forgotten:
        forgotten.drop_column("version")
