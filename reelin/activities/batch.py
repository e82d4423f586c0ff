"""What a batch does: let items go, hold them back, call them off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from reelin.activities.bell import ItemListener
from reelin.activities.starter import Start, Starter
from reelin.contracts.failures import Failure
from reelin.contracts.jobs import Counts, State
from reelin.contracts.progress import JobTouched
from reelin.contracts.work import CALL_OFF, GIVE_UP_LISTING, LET_GO, PAUSE, Advance, FailedRecord, JobRequest
from reelin.library import JobRecord, Library
from reelin.progress import ProgressBus

log = structlog.get_logger(__name__)

#: How many items of a site may be in flight in one batch; None: any number.
SiteLimit = Callable[[str], int | None]


class BatchActivities:
    """`at_once` items are in flight where the batch says nothing else; `site_limits` says how many of each site."""

    def __init__(
        self,
        *,
        client: Client,
        library: Library,
        bus: ProgressBus,
        at_once: int,
        site_limits: Callable[[], Awaitable[SiteLimit]],
        bell: ItemListener,
        starter: Starter,
    ) -> None:
        self._client = client
        self._library = library
        self._bus = bus
        self._at_once = at_once
        self._site_limits = site_limits
        self._bell = bell
        self._starter = starter

    @activity.defn(name=LET_GO)
    async def let_go(self, job: JobRequest) -> Advance:
        """Lets as many items go as may be in flight, and says what is left. May run as often as one likes, also while
        the items are still being listed."""
        row = await self._library.jobs.find(job.job_id)
        if row is None or row.run != job.run:
            return Advance(over=State.CANCELLED)
        if row.state.final:
            return self._ended(row)
        if row.cancel_requested:  # the workflow hears of it from Temporal
            return Advance(in_flight=1)
        if row.pause_requested:
            return await self._pause(row)
        return await self._release(row)

    @activity.defn(name=GIVE_UP_LISTING)
    async def give_up_listing(self, record: FailedRecord) -> None:
        """What is listed runs; then the batch ends with this failure."""
        await self._library.batches.give_up(record.job.job_id, record.job.run, failure=record.failure)
        await self._changed(record.job.job_id)

    @activity.defn(name=CALL_OFF)
    async def call_off(self, job: JobRequest) -> Advance:
        """Cancels what is in line and in flight; over when all of it has ended, and written down then."""
        row = await self._library.jobs.find(job.job_id)
        if row is None or row.run != job.run:
            return Advance(over=State.CANCELLED)
        flying = await self._library.window.call_off(row.id, keep_partial=row.keep_partial)
        await asyncio.gather(*(self._cancel(job_id) for job_id in flying))
        over = None if flying else await self._library.window.finish(row.id, job.run, cancelled=True)
        await self._changed(row.id)
        return Advance(in_flight=len(flying), over=over)

    async def _release(self, row: JobRecord) -> Advance:
        batch = await self._library.batches.find(row.id)
        released = await self._library.window.release(
            row.id,
            at_once=(batch and batch.at_once) or self._at_once,
            limit_of=await self._site_limits(),
        )
        await self._start(released.jobs)
        if released.in_flight or not released.listing:  # else it is as far as listing its items says
            await self._library.jobs.begin(row.id, row.run, max(row.attempt, 1))
        if released.in_flight or released.in_line or released.listing:
            return Advance(
                in_flight=released.in_flight,
                waiting=released.waiting,
                in_line=released.in_line,
                listing=released.listing,
            )
        await self._library.window.finish(row.id, row.run)
        await self._changed(row.id)
        ended = await self._library.jobs.find(row.id)
        return Advance(over=State.CANCELLED) if ended is None else self._ended(ended)

    def _ended(self, row: JobRecord) -> Advance:
        if not row.state.final:  # an item was put back in line in this very moment
            return Advance(in_line=True)
        counts = Counts.model_validate(row.result) if row.result else None
        failure = Failure.model_validate(row.failure) if row.failure else None
        return Advance(over=row.state, counts=counts, failure=failure)

    async def _pause(self, row: JobRecord) -> Advance:
        flying = await self._library.window.stop(row.id)
        await self._tell(flying, PAUSE)
        await self._library.jobs.pause(row.id, row.run)
        await self._changed(row.id)
        return Advance(in_flight=len(flying), paused=True)

    async def _changed(self, job_id: str) -> None:
        """A playlist may be an item itself: the list that it stands in is to hear of it too."""
        self._bus.publish(JobTouched(job_id=job_id))
        await self._bell.item_changed(job_id)

    async def _start(self, jobs: Sequence[JobRecord]) -> None:
        """What cannot be started now stays in the outbox, for the dispatcher."""
        unlimited = await self._starter.line_up(jobs)

        async def start(job: JobRecord) -> Start:
            try:
                return await self._starter.start(job)
            except RPCError as error:
                log.warning("an item cannot be started yet", job_id=job.id, reason=error.message)
                return Start.LATER

        started = await asyncio.gather(*(start(job) for job in unlimited))
        known = (Start.STARTED, Start.THERE_ALREADY)
        done = [(job.id, job.run) for job, start in zip(unlimited, started, strict=True) if start in known]
        for job_id in await self._library.jobs.mark_dispatched(done):
            await self._cancel(job_id)

    async def _cancel(self, job_id: str) -> None:
        with _unless_unknown():
            await self._client.get_workflow_handle(job_id).cancel()

    async def _tell(self, job_ids: Sequence[str], signal: str) -> None:
        async def tell(job_id: str) -> None:
            with _unless_unknown():
                await self._client.get_workflow_handle(job_id).signal(signal)

        await asyncio.gather(*(tell(job_id) for job_id in job_ids))


@contextlib.contextmanager
def _unless_unknown() -> Iterator[None]:
    """A workflow that has ended meanwhile need not be told anything."""
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
