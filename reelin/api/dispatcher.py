"""Empties the outbox: starts a workflow for each job that was accepted and that Temporal does not know yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog
from temporalio.client import Client

from reelin.activities import SiteDesk, Starter
from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.errors import Unavailable
from reelin.library import JobRecord, Library
from reelin.temporal import TEMPORAL_AWAY, first_line

log = structlog.get_logger(__name__)

#: Whose turn it is, is asked anew after so many.
BATCH = 40
#: Starting is cheap for Temporal and not for this process: more at once would make those who submit wait.
AT_ONCE = 8
SECONDS_BETWEEN_LOOKS = 30.0
#: After a start that did not work: Temporal is away, or an older run of the job is still ending.
SECONDS_BEFORE_ANOTHER_TRY = 0.5


class Dispatcher:
    """`submitted` wakes it; without a word it looks every 30 s. Several may run: a workflow id starts once."""

    def __init__(self, library: Library, client: Client, desk: SiteDesk | None = None) -> None:
        self._library = library
        self._client = client
        self._starter = Starter(client, desk)
        self._woken = asyncio.Event()
        self._away = False
        self._slots = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            if await self._empty_outbox():
                await asyncio.sleep(SECONDS_BEFORE_ANOTHER_TRY)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), SECONDS_BETWEEN_LOOKS)

    async def _empty_outbox(self) -> bool:
        """Starts what waits; says whether something could not be started."""
        while True:
            waiting = await self._library.jobs.undispatched(limit=BATCH)
            in_line = await self._starter.in_line(waiting)
            started = await asyncio.gather(*(self._start(job, in_line=job.id in in_line) for job in waiting))
            there = [job for job, done in zip(waiting, started, strict=True) if done]
            if not await self._line_up(job for job in there if job.id in in_line):
                return True
            await self._mark(there, in_line)
            if not all(started):
                return True
            if len(waiting) < BATCH:
                return False

    async def _line_up(self, jobs: Iterable[JobRecord]) -> bool:
        """Whether their sites were asked. If not they stay in the outbox: to be found as started, and asked for."""
        try:
            await self._starter.line_up(jobs)
        except Unavailable as error:
            log.warning("sites cannot be asked yet; jobs wait in the outbox", reason=error.reason)
            return False
        return True

    async def _mark(self, started: list[JobRecord], in_line: frozenset[str]) -> None:
        """A job whose cancel was asked for while it was being started is cancelled now."""
        done = [(job.id, job.run) for job in started]
        for job_id in await self._library.jobs.mark_dispatched(done, in_line=in_line):
            with contextlib.suppress(*TEMPORAL_AWAY):  # the reconciler passes the wish on later
                await self._client.get_workflow_handle(job_id).cancel()

    async def _start(self, job: JobRecord, *, in_line: bool) -> bool:
        try:
            async with self._slots:
                started = await self._starter.start(job, in_line=in_line)
            self._away = False
            return started
        except TEMPORAL_AWAY as error:
            if not self._away:
                log.warning("Temporal does not answer; jobs wait in the outbox", reason=first_line(error))
            self._away = True
        except Exception:  # one job that cannot be started must not keep the others from starting
            log.exception("a job cannot be started", job_id=job.id)
            await self._library.jobs.fail(job.id, job.run, failure=_CANNOT_START)
        return False


_CANNOT_START = Failure(
    kind=FailureKind.INTERNAL,
    message="The job could not be started.",
    remedy=REMEDIES[FailureKind.INTERNAL],
    retryable=True,
)
