"""What workflows and activities say to each other, and the names under which Temporal knows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

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


class Tally(Message):
    """How often, and since when, each kind of failure has occurred in a run."""

    counts: dict[FailureKind, int] = Field(default_factory=dict)
    first: dict[FailureKind, datetime] = Field(default_factory=dict)


class Carried(Message):
    """What a workflow hands on when it begins a new history in the middle of a run."""

    number: int
    fresh: bool
    tally: Tally
    leased: bool = False
    awaits_lease: bool = False  #: It stands in its site's line already.


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
    leased: bool = False  #: Its site let it in before it was started.
    carried: Carried | None = None  #: By the history before, where this is not the first one of the run.
    entry: dict[str, Any] | None = None  #: What its playlist said of it: url, title and the like, as yt-dlp names them.


class Attempt(Message):
    """Input of `fetch`, `probe` and `expand`. `number` counts attempts within the run, from 1.

    `leased`: its site has let it in, as far as the workflow knows; the job's row says whether it still has that leave.
    """

    job: JobRequest
    number: int
    fresh: bool = False  #: Drop the partial files first (after a resume_conflict).
    leased: bool = False


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
    """`awaits_lease`: it waits for its site, and stands in the site's line from now on."""

    job: JobRequest
    failure: Failure
    attempt: int
    next_attempt_at: datetime
    awaits_lease: bool = False


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

    `listing`: more items may come. `waiting` of those in flight stand still, for their next attempt or their site.
    """

    in_flight: int = 0
    waiting: int = 0
    in_line: bool = False
    listing: bool = False
    paused: bool = False
    over: State | None = None
    counts: Counts | None = None
    failure: Failure | None = None
