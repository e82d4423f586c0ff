"""A job: what a client submits and follows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from reelin.contracts.failures import Failure, FailureKind
from reelin.contracts.model import Message


class State(StrEnum):
    """Where a job stands. The last four are final."""

    QUEUED = "queued"  #: Accepted and stored; no worker has it yet.
    RUNNING = "running"  #: A worker is on it.
    WAITING = "waiting"  #: Until the next attempt, or for its site.
    PAUSED = "paused"  #: Someone paused it; its bytes are kept.
    COMPLETED = "completed"  #: Done, checked and published.
    PARTIAL = "partial"  #: A batch in which some items failed.
    FAILED = "failed"  #: Given up, with a failure that says why.
    CANCELLED = "cancelled"  #: Someone ended it.

    @property
    def final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({State.COMPLETED, State.PARTIAL, State.FAILED, State.CANCELLED})
UNFINISHED_STATES = frozenset(State) - FINAL_STATES


class Kind(StrEnum):
    """What a job does."""

    AUTO = "auto"  #: A video or a playlist: known once the URL has been looked at.
    VIDEO = "video"  #: Download one video.
    PLAYLIST = "playlist"  #: Expand a playlist and download its items.
    BULK = "bulk"  #: Download the items of a submitted list.
    INFO = "info"  #: Metadata and formats, without downloading.


#: Jobs of these kinds have items.
BATCH_KINDS = frozenset({Kind.PLAYLIST, Kind.BULK})


class Phase(StrEnum):
    """What a running job is busy with."""

    EXTRACTING = "extracting"  #: Looking at the page.
    DOWNLOADING = "downloading"  #: Fetching bytes.
    MERGING = "merging"  #: Joining video and audio.
    PROCESSING = "processing"  #: Converting, embedding, cutting.
    PUBLISHING = "publishing"  #: Checking the file and moving it into the media folder.


class Progress(Message):
    """How far a running job is, added up over its streams. None means "not known (yet)"."""

    percent: float | None = Field(None, ge=0, le=100, description="0 to 100")
    downloaded_bytes: int = 0
    total_bytes: int | None = None
    total_is_estimate: bool = False
    bytes_per_second: float | None = None
    eta_seconds: float | None = None
    fragment: int | None = None
    fragments: int | None = None
    stream: int | None = Field(None, description="1 is the first")
    streams: int | None = None


class Counts(Message):
    """A batch's items by state. `total` counts positions; of a playlist that is still being listed, those so far."""

    total: int = 0
    queued: int = 0
    running: int = 0
    waiting: int = 0
    paused: int = 0
    completed: int = 0
    skipped: int = 0
    failed: int = 0
    cancelled: int = 0


class Throughput(Message):
    """What was finished within some time."""

    completed: int = 0
    failed: int = 0
    bytes: int = 0


class WaitReason(StrEnum):
    """Why a job does not move. All but `paused` end by themselves, or as soon as what is missing is there."""

    RETRY = "retry"  #: Its last attempt failed; the next one is made by itself.
    SITE = "site"  #: Its site lets in only so many, or is shut after a complaint.
    DISK = "disk"  #: There is no room for it, or the media folder's disk is not there.
    RESOURCES = "resources"  #: The worker has no memory or no files left for it.
    PREMIERE = "premiere"  #: The video has not begun.
    LINE = "line"  #: It stands in its batch's line: that lets so many go at once.
    TEMPORAL = "temporal"  #: Temporal has not been told of it, or does not answer.
    WORKER = "worker"  #: It could go on, and no worker has taken it yet.
    PAUSED = "paused"  #: Until someone resumes it.


class SiteLine(Message):
    """How a site stands, as its workflow last said."""

    in_use: int = Field(description="Downloads that have its leave")
    max_at_once: int | None = Field(None, description="null: no limit until it complains")
    waiting: int = Field(description="Downloads that stand in its line, this one too")


class Wait(Message):
    """What a job waits for. Every text may come from the net."""

    reason: WaitReason
    until: datetime | None = Field(None, description="As far as is known; a moment that has passed is due")
    attempt: int = Field(0, description="How many were begun")
    failure: FailureKind | None = Field(None, description="What the last attempt, or its site, came to")
    message: str | None = Field(None, description="In words, where something is wrong")
    site: SiteLine | None = None


class ItemsWait(Message):
    """What so many items of a batch wait for. `message` is one of theirs, as an example."""

    reason: WaitReason
    count: int
    until: datetime | None = Field(None, description="The earliest")
    attempt: int = Field(0, description="The most that one of them has begun")
    failure: FailureKind | None = None
    message: str | None = None
    site: str | None = Field(None, description="Where it is the same for all of them")


#: Groups of items that are told apart: more would be no summary.
MOST_WAITS = 10


class ResultFile(Message):
    """One published file. `path` is relative to the media folder."""

    id: str
    path: str
    size_bytes: int
    sha256: str
    url: str


class Links(Message):
    self: str
    events: str
    temporal: str | None = None


class Job(Message):
    """A job as every client sees it: REST, Server-Sent Events and WebSocket alike."""

    id: str
    kind: Kind
    state: State
    phase: Phase | None = None
    url: str | None = None
    title: str | None = None
    duration_seconds: float | None = Field(None, description="Of an item: what its playlist says")
    site: str | None = None
    parent_id: str | None = None
    position: int | None = None
    owner: str = "local"
    preset: str = "best"
    priority: int = 3
    attempt: int = 0
    next_attempt_at: datetime | None = None
    waiting_for: Wait | None = Field(None, description="Why it does not move; null while it runs, and once it is over")
    submitted_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Progress | None = None
    counts: Counts | None = None
    items_waiting: tuple[ItemsWait, ...] = Field(
        (), description=f"Of a batch that goes on: what its items wait for, most first, at most {MOST_WAITS}"
    )
    failure: Failure | None = None
    result: dict[str, Any] | None = None
    links: Links
    version: int = Field(description="Grows with every change; drop an event whose version is not newer")
