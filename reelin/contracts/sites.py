"""How a site is treated: what its SiteWorkflow is told and asked, and what it remembers.

Moments ending in `_at` or `_until` are seconds since the epoch, unless they are datetimes.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from reelin.contracts.failures import FailureKind
from reelin.contracts.model import Message

# Signals to a SiteWorkflow, and its activities, by name.
ASK = "ask"
DONE = "done"
WORDS = "words"
CONFIGURE = "configure"
PRIORITISE = "prioritise"
LOAD_SITE = "load_site"
RECORD_SITE = "record_site"
CHECK_HOLDERS = "check_holders"

#: What a site says when it has had enough.
COMPLAINTS = frozenset({FailureKind.RATE_LIMITED, FailureKind.BOT_CHECK})


def site_workflow_id(site: str) -> str:
    return f"site-{site}"


class Ask(Message):
    """A job wants a lease. Asking again is harmless: it keeps its place in line, or is told again that it has one."""

    job_id: str
    run: int
    owner: str
    priority: int = 3  #: 1 first … 5 last


class Prioritise(Message):
    """These come sooner or later from now on, where they stand in line."""

    job_ids: tuple[str, ...]
    priority: int


class Done(Message):
    """A job gives its lease back, or complains without having one. `success`: the site served it; `kind`: why not.

    `goes_on`: it is being served, and keeps its lease. A probe that takes hours need not keep the site shut.
    """

    job_id: str
    run: int
    success: bool = False
    goes_on: bool = False
    kind: FailureKind | None = None
    retry_after_seconds: float | None = None
    began_at: float | None = None  #: When a request without a lease began; with one, the site knows.


class Words(Message):
    """What several jobs have to say, in one signal. Who gives a lease back is heard first."""

    dones: tuple[Done, ...] = ()
    asks: tuple[Ask, ...] = ()


class Configure(Message):
    """What people set. `max_at_once` None: the setting; `requests_per_hour` None: no limit."""

    max_at_once: int | None = None
    requests_per_hour: int | None = None


class Learnt(Message):
    """What a site has taught us. None: nothing yet, no limit."""

    at_once: float | None = None
    at_once_refused: float = 0  #: So many at once were too many.
    starts_per_second: float | None = None
    starts_per_second_refused: float = 0
    due_at: float = 0  #: When the next start is due at this rate.
    recent_starts: tuple[float, ...] = ()
    started_by_minute: tuple[tuple[int, int], ...] = ()  #: Of the last hour: (minute since the epoch, starts).
    complained_at: float = 0
    reason: FailureKind | None = None
    cooldown_until: float = 0
    cooldown_seconds: float = 0  #: The last one's length; 0 once it is forgiven.
    successes: int = 0  #: Since the last complaint.
    shut: bool = False  #: Until a probe succeeds.
    probe: str | None = None  #: The job that is let through alone.


class Lease(Message):
    job_id: str
    run: int
    owner: str
    since: float
    missing_since: float | None = None  #: Its holder was not seen running from then on.


class Place(Message):
    """A place in line."""

    ask: Ask
    arrival: int
    asked_at: float  #: The last time.


class SiteState(Message):
    """All that a SiteWorkflow knows, handed on when it continues as new."""

    settings: Configure = Configure()
    learnt: Learnt = Learnt()
    leases: tuple[Lease, ...] = ()
    line: tuple[Place, ...] = ()
    served: dict[str, int] = Field(default_factory=dict)  #: Owner → the number of the last lease that they got.
    serial: int = 0
    recorded: int = 0  #: How often the row was written: a write that comes late changes nothing.


class SiteRequest(Message):
    """Starts a SiteWorkflow. `max_at_once` is what applies where people have set nothing."""

    site: str
    max_at_once: int
    state: SiteState | None = None


class SiteSituation(Message):
    """What `record_site` writes for people to read, and `learnt` to be loaded at the next start."""

    site: str
    number: int
    in_use: int
    waiting: int
    cooldown_until: datetime | None
    reason: FailureKind | None
    learnt: Learnt


class StoredSite(Message):
    """What `load_site` and `record_site` answer."""

    settings: Configure = Configure()
    learnt: Learnt = Learnt()
    recorded: int = 0


class Holder(Message):
    job_id: str
    run: int


class Holders(Message):
    holders: tuple[Holder, ...]


class HoldersSeen(Message):
    """`gone` will not come back to their lease; `missing`, by job id, do not run just now."""

    gone: tuple[Holder, ...] = ()
    missing: tuple[str, ...] = ()
