"""How a site is treated: what its SiteWorkflow is told and asked, and what it remembers.

Moments ending in `_at` or `_until` are seconds since the epoch, unless they are datetimes.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from reelin.contracts.failures import FailureKind
from reelin.contracts.model import Message

# Signals to a SiteWorkflow, and its activities, by name.
WORDS = "words"
CONFIGURE = "configure"
LOAD_SITE = "load_site"
READ_WAITERS = "read_waiters"
GRANT_LEASES = "grant_leases"
CHECK_LEASES = "check_leases"
RECORD_SITE = "record_site"

#: What a site says when it has had enough.
COMPLAINTS = frozenset({FailureKind.RATE_LIMITED, FailureKind.BOT_CHECK})

#: So many downloads at once from one site are no limit: it is more than all workers together run.
NO_LIMIT = 1_000_000


#: Of those who wait, a site's workflow knows so many by name.
FRONT = 100


def site_workflow_id(site: str) -> str:
    return f"site-{site}"


class Ask(Message):
    """A job waits for a lease: its row says so already, and this is a hint that saves reading it. `since`: see
    `jobs.awaiting_lease_since`, in seconds since the epoch."""

    job_id: str
    run: int
    owner: str
    priority: int = 3  #: 1 first … 5 last
    since: float = 0


class Done(Message):
    """A job gives its lease back, or complains without having one. `success`: the site served it; `kind`: why not.
    `lease` is the lease's number; None: it had none.

    `goes_on`: it is being served, and keeps its lease. A probe that takes hours need not keep the site shut.
    """

    job_id: str
    lease: int | None = None
    success: bool = False
    goes_on: bool = False
    kind: FailureKind | None = None
    retry_after_seconds: float | None = None
    began_at: float | None = None  #: When a request without a lease began; with one, the site knows.


class Words(Message):
    """What several jobs have to say, in one signal. Who gives a lease back is heard first. `reread`: others wait, or
    what they want has changed; the rows say how."""

    dones: tuple[Done, ...] = ()
    asks: tuple[Ask, ...] = ()
    reread: bool = False


class Configure(Message):
    """What people set. `max_at_once` None: they set nothing, and the setting applies; NO_LIMIT: they want none.
    `requests_per_hour` None: no limit, whether they set that or nothing."""

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
    """Leave to fetch from the site. Its number stands in the job's row, which is what counts: without it nothing is
    fetched."""

    job_id: str
    run: int
    number: int
    owner: str
    since: float
    missing_since: float | None = None  #: Its holder was not seen running from then on.


class SiteState(Message):
    """What a SiteWorkflow hands on when it continues as new. Who waits stands in rows."""

    settings: Configure = Configure()
    learnt: Learnt = Learnt()
    leases: tuple[Lease, ...] = ()
    served: dict[str, int] = Field(default_factory=dict)  #: Owner → the number of the last lease that they got.
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
    cooldown_until: datetime | None
    reason: FailureKind | None
    learnt: Learnt


class Waiters(Message):
    """The front of a site's line, in order, and how many wait altogether."""

    front: tuple[Ask, ...] = ()
    total: int = 0


class StoredSite(Message):
    """What `load_site` and `record_site` answer. `leases` and `waiters` are what the rows say, and for `load_site`
    only."""

    settings: Configure = Configure()
    learnt: Learnt = Learnt()
    recorded: int = 0
    leases: tuple[Lease, ...] = ()
    waiters: Waiters = Waiters()


class Leases(Message):
    """To be granted, or to be looked at. `expired`, by number: they end if their holder still does not run."""

    leases: tuple[Lease, ...]
    expired: tuple[int, ...] = ()


class LeasesGranted(Message):
    """By number: `refused` belong to jobs that wait no more, or not yet again; those of `later` still end an older
    run, and are to be asked about soon."""

    refused: tuple[int, ...] = ()
    later: tuple[int, ...] = ()


class LeasesSeen(Message):
    """By number: `gone` are not held any more; the holders of `missing` do not run just now."""

    gone: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
