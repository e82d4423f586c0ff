"""Empties the outbox: each job that was accepted and that Temporal does not know yet is put into the line of its site,
or becomes a workflow where no site has to let it in."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from temporalio.client import Client

from reelin.activities import SiteDesk, Start, Starter
from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.errors import Unavailable
from reelin.library import JobRecord, Library
from reelin.rpc import TEMPORAL_AWAY, Refused, classify_rpc_error

log = structlog.get_logger(__name__)

#: Whose turn it is, is asked anew after so many.
BATCH = 40
#: Jobs that a transaction puts into their site's line.
LINED_UP_AT_ONCE = 500
SECONDS_BETWEEN_LOOKS = 30.0
#: After a start that did not work: Temporal is away, or an older run of the job is still ending.
SECONDS_BEFORE_ANOTHER_TRY = 0.5


class Dispatcher:
    """`submitted` wakes it; without a word it looks every 30 s. Several may run: a workflow id starts once."""

    def __init__(self, library: Library, client: Client, desk: SiteDesk | None = None) -> None:
        self._library = library
        self._client = client
        self._desk = desk
        self._starter = Starter(client, library, desk)
        self._woken = asyncio.Event()
        self._refused: Refused | None = None
        self._wait = SECONDS_BEFORE_ANOTHER_TRY
        self._untold: set[str] = set()  #: Sites that do not know yet that somebody waits for them.

    @property
    def trouble(self) -> str | None:
        """Why nothing can be started just now, in one line."""
        return None if self._refused is None else self._refused.reason

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            if await self._empty_outbox():
                await asyncio.sleep(self._next_wait())
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), SECONDS_BETWEEN_LOOKS)

    def _next_wait(self) -> float:
        """Longer each time while Temporal refuses everything, up to what is bearable for its reason."""
        longest = self._refused.longest_wait_seconds if self._refused else SECONDS_BEFORE_ANOTHER_TRY
        wait, self._wait = min(self._wait, longest), min(2 * self._wait, longest)
        return wait

    async def tell_sites(self) -> None:
        """Has every site for which somebody waits read its line: a word that was lost costs until the next time."""
        if self._desk is not None:
            self._untold.update(await self._library.waiters.sites())
            await self._tell_untold()

    async def _empty_outbox(self) -> bool:
        """Starts what waits; says whether something could not be started."""
        while True:
            told = await self._line_up()
            waiting = await self._library.jobs.undispatched(limit=BATCH)
            if not waiting:
                self._forget_refusal()
            started = await asyncio.gather(*(self._start(job) for job in waiting))
            await self._mark([job for job, done in zip(waiting, started, strict=True) if done])
            if not told or not all(started):
                return True
            if len(waiting) < BATCH:
                return False

    async def _line_up(self) -> bool:
        """Whether all sites have heard who waits for them. Those that have not are told again; the rows know."""
        if self._desk is None:
            return True
        for site in await self._library.waiters.sites_in_outbox():
            if await self._desk.needs_lease(site):
                await self._line_up_site(self._desk, site)
        return await self._tell_untold()

    async def _line_up_site(self, desk: SiteDesk, site: str) -> None:
        more = True
        while more:
            asks = await self._library.waiters.line_up_site(site, at_most=LINED_UP_AT_ONCE)
            more = len(asks) == LINED_UP_AT_ONCE
            try:
                await desk.ask([(site, ask) for ask in asks])
            except Unavailable:
                self._untold.add(site)

    async def _tell_untold(self) -> bool:
        if self._desk is None or not self._untold:
            return True
        sites, self._untold = self._untold, set()
        heard = await asyncio.gather(*(self._tell(self._desk, site) for site in sites))
        return all(heard)

    async def _tell(self, desk: SiteDesk, site: str) -> bool:
        async with self._starter.slots:
            try:
                await desk.reread(site)
            except Unavailable as error:
                log.warning("a site cannot be asked yet; jobs wait in its line", site=site, reason=error.reason)
                self._untold.add(site)
                return False
        return True

    async def _mark(self, started: list[JobRecord]) -> None:
        """A job whose cancel was asked for while it was being started is cancelled now."""
        for job_id in await self._library.jobs.mark_dispatched((job.id, job.run) for job in started):
            with contextlib.suppress(*TEMPORAL_AWAY):  # the reconciler passes the wish on later
                await self._client.get_workflow_handle(job_id).cancel()

    async def _start(self, job: JobRecord) -> bool:
        """Whether there is nothing more to do for it: Temporal has it, or will never take it."""
        try:
            start = await self._starter.start(job)
            self._accepted()
            return start is not Start.LATER
        except TEMPORAL_AWAY as error:
            self._hold_back(classify_rpc_error(error, self._client.namespace))
        except Exception:  # one job that cannot be started must not keep the others from starting
            log.exception("a job cannot be started", job_id=job.id)
            await self._library.jobs.fail(job.id, job.run, failure=_CANNOT_START)
        return False

    def _accepted(self) -> None:
        if self._refused is not None:
            log.info("Temporal takes jobs again")
        self._forget_refusal()

    def _forget_refusal(self) -> None:
        """Also where nothing is left to be started: nobody would find out when it is over."""
        self._refused, self._wait = None, SECONDS_BEFORE_ANOTHER_TRY

    def _hold_back(self, refused: Refused) -> None:
        """Said once for each reason."""
        if self._refused is None or self._refused.kind is not refused.kind:
            log.warning("jobs wait in the outbox", reason=refused.reason)
        self._refused = refused


_CANNOT_START = Failure(
    kind=FailureKind.INTERNAL,
    message="The job could not be started.",
    remedy=REMEDIES[FailureKind.INTERNAL],
    retryable=True,
)
