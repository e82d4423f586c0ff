"""Rows as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from reelin.contracts.jobs import Kind, State
from reelin.contracts.options import Options
from reelin.contracts.work import JobRequest


@dataclass(frozen=True, slots=True)
class JobRecord:
    id: str
    kind: Kind
    state: State
    url: str | None
    title: str | None
    site: str | None
    parent_id: str | None
    position: int | None
    owner: str
    preset: str
    options: dict[str, Any]
    priority: int
    force: bool
    run: int
    attempt: int
    submitted_at: datetime
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    next_attempt_at: datetime | None
    lined_up_at: datetime | None
    awaiting_lease_since: datetime | None
    lease: int | None
    cancel_requested: bool
    keep_partial: bool
    pause_requested: bool
    resumed: bool
    held: bool
    standalone: bool
    depth: int
    entry: dict[str, Any] | None
    failure_kind: str | None
    failure: dict[str, Any] | None
    result: dict[str, Any] | None
    size_bytes: int | None
    version: int
    skipped: bool = False  # as an item of a batch: its file was in the library already

    def request(self) -> JobRequest:
        """What its workflow is started with."""
        return JobRequest(
            job_id=self.id,
            run=self.run,
            kind=self.kind,
            url=self.url or "",
            site=self.site or "",
            owner=self.owner,
            preset=self.preset,
            options=Options.model_validate(self.options),
            priority=self.priority,
            force=self.force,
            parent_id=self.parent_id,
            position=self.position,
            depth=self.depth,
            entry=self.entry,
        )


@dataclass(frozen=True, slots=True)
class Sketch:
    """As much of a job as is needed to act on thousands of them."""

    id: str
    kind: Kind
    state: State
    parent_id: str | None
    dispatched_at: datetime | None
    pause_requested: bool
    standalone: bool


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What a batch has besides its job. `cursor` entries have become items; `total` is None until it is known.

    `failure`: listing it was given up, with what is there. `kept` items were there when it was looked at again.
    """

    id: str
    run: int
    cursor: int
    total: int | None
    truncated: bool
    expanded: bool
    failure: dict[str, Any] | None
    kept: int
    preview: bool
    at_once: int | None
    request_hash: str | None

    @property
    def listing(self) -> bool:
        """Whether more items may come."""
        return not self.expanded and self.failure is None


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """`max_at_once` and `requests_per_hour` are what people set, None where they set nothing."""

    site: str
    max_at_once: int | None
    requests_per_hour: int | None
    limited: bool
    in_use: int
    waiting: int
    cooldown_until: datetime | None
    reason: str | None
    learnt: dict[str, Any] | None
    recorded: int
    updated_at: datetime


def file_url(video_id: str, file_id: str) -> str:
    """Where a file's bytes are: stored with a job's result, and shown with its video."""
    return f"/api/videos/{video_id}/files/{file_id}"


@dataclass(frozen=True, slots=True)
class MediaFolderRecord:
    """A folder that workers publish in. `place` is where it was adopted, for people; it may be elsewhere by now."""

    id: str
    place: str
    made_known_at: datetime
    marked_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A published file: `path` within the media folder `media_id`. `missing_since`: it was not there when it was
    looked for. `unverified`: it has come back, and its hash was not compared, or what came is another file."""

    id: str
    video_id: str
    job_id: str
    role: str
    path: str
    size_bytes: int
    sha256: str
    published_at: datetime
    media_id: str | None
    missing_since: datetime | None
    unverified: bool

    @property
    def url(self) -> str:
        return file_url(self.video_id, self.id)


@dataclass(frozen=True, slots=True)
class VideoRecord:
    id: str
    owner: str
    url: str
    title: str | None
    uploader: str | None
    duration_seconds: float | None
    uploaded_on: date | None
    site: str
    extractor: str | None
    extractor_id: str | None
    thumbnail_url: str | None
    preset: str | None
    options: dict[str, Any] | None
    state: str
    added_at: datetime
    files: tuple[FileRecord, ...] = ()
