"""Which media folder a file lies in, since when it is missing, and the media folders that there are."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
_NAMES = {"uq": "uq_%(table_name)s_%(column_0_name)s"}


def upgrade() -> None:
    op.create_table(
        "media_folders",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("made_known_at", MOMENT, nullable=False),
        sa.Column("marked_at", MOMENT),
    )
    op.add_column("files", sa.Column("media_id", sa.String(32)))
    op.add_column("files", sa.Column("missing_since", MOMENT))
    op.add_column("files", sa.Column("unverified", sa.Boolean, nullable=False, server_default=sa.false()))
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("files_path_key", "files")
    else:
        with op.batch_alter_table("files", naming_convention=_NAMES) as files:
            files.drop_constraint("uq_files_path", type_="unique")
    op.create_index("files_by_path", "files", ["media_id", "path"], unique=True)
    op.create_index("files_to_look_for", "files", ["missing_since", "unverified"])


def downgrade() -> None:
    op.drop_index("files_to_look_for", "files")
    op.drop_index("files_by_path", "files")
    with op.batch_alter_table("files") as files:
        files.create_unique_constraint("files_path_key", ["path"])
        files.drop_column("unverified")
        files.drop_column("missing_since")
        files.drop_column("media_id")
    op.drop_table("media_folders")
