"""Where the work meets a site's workflow: asking for a lease, giving it back, and what the workflow asks of us."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from reelin.activities.courier import Courier
from reelin.activities.failures import application_error
from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import (
    COMPLAINTS,
    Ask,
    Done,
)
from reelin.contracts.work import Attempt, FailureReport
from reelin.errors import Unavailable
from reelin.library import Library
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
    """`lease`: the number of the leave with which it fetches; None: it needs none. `served`: the site gave what was
    asked for; `recorded`: the row says so, and that the lease has ended. `flowing` says whether it is giving just now.
    """

    lease: int | None = None
    served: bool = False
    recorded: bool = False
    flowing: Callable[[], bool] = lambda: False


class SiteDesk:
    """`unlimited` sites need no lease until they complain; `max_at_once` applies to all others unless people set
    something."""

    def __init__(self, *, client: Client, library: Library, unlimited: Collection[str], max_at_once: int) -> None:
        self._courier = Courier(client, max_at_once)
        self._sites = library.sites
        self._waiters = library.waiters
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

    async def ask(self, asks: Iterable[tuple[str, Ask]]) -> None:
        """Tells sites who waits for them, as the rows say already. Raises Unavailable."""
        by_site: defaultdict[str, list[Ask]] = defaultdict(list)
        for site, ask in asks:
            by_site[site].append(ask)
        await asyncio.gather(*(self._courier.say(site, *those) for site, those in by_site.items()))

    async def reread(self, site: str) -> None:
        """Has the site read who waits for it. Raises Unavailable."""
        await self._courier.say(site, reread=True)

    def give_back(self, site: str, job_id: str, lease: int | None) -> None:
        """Of a job that ended, or stands still, as its row says. Nobody waits until the site has heard it."""
        if lease is not None:
            self._report(self._done(site, Done(job_id=job_id, lease=lease)))

    @contextlib.asynccontextmanager
    async def visiting(self, attempt: Attempt, *, in_line: bool = True) -> AsyncIterator[Visit]:
        """Round all that is fetched from the job's site; within it the visit is told of the lease. However it ends,
        the site hears of it, unless Temporal will run this again: then the lease stays with the job. Without a lease
        only complaints are told.

        `in_line`: the next attempt waits for a lease, so it need not wait for anything else.
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
                self._give_back(attempt, visit, success=False, kind=report.kind)
                raise
            if await to_its_end(self._complain(attempt, visit, report, began_at)) and in_line:
                raise application_error(report.model_copy(update={"site_waits": True})) from None
            raise
        except BaseException:
            if _cancelled():
                self._give_back(attempt, visit, success=False)
            raise
        self._give_back(attempt, visit, success=visit.served)

    @contextlib.asynccontextmanager
    async def _telling_that_it_flows(self, attempt: Attempt, visit: Visit) -> AsyncIterator[None]:
        """Once, and early: others may wait for nothing but the news that the site serves us again."""
        telling = asyncio.create_task(self._tell_that_it_flows(attempt, visit))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell_that_it_flows(self, attempt: Attempt, visit: Visit) -> None:
        flowing = False
        while not flowing:
            await asyncio.sleep(FLOWS_AFTER_SECONDS)
            flowing = visit.flowing()
        if visit.lease is not None:
            job = attempt.job
            done = Done(job_id=job.job_id, lease=visit.lease, success=True, goes_on=True)
            await self._done(job.site, done)

    def _give_back(self, attempt: Attempt, visit: Visit, *, success: bool, kind: FailureKind | None = None) -> None:
        """Nobody waits until the site has heard it: that is no work for this place in the worker."""
        if visit.lease is not None:
            job = attempt.job
            done = Done(job_id=job.job_id, lease=visit.lease, success=success, kind=kind)
            self._report(self._done(job.site, done) if visit.recorded else self._end_lease(job.site, done))

    def _report(self, telling: Coroutine[Any, Any, bool]) -> None:
        report = asyncio.create_task(telling)
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _complain(self, attempt: Attempt, visit: Visit, report: FailureReport, began_at: float) -> bool:
        """Whether the site has heard it."""
        job = attempt.job
        if visit.lease is None:
            await self._limit(job.site, report)
        done = Done(
            job_id=job.job_id,
            lease=visit.lease,
            kind=report.kind,
            retry_after_seconds=report.retry_after_seconds,
            began_at=began_at,
        )
        return await self._end_lease(job.site, done, urgent=True)

    async def _limit(self, site: str, report: FailureReport) -> None:
        asked = report.retry_after_seconds
        wait = _FIRST_COOLDOWN if asked is None else timedelta(seconds=asked)
        await self._sites.complained(site, FailureKind(report.kind), datetime.now(UTC) + wait)
        self._known.pop(site, None)
        log.info("a site complained: it needs leases now", site=site, kind=report.kind)

    async def _end_lease(self, site: str, done: Done, *, urgent: bool = False) -> bool:
        """First in the row: the site may give it to somebody else as soon as it hears of it. Where that cannot be, it
        looks at the row by and by."""
        try:
            if done.lease is not None:
                await self._waiters.give_back(done.job_id, done.lease)
        except Unavailable as error:
            log.warning("a lease ends later", site=site, job_id=done.job_id, reason=error.reason)
            return False
        return await self._done(site, done, urgent=urgent)

    async def _done(self, site: str, done: Done, *, urgent: bool = False) -> bool:
        """Where Temporal is away, the site finds out by itself that the holder no longer runs."""
        try:
            await self._courier.say(site, done, urgent=urgent)
        except Unavailable as error:
            log.warning("a site did not hear of a lease's end", site=site, job_id=done.job_id, reason=error.reason)
            return False
        return True


def _report_of(error: ApplicationError) -> FailureReport | None:
    return next((detail for detail in error.details if isinstance(detail, FailureReport)), None)


def _cancelled() -> bool:
    """Whether somebody cancelled or paused the job. After any other end Temporal runs the activity again."""
    why = activity.cancellation_details()
    return why is not None and (why.cancel_requested or why.paused)


def _worker_stops() -> bool:
    why = activity.cancellation_details()
    return activity.is_worker_shutdown() and (why is None or why.worker_shutdown)
