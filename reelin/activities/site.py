"""Where the work meets a site's workflow: asking for a lease, giving it back, and what the workflow asks of us."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from reelin.activities.courier import Courier
from reelin.activities.failures import application_error
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.sites import (
    CHECK_HOLDERS,
    COMPLAINTS,
    LOAD_SITE,
    RECORD_SITE,
    Ask,
    Configure,
    Done,
    Holders,
    HoldersSeen,
    Learnt,
    SiteSituation,
    StoredSite,
)
from reelin.contracts.work import Attempt, FailureReport, JobRequest
from reelin.errors import Unavailable
from reelin.library import JobRecord, Library, SiteRecord
from reelin.library.unbroken import to_its_end

log = structlog.get_logger(__name__)

#: For each item that may fetch from a site, so many stand in its line.
_READY = 2
#: A row that was read counts as known for so long.
FRESH_SECONDS = 1.0
#: A site that refuses does so in the first seconds: a download that still runs then is being served.
FLOWS_AFTER_SECONDS = 10.0
#: Where a site that had no limit complains without saying for how long, until its workflow knows better.
_FIRST_COOLDOWN = timedelta(seconds=30)


@dataclass(slots=True)
class Visit:
    """`served`: the site gave what was asked for. `flowing` says whether it is giving just now."""

    served: bool = False
    flowing: Callable[[], bool] = lambda: False


class SiteDesk:
    """`unlimited` sites need no lease until they complain; `max_at_once` applies to all others unless people set
    something."""

    def __init__(self, *, client: Client, library: Library, unlimited: Collection[str], max_at_once: int) -> None:
        self._courier = Courier(client, max_at_once)
        self._sites = library.sites
        self._unlimited = frozenset(unlimited)
        self._max_at_once = max_at_once
        self._known: dict[str, tuple[float, bool]] = {}
        self._reports: set[asyncio.Task[bool]] = set()

    async def close(self) -> None:
        """Tells the sites what they have not heard yet."""
        await self._courier.close()
        await asyncio.gather(*self._reports)

    async def needs_lease(self, site: str) -> bool:
        if site not in self._unlimited:
            return True
        looked_at, limited = self._known.get(site, (0.0, False))
        if time.monotonic() - looked_at > FRESH_SECONDS:
            row = await self._sites.find(site)
            limited = row is not None and row.limited
            self._known[site] = (time.monotonic(), limited)
        return limited

    async def limits(self) -> Callable[[str], int | None]:
        """How many items of a site one batch may have in flight: enough to stand ready in line, and no more, lest
        a site that is slow or shut take the places of all others."""
        rows = {row.site: row for row in await self._sites.limited()}

        def limit_of(site: str) -> int | None:
            row = rows.get(site)
            if row is None:
                return None if site in self._unlimited else _READY * self._max_at_once
            return _READY * (row.max_at_once or self._max_at_once)

        return limit_of

    async def shut_until(self, site: str) -> datetime | None:
        """Until when nobody gets a lease, as far as is known."""
        row = await self._sites.find(site)
        until = row.cooldown_until if row is not None else None
        return until if until is not None and until > datetime.now(UTC) else None

    async def ask(self, *jobs: JobRequest) -> None:
        """The answer is the signal LEASE_GRANTED to each job's workflow. Raises Unavailable."""
        asks: defaultdict[str, list[Ask]] = defaultdict(list)
        for job in jobs:
            asks[job.site].append(Ask(job_id=job.job_id, run=job.run, owner=job.owner, priority=job.priority))
        await asyncio.gather(*(self._courier.say(site, *those) for site, those in asks.items()))

    @contextlib.asynccontextmanager
    async def visiting(self, attempt: Attempt, *, in_line: bool = True) -> AsyncIterator[Visit]:
        """Round all that is fetched from the job's site. However it ends, the site hears of it, unless Temporal will
        run this again: then the lease stays with the job. Without a lease only complaints are told.

        `in_line`: the next attempt asks for a lease, so it need not wait for anything else.
        """
        visit = Visit()
        began_at = activity.info().started_time.timestamp()
        try:
            async with self._telling_that_it_flows(attempt, visit):
                yield visit
        except ApplicationError as error:
            report = _report_of(error)
            if report is None or _worker_stops():
                raise
            if report.kind not in COMPLAINTS:
                self._give_back(attempt, success=False, kind=report.kind)
                raise
            if await to_its_end(self._complain(attempt, report, began_at)) and in_line:
                raise application_error(report.model_copy(update={"site_waits": True})) from None
            raise
        except BaseException:
            if _cancelled():
                self._give_back(attempt, success=False)
            raise
        self._give_back(attempt, success=visit.served)

    @contextlib.asynccontextmanager
    async def _telling_that_it_flows(self, attempt: Attempt, visit: Visit) -> AsyncIterator[None]:
        """Once, and early: others may wait for nothing but the news that the site serves us again."""
        telling = asyncio.create_task(self._tell_that_it_flows(attempt, visit)) if attempt.lease else None
        try:
            yield
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    async def _tell_that_it_flows(self, attempt: Attempt, visit: Visit) -> None:
        flowing = False
        while not flowing:
            await asyncio.sleep(FLOWS_AFTER_SECONDS)
            flowing = visit.flowing()
        job = attempt.job
        await self._done(job.site, Done(job_id=job.job_id, run=job.run, success=True, goes_on=True))

    def _give_back(self, attempt: Attempt, *, success: bool, kind: FailureKind | None = None) -> None:
        """Nobody waits until the site has heard it: that is no work for this place in the worker."""
        if attempt.lease:
            job = attempt.job
            done = Done(job_id=job.job_id, run=job.run, success=success, kind=kind)
            report = asyncio.create_task(self._done(job.site, done))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    async def _complain(self, attempt: Attempt, report: FailureReport, began_at: float) -> bool:
        """Whether the site has heard it."""
        job = attempt.job
        if not attempt.lease:
            await self._limit(job.site, report)
        done = Done(
            job_id=job.job_id,
            run=job.run,
            kind=report.kind,
            retry_after_seconds=report.retry_after_seconds,
            began_at=began_at,
        )
        return await self._done(job.site, done, urgent=True)

    async def _limit(self, site: str, report: FailureReport) -> None:
        asked = report.retry_after_seconds
        wait = _FIRST_COOLDOWN if asked is None else timedelta(seconds=asked)
        await self._sites.complained(site, FailureKind(report.kind), datetime.now(UTC) + wait)
        self._known.pop(site, None)
        log.info("a site complained: it needs leases now", site=site, kind=report.kind)

    async def _done(self, site: str, done: Done, *, urgent: bool = False) -> bool:
        """Where Temporal is away, the site finds out by itself that the holder no longer runs."""
        try:
            await self._courier.say(site, done, urgent=urgent)
        except Unavailable as error:
            log.warning("a site did not hear of a lease's end", site=site, job_id=done.job_id, reason=error.reason)
            return False
        return True


class SiteActivities:
    """What a SiteWorkflow asks of the library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    @activity.defn(name=LOAD_SITE)
    async def load_site(self, site: str) -> StoredSite:
        return _stored(await self._library.sites.find(site))

    @activity.defn(name=RECORD_SITE)
    async def record_site(self, situation: SiteSituation) -> StoredSite:
        return _stored(await self._library.sites.record(situation))

    @activity.defn(name=CHECK_HOLDERS)
    async def check_holders(self, question: Holders) -> HoldersSeen:
        rows = {job.id: job for job in await self._library.jobs.many(each.job_id for each in question.holders)}
        gone = tuple(each for each in question.holders if _gone(rows.get(each.job_id), each.run))
        there = (rows[each.job_id] for each in question.holders if each not in gone)
        return HoldersSeen(gone=gone, missing=tuple(job.id for job in there if job.state is not State.RUNNING))


def _gone(job: JobRecord | None, run: int) -> bool:
    return job is None or job.run != run or job.state.final or job.state is State.PAUSED


def _stored(row: SiteRecord | None) -> StoredSite:
    if row is None:
        return StoredSite()
    return StoredSite(
        settings=Configure(max_at_once=row.max_at_once, requests_per_hour=row.requests_per_hour),
        learnt=Learnt.model_validate(row.learnt or {}),
        recorded=row.recorded,
    )


def _report_of(error: ApplicationError) -> FailureReport | None:
    return next((detail for detail in error.details if isinstance(detail, FailureReport)), None)


def _cancelled() -> bool:
    """Whether somebody cancelled or paused the job. After any other end Temporal runs the activity again."""
    why = activity.cancellation_details()
    return why is not None and (why.cancel_requested or why.paused)


def _worker_stops() -> bool:
    why = activity.cancellation_details()
    return activity.is_worker_shutdown() and (why is None or why.worker_shutdown)
