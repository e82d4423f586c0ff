"""The tables. A change here comes with a migration in `migrations/versions`."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value


metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("url", Text),
    Column("title", Text),
    Column("site", String(255)),
    Column("parent_id", String(64)),
    Column("position", Integer),
    Column("owner", String(64), nullable=False),
    Column("preset", String(32), nullable=False),
    Column("options", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("run", Integer, nullable=False),  # how often a person started it: submit, retry, force
    Column("attempt", Integer, nullable=False),  # within the run
    Column("submitted_at", UtcDateTime, nullable=False),
    Column("dispatched_at", UtcDateTime),  # null: Temporal has not been told yet
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("next_attempt_at", UtcDateTime),
    Column("cancel_requested", Boolean, nullable=False),
    Column("keep_partial", Boolean, nullable=False),
    Column("failure_kind", String(32)),
    Column("failure", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    Column("size_bytes", BigInteger),
    Column("version", BigInteger, nullable=False),
    Index("jobs_by_submission", "submitted_at", "id"),
    Index("jobs_by_state", "state", "dispatched_at"),
    Index("jobs_by_version", "version"),
    Index("jobs_by_parent", "parent_id", "position"),
)

forgotten = Table(  # the last run of each deleted job: its workflow may still be ending when the job comes again
    "forgotten",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("run", Integer, nullable=False),
)

videos = Table(
    "videos",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("title", Text),
    Column("uploader", Text),
    Column("duration_seconds", Float),
    Column("uploaded_on", Date),
    Column("site", String(255), nullable=False),
    Column("extractor", String(128)),
    Column("extractor_id", String(512)),
    Column("thumbnail_url", Text),
    Column("state", String(16), nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Index("videos_by_addition", "added_at", "id"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("video_id", ForeignKey("videos.id", ondelete="CASCADE"), nullable=False),
    Column("job_id", String(64), nullable=False),  # no foreign key: files outlive a forgotten job
    Column("role", String(16), nullable=False),
    Column("path", Text, nullable=False, unique=True),  # relative to the media folder
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    Index("files_by_video", "video_id"),
    Index("files_by_job", "job_id"),
)
