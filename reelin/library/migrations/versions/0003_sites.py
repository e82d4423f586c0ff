"""How each site is treated."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sites",
        sa.Column("site", sa.String(255), primary_key=True),
        sa.Column("max_at_once", sa.Integer),
        sa.Column("requests_per_hour", sa.Integer),
        sa.Column("limited", sa.Boolean, nullable=False),
        sa.Column("in_use", sa.Integer, nullable=False),
        sa.Column("waiting", sa.Integer, nullable=False),
        sa.Column("cooldown_until", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.String(32)),
        sa.Column("learnt", sa.JSON),
        sa.Column("recorded", sa.Integer, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sites")
