"""Why listing a batch's items was given up, and which were there when its playlist was looked at again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("failure", sa.JSON))
    op.add_column("batches", sa.Column("kept", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("batches") as batches:
        batches.drop_column("kept")
        batches.drop_column("failure")
