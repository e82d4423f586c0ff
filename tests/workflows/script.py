"""Same-named activities that follow a script: the seam at which workflow tests fake."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.options import Options
from reelin.contracts.sites import (
    CHECK_LEASES,
    GRANT_LEASES,
    LOAD_SITE,
    READ_WAITERS,
    RECORD_SITE,
    Ask,
    Lease,
    Leases,
    LeasesGranted,
    LeasesSeen,
    SiteSituation,
    StoredSite,
    Waiters,
)
from reelin.contracts.work import (
    CALL_OFF,
    EXPAND,
    FETCH,
    GIVE_UP_LISTING,
    LET_GO,
    PROBE,
    RECORD_CANCELLED,
    RECORD_FAILED,
    RECORD_PAUSED,
    RECORD_WAITING,
    Advance,
    Attempt,
    FailedRecord,
    FailureReport,
    FetchResult,
    JobRequest,
    WaitingRecord,
)

EXPANDED = FetchResult(state=State.RUNNING)
IS_PLAYLIST = FetchResult(state=State.RUNNING, playlist=True)
#: The site has to let it in first.
WANTED = FetchResult(state=State.WAITING, lease_wanted=True)
DONE = FetchResult(state=State.COMPLETED, title="A film", result={"files": []})


@dataclass
class Script:
    """What each attempt does: a FailureReport or an error is raised, a FetchResult returned, "hang" waits for a cancel.

    After the end of `steps` the last one is repeated.
    """

    steps: Sequence[FailureReport | FetchResult | Exception | str]
    attempts: list[Attempt] = field(default_factory=list)
    due: list[datetime] = field(default_factory=list)
    waits: list[WaitingRecord] = field(default_factory=list)
    failed: list[FailedRecord] = field(default_factory=list)
    cancelled: list[JobRequest] = field(default_factory=list)
    paused: list[JobRequest] = field(default_factory=list)
    #: What each look at a batch's items finds; the last one is repeated.
    advances: Sequence[Advance] = (Advance(over=State.COMPLETED),)
    advanced: int = 0
    #: So many looks at the items are taken before they are all listed.
    listed_after: int = 0
    gave_up: list[FailedRecord] = field(default_factory=list)
    call_offs: Sequence[Advance] = (Advance(over=State.CANCELLED),)
    called_off: int = 0

    async def act(self, attempt: Attempt) -> FetchResult:
        self.attempts.append(attempt)
        self.due.append(activity.info().current_attempt_scheduled_time)
        step = self.steps[min(len(self.attempts), len(self.steps)) - 1]
        if isinstance(step, FailureReport):
            raise ApplicationError(
                step.message, step, type=step.kind, non_retryable=True, category=ApplicationErrorCategory.BENIGN
            )
        if isinstance(step, Exception):
            raise step
        while isinstance(step, str):
            activity.heartbeat({"phase": "downloading", "percent": 41.7})
            await asyncio.sleep(0.05)
        return step

    async def wait(self, record: WaitingRecord) -> None:
        self.waits.append(record)

    async def pause(self, job: JobRequest) -> bool:
        """Whether the row says that it is to stand still."""
        self.paused.append(job)
        return True

    def delays(self) -> list[timedelta]:
        """From one time that Temporal was to hand it out to the next."""
        return [later - earlier for earlier, later in pairwise(self.due)]


@dataclass
class SiteScript:
    """What the rows say of a site and of who waits for it, and what its workflow does with that."""

    stored: StoredSite = field(default_factory=StoredSite)
    waiting: dict[str, Ask] = field(default_factory=dict)
    held: dict[str, Lease] = field(default_factory=dict)
    #: Jobs that are not there any more, and those that still end an older run.
    gone: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)
    #: Jobs that no worker has.
    idle: set[str] = field(default_factory=set)
    situations: list[SiteSituation] = field(default_factory=list)
    granted: list[Lease] = field(default_factory=list)
    checked: list[Leases] = field(default_factory=list)
    reads: int = 0
    #: The database does not answer.
    away: bool = False

    def front(self, at_most: int = 100) -> Waiters:
        order = sorted(self.waiting.values(), key=lambda ask: (ask.priority, ask.since))
        return Waiters(front=tuple(order[:at_most]), total=len(order))

    def grant(self, wanted: Leases) -> LeasesGranted:
        refused, later = [], []
        for lease in wanted.leases:
            if lease.job_id in self.ending:
                later.append(lease.number)
            elif lease.job_id in self.gone or self.waiting.pop(lease.job_id, None) is None:
                refused.append(lease.number)
            else:
                self.held[lease.job_id] = lease
                self.granted.append(lease)
        return LeasesGranted(refused=tuple(refused), later=tuple(later))

    def check(self, question: Leases) -> LeasesSeen:
        self.checked.append(question)
        here = {lease.number for lease in self.held.values()}
        gone = [lease.number for lease in question.leases if lease.number not in here]
        idle = [lease.number for lease in question.leases if lease.job_id in self.idle and lease.number in here]
        for lease in list(self.held.values()):
            if lease.number in question.expired and lease.number in idle:
                del self.held[lease.job_id]
                gone.append(lease.number)
        return LeasesSeen(gone=tuple(gone), missing=tuple(number for number in idle if number not in gone))


class Cast:
    """The activities of all scripts that are on stage, found by job id, and by site."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.sites: defaultdict[str, SiteScript] = defaultdict(SiteScript)

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=FETCH)
        async def fetch(attempt: Attempt) -> FetchResult:
            return await self.scripts[attempt.job.job_id].act(attempt)

        @activity.defn(name=PROBE)
        async def probe(attempt: Attempt) -> FetchResult:
            return await self.scripts[attempt.job.job_id].act(attempt)

        @activity.defn(name=EXPAND)
        async def expand(attempt: Attempt) -> FetchResult:
            script = self.scripts[attempt.job.job_id]
            while script.advanced < script.listed_after:
                activity.heartbeat()
                await asyncio.sleep(0.02)
            return await script.act(attempt)

        @activity.defn(name=LET_GO)
        async def let_go(job: JobRequest) -> Advance:
            script = self.scripts[job.job_id]
            script.advanced += 1
            return script.advances[min(script.advanced, len(script.advances)) - 1]

        @activity.defn(name=GIVE_UP_LISTING)
        async def give_up(record: FailedRecord) -> None:
            self.scripts[record.job.job_id].gave_up.append(record)

        @activity.defn(name=CALL_OFF)
        async def call_off(job: JobRequest) -> Advance:
            script = self.scripts[job.job_id]
            script.called_off += 1
            return script.call_offs[min(script.called_off, len(script.call_offs)) - 1]

        @activity.defn(name=RECORD_PAUSED)
        async def paused(job: JobRequest) -> bool:
            return await self.scripts[job.job_id].pause(job)

        @activity.defn(name=RECORD_WAITING)
        async def waiting(record: WaitingRecord) -> None:
            await self.scripts[record.job.job_id].wait(record)

        @activity.defn(name=RECORD_FAILED)
        async def failed(record: FailedRecord) -> None:
            self.scripts[record.job.job_id].failed.append(record)

        @activity.defn(name=RECORD_CANCELLED)
        async def cancelled(job: JobRequest) -> None:
            self.scripts[job.job_id].cancelled.append(job)

        of_jobs = [fetch, probe, expand, let_go, give_up, call_off, waiting, paused, failed, cancelled]
        return [*of_jobs, *self._of_sites()]

    def _of_sites(self) -> list[Callable[..., Any]]:
        @activity.defn(name=LOAD_SITE)
        async def load(site: str) -> StoredSite:
            script = self.sites[site]
            leases = tuple(script.held.values())
            return script.stored.model_copy(update={"leases": leases, "waiters": script.front()})

        @activity.defn(name=READ_WAITERS)
        async def read(site: str) -> Waiters:
            self.sites[site].reads += 1
            return self._answering(site).front()

        @activity.defn(name=GRANT_LEASES)
        async def grant(wanted: Leases) -> LeasesGranted:
            return self._answering(_site_that_asks()).grant(wanted)

        @activity.defn(name=RECORD_SITE)
        async def record(situation: SiteSituation) -> StoredSite:
            script = self.sites[situation.site]
            script.situations.append(situation)
            script.stored = script.stored.model_copy(update={"learnt": situation.learnt, "recorded": situation.number})
            return script.stored

        @activity.defn(name=CHECK_LEASES)
        async def check(question: Leases) -> LeasesSeen:
            return self._answering(_site_that_asks()).check(question)

        return [load, read, grant, record, check]

    def _answering(self, site: str) -> SiteScript:
        script = self.sites[site]
        if script.away:
            raise ApplicationError("The database does not answer.")
        return script


def _site_that_asks() -> str:
    return str(activity.info().workflow_id).removeprefix("site-")


def job(job_id: str, kind: Kind = Kind.VIDEO) -> JobRequest:
    return JobRequest(
        job_id=job_id,
        run=1,
        kind=kind,
        url="https://example.org/film",
        site="example.org",
        owner="local",
        preset="best",
        options=Options(),
    )


def failing(kind: FailureKind, retry_after_seconds: float | None = None, *, site_waits: bool = False) -> FailureReport:
    return FailureReport(
        kind=kind, message="It went wrong.", retry_after_seconds=retry_after_seconds, site_waits=site_waits
    )
