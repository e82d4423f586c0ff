"""The tables. A change here comes with a migration in `migrations/versions`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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
    false,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _where(condition: str) -> dict[str, Any]:
    """Of an index that has only the rows that are looked for by it."""
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}


metadata = MetaData()

installation = Table(  # one row: tells this installation's work from that of others in one Temporal or one media folder
    "installation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("made_at", UtcDateTime, nullable=False),
)

schema_compatibility = Table(  # one row, written with each migration
    "schema_compatibility",
    metadata,
    Column("readable_from", String(32), nullable=False),  # the revision that a process has to know, at least
    Column("reelin_version", String(32), nullable=False),  # that wrote this
)

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
    Column("lined_up_at", UtcDateTime),  # when it came into its site's line for the first time in this run
    Column("awaiting_lease_since", UtcDateTime),  # the same while it stands there; null: it does not
    Column("lease", BigInteger),  # the number of its site's leave to fetch; null: it has none
    Column("cancel_requested", Boolean, nullable=False),
    Column("keep_partial", Boolean, nullable=False),
    Column("pause_requested", Boolean, nullable=False),
    Column("resumed", Boolean, nullable=False),  # by someone, and its workflow has not been told yet
    Column("held", Boolean, nullable=False),  # a batch has not let it go yet: no business of the dispatcher's
    Column("standalone", Boolean, nullable=False),  # someone asked for it by itself, and not only a batch
    Column("depth", Integer, nullable=False),  # 0: submitted; 1: an item of a batch; 2: of a playlist in a batch
    Column("entry", JSON(none_as_null=True)),  # what its playlist said of it
    Column("failure_kind", String(32)),
    Column("failure", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    Column("size_bytes", BigInteger),
    Column("version", BigInteger, nullable=False),
    Index("jobs_by_submission", "standalone", "submitted_at", "id"),
    Index("jobs_by_state", "held", "state", "dispatched_at", "site", "priority", "submitted_at", "id"),
    Index(
        "jobs_awaiting_lease",
        *("site", "owner", "priority", "awaiting_lease_since", "submitted_at", "position", "id"),
        **_where("awaiting_lease_since IS NOT NULL"),
    ),
    Index("jobs_with_lease", "site", "id", **_where("lease IS NOT NULL")),
    Index("jobs_by_version", "version", "id"),  # of one statement many jobs may have the same
    Index("jobs_by_finish", "finished_at"),
    # Lists and their counts are read from this one: looking at each row would take ten times as long.
    Index(
        "jobs_listed",
        *("standalone", "state", "kind", "site", "failure_kind", "submitted_at", "finished_at"),
        *("size_bytes", "position", "id"),
    ),
)

batches = Table(  # what a job of the kind playlist or bulk has besides its row in `jobs`
    "batches",
    metadata,
    Column("id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("run", Integer, nullable=False),  # of the job, for which the items were made
    Column("source", JSON(none_as_null=True)),  # the URLs of a submitted list that are not items yet
    Column("cursor", Integer, nullable=False),  # so many entries have become items
    Column("total", Integer),  # null: not known before the playlist was looked at
    Column("truncated", Boolean, nullable=False),  # the playlist goes on, but its maximum was reached
    Column("expanded", Boolean, nullable=False),
    Column("failure", JSON(none_as_null=True)),  # why listing it was given up
    Column("kept", Integer, nullable=False),  # items there when its playlist was looked at again: not listed twice
    Column("preview", Boolean, nullable=False),  # stands paused once it is expanded, until someone has chosen
    Column("at_once", Integer),  # items in flight; null: the setting
    Column("request_hash", String(64)),  # of the body that came with the Idempotency-Key
)

items = Table(  # position by position, what a batch consists of
    "items",
    metadata,
    Column("batch_id", ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("site", String(255), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # its job's, unless it is settled
    Column("size_bytes", BigInteger),
    Column("released", Boolean, nullable=False),  # no longer in line: in flight, or over
    Column("settled", Boolean, nullable=False),  # follows its job no more: skipped, or cancelled here only
    Column("skipped", Boolean, nullable=False),  # its file was in the library already
    # Of its job, settled or not: lists of 100,000 are filtered and sorted without looking at each job.
    Column("kind", String(16)),
    Column("title", Text),
    Column("url", Text),
    Column("failure_kind", String(32)),
    Column("submitted_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Index("items_by_job", "job_id"),
    Index(
        "items_by_state",
        *("batch_id", "state", "skipped", "released", "size_bytes", "kind", "site", "failure_kind"),
        *("submitted_at", "finished_at", "position"),
    ),
    Index("items_in_line", "batch_id", "released", "site", "priority", "position"),
)

forgotten = Table(  # the last run of each deleted job: its workflow may still be ending when the job comes again
    "forgotten",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),  # of the deletion: later ones are greater, whatever clocks say
    Index("forgotten_by_version", "version"),
)

sites = Table(  # how each site is treated: what people set, and what its workflow last said
    "sites",
    metadata,
    Column("site", String(255), primary_key=True),
    Column("max_at_once", Integer),  # people's; null: the setting; contracts.sites.NO_LIMIT: none
    Column("requests_per_hour", Integer),  # people's; null: no limit
    Column("limited", Boolean, nullable=False),  # needs leases, even where the setting says that it needs none
    Column("cooldown_until", UtcDateTime),
    Column("reason", String(32)),  # of its last complaint, until it is open again
    Column("learnt", JSON(none_as_null=True)),
    Column("recorded", Integer, nullable=False),  # how often its workflow wrote: a write that comes late is dropped
    Column("updated_at", UtcDateTime, nullable=False),
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
    Column("extractor", String(128).with_variant(Text, "postgresql")),
    Column("extractor_id", String(512).with_variant(Text, "postgresql")),
    Column("thumbnail_url", Text),
    Column("preset", String(32)),  # how someone who put it on the list wants it; null: nobody said
    Column("options", JSON(none_as_null=True)),
    Column("state", String(16), nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Index("videos_by_addition", "added_at", "id"),
    # In PostgreSQL by their hash: one of 4,096 characters has no room in its usual index.
    Index("videos_by_url", "url", postgresql_using="hash"),
    Index("videos_by_extractor", "extractor_id", postgresql_using="hash"),
)

media_folders = Table(  # those that workers publish files in; each has its id in a file within it, its marker
    "media_folders",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("place", Text, nullable=False),  # host and path where it was adopted: for people to tell them apart
    Column("made_known_at", UtcDateTime, nullable=False),
    Column("marked_at", UtcDateTime),  # null: its marker may not have been written
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("video_id", ForeignKey("videos.id", ondelete="CASCADE"), nullable=False),
    Column("job_id", String(64), nullable=False),  # no foreign key: files outlive a forgotten job
    Column("role", String(16), nullable=False),
    # No foreign key: a media folder is never forgotten. Null: from before folders had ids; the first one takes it over.
    Column("media_id", String(32)),
    Column("path", Text, nullable=False),  # relative to the media folder
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    Column("missing_since", UtcDateTime),  # it was looked for, and was not there
    # What stands there was not, or not with success, compared with the hash: it was missing, and has come back.
    Column("unverified", Boolean, nullable=False, server_default=false()),
    Index("files_by_path", "media_id", "path", unique=True),
    Index("files_to_look_for", "missing_since", "unverified"),
    Index("files_by_video", "video_id"),
    Index("files_by_job", "job_id"),
)
