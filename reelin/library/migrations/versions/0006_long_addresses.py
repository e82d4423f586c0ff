"""PostgreSQL takes addresses and ids of any length: its usual index has room for 2,700 bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("videos_by_url", "videos_by_extractor"):
        op.drop_index(name, "videos")
    if op.get_bind().dialect.name == "postgresql":  # SQLite does not look at lengths
        for name in ("extractor", "extractor_id"):
            op.alter_column("videos", name, type_=sa.Text)
    op.create_index("videos_by_url", "videos", ["url"], postgresql_using="hash")
    op.create_index("videos_by_extractor", "videos", ["extractor_id"], postgresql_using="hash")


def downgrade() -> None:
    for name in ("videos_by_url", "videos_by_extractor"):
        op.drop_index(name, "videos")
    if op.get_bind().dialect.name == "postgresql":
        for name, length in (("extractor", 128), ("extractor_id", 512)):
            op.alter_column("videos", name, type_=sa.String(length))
    op.create_index("videos_by_url", "videos", ["url"])
    op.create_index("videos_by_extractor", "videos", ["extractor_id", "extractor"])
