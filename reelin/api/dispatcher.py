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
from reelin.rpc import TEMPORAL_AWAY, Refusal, Refused, classify_rpc_error

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
        self._refused: Refused | None = None
        self._wait = SECONDS_BEFORE_ANOTHER_TRY
        self._slots = asyncio.Semaphore(AT_ONCE)

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

    async def _empty_outbox(self) -> bool:
        """Starts what waits; says whether something could not be started."""
        while True:
            waiting = await self._library.jobs.undispatched(limit=BATCH)
            if not waiting:
                self._forget_refusal()
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
            self._accepted()
            return started
        except TEMPORAL_AWAY as error:
            refused = classify_rpc_error(error, self._client.namespace)
            if refused.kind is Refusal.BAD_REQUEST:
                log.error("Temporal refuses a job", job_id=job.id, reason=refused.reason)
                await self._library.jobs.fail(job.id, job.run, failure=_cannot_start(refused.reason))
            else:
                self._hold_back(refused)
        except Exception:  # one job that cannot be started must not keep the others from starting
            log.exception("a job cannot be started", job_id=job.id)
            await self._library.jobs.fail(job.id, job.run, failure=_cannot_start("The job could not be started."))
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


def _cannot_start(message: str) -> Failure:
    return Failure(kind=FailureKind.INTERNAL, message=message, remedy=REMEDIES[FailureKind.INTERNAL], retryable=True)
