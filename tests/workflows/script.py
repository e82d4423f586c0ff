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
    CHECK_HOLDERS,
    LOAD_SITE,
    RECORD_SITE,
    Holders,
    HoldersSeen,
    SiteSituation,
    StoredSite,
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

    def delays(self) -> list[timedelta]:
        """From one time that Temporal was to hand it out to the next."""
        return [later - earlier for earlier, later in pairwise(self.due)]


@dataclass
class SiteScript:
    """What the library knows of a site, and what its workflow writes down."""

    stored: StoredSite = field(default_factory=StoredSite)
    seen: HoldersSeen = field(default_factory=HoldersSeen)
    situations: list[SiteSituation] = field(default_factory=list)
    asked: list[Holders] = field(default_factory=list)


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
        async def paused(job: JobRequest) -> None:
            self.scripts[job.job_id].paused.append(job)

        @activity.defn(name=RECORD_WAITING)
        async def waiting(record: WaitingRecord) -> None:
            self.scripts[record.job.job_id].waits.append(record)

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
            return self.sites[site].stored

        @activity.defn(name=RECORD_SITE)
        async def record(situation: SiteSituation) -> StoredSite:
            script = self.sites[situation.site]
            script.situations.append(situation)
            script.stored = script.stored.model_copy(update={"learnt": situation.learnt, "recorded": situation.number})
            return script.stored

        @activity.defn(name=CHECK_HOLDERS)
        async def check(question: Holders) -> HoldersSeen:
            script = self.sites[activity.info().workflow_id.removeprefix("site-")]
            script.asked.append(question)
            return script.seen

        return [load, record, check]


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
