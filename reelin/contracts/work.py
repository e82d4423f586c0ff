"""What workflows and activities say to each other, and the names under which Temporal knows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reelin.contracts.failures import Failure, FailureKind
from reelin.contracts.jobs import Counts, Kind, State
from reelin.contracts.model import Message
from reelin.contracts.options import Options

# Task queues.
WORKFLOW_QUEUE = "reelin"
DOWNLOAD_QUEUE = "reelin-downloads"
METADATA_QUEUE = "reelin-metadata"
TASK_QUEUES = (WORKFLOW_QUEUE, DOWNLOAD_QUEUE, METADATA_QUEUE)

# Search attributes, all keywords.
SEARCH_ATTRIBUTES = ("ReelinKind", "ReelinSite", "ReelinOwner", "ReelinParent")

# Workflows and activities by name: a workflow module imports messages only, never the code that acts.
DOWNLOAD_WORKFLOW = "DownloadWorkflow"
INFO_WORKFLOW = "InfoWorkflow"
PLAYLIST_WORKFLOW = "PlaylistWorkflow"
BULK_WORKFLOW = "BulkWorkflow"
SITE_WORKFLOW = "SiteWorkflow"
FETCH = "fetch"
PROBE = "probe"
RECORD_WAITING = "record_waiting"
RECORD_FAILED = "record_failed"
RECORD_CANCELLED = "record_cancelled"
RECORD_PAUSED = "record_paused"
EXPAND = "expand"
LET_GO = "let_go"
ADVANCE = "advance"  # what earlier versions call let_go; theirs takes a batch for over that is still being listed
CALL_OFF = "call_off"
GIVE_UP_LISTING = "give_up_listing"

# Signals. To a download: pause, resume, and the site's leave to go on. To a batch: look at your items again.
PAUSE = "pause"
RESUME = "resume"
LEASE_GRANTED = "lease_granted"
POKE = "poke"

#: The type of the error with which an activity ends because its worker stops. Temporal retries it.
WORKER_STOPPING = "WorkerStopping"
#: The same for a download that came to a worker without a place for it.
NO_PLACE = "NoPlace"


class JobRequest(Message):
    """Starts a DownloadWorkflow or an InfoWorkflow, and is handed on to the activities.

    `run` counts the times that the job was started by a person (submit, retry, force): an activity of an older
    run never changes what a newer one wrote.
    """

    job_id: str
    run: int
    kind: Kind
    url: str
    site: str
    owner: str
    preset: str
    options: Options
    priority: int = 3
    force: bool = False
    parent_id: str | None = None
    position: int | None = None
    depth: int = 0  #: 0: submitted; 1: an item of a batch; 2: of a playlist in a batch
    in_line: bool = False  #: Whoever started it asks its site to let it in; it need not ask for itself.
    entry: dict[str, Any] | None = None  #: What its playlist said of it: url, title and the like, as yt-dlp names them.


class Attempt(Message):
    """Input of `fetch`, `probe` and `expand`. `number` counts attempts within the run, from 1."""

    job: JobRequest
    number: int
    fresh: bool = False  #: Drop the partial files first (after a resume_conflict).
    lease: bool = False  #: Its site has let it in.


class FetchResult(Message):
    """`result` is the job's result as clients see it. `lease_wanted`: nothing was done, the site has to let it in."""

    state: State
    title: str | None = None
    result: dict[str, Any] | None = None
    lease_wanted: bool = False
    playlist: bool = False  #: The URL is a playlist: the job goes on as one, under the same id.


class Expansion(Message):
    """What `expand` returns: the items are in the database. `total` counts the entries that were looked at.

    The state is `cancelled` where there is nothing more to do: the batch was cancelled, forgotten or started anew.
    """

    state: State = State.RUNNING
    total: int = 0
    truncated: bool = False
    title: str | None = None


class FailureReport(Message):
    """Travels as the details of an activity's ApplicationError; its `type` is the kind.

    `site_waits`: the site's workflow knows, and decides when it is asked again.
    """

    kind: FailureKind
    message: str
    retry_after_seconds: float | None = None
    site_waits: bool = False


class WaitingRecord(Message):
    job: JobRequest
    failure: Failure
    attempt: int
    next_attempt_at: datetime


class FailedRecord(Message):
    job: JobRequest
    failure: Failure
    attempt: int


class JobOutcome(Message):
    """What a workflow returns, for Temporal's UI. One that fails raises the Failure instead."""

    state: State
    title: str | None = None
    counts: Counts | None = None


class Advance(Message):
    """How a batch stands after its items were looked at. `over` says how it ended, once nothing is left.

    `listing`: more items may come.
    """

    in_flight: int = 0
    in_line: bool = False
    listing: bool = False
    paused: bool = False
    over: State | None = None
    counts: Counts | None = None
    failure: Failure | None = None
