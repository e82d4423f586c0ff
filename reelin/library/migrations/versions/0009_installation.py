"""Who has this database, and which revision a process has to know to run on it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
additive = False


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "schema_compatibility",
        sa.Column("readable_from", sa.String(32), nullable=False),
        sa.Column("reelin_version", sa.String(32), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("schema_compatibility")
    op.drop_table("installation")
