"""Writes down how a job stands, when the workflow has decided it."""

from __future__ import annotations

from temporalio import activity

from reelin.activities.bell import ItemListener
from reelin.activities.scratch import Scratch
from reelin.activities.site import SiteDesk
from reelin.contracts.progress import JobTouched
from reelin.contracts.work import (
    RECORD_CANCELLED,
    RECORD_FAILED,
    RECORD_PAUSED,
    RECORD_WAITING,
    FailedRecord,
    JobRequest,
    WaitingRecord,
)
from reelin.library import Library, ask_of
from reelin.progress import ProgressBus


class RecordActivities:
    def __init__(
        self, *, library: Library, bus: ProgressBus, scratch: Scratch, bell: ItemListener, desk: SiteDesk
    ) -> None:
        self._bell = bell
        self._desk = desk
        self._library = library
        self._bus = bus
        self._scratch = scratch

    @activity.defn(name=RECORD_WAITING)
    async def record_waiting(self, record: WaitingRecord) -> None:
        await self._library.jobs.wait(
            record.job.job_id,
            record.job.run,
            failure=record.failure,
            attempt=record.attempt,
            until=record.next_attempt_at,
            for_lease=record.awaits_lease,
        )
        self._touched(record.job)
        row = await self._library.jobs.find(record.job.job_id) if record.awaits_lease else None
        if row is not None and row.awaiting_lease_since is not None:
            await self._desk.ask([(record.job.site, ask_of(row))])

    @activity.defn(name=RECORD_PAUSED)
    async def record_paused(self, job: JobRequest) -> bool:
        """Says whether the job is to stand still: it may have been resumed meanwhile."""
        before = await self._library.jobs.find(job.job_id)
        paused = await self._library.jobs.pause(job.job_id, job.run)
        if paused and before is not None:
            self._desk.give_back(job.site, job.job_id, before.lease)
        self._touched(job)
        await self._bell.item_changed(job.job_id)
        return paused

    @activity.defn(name=RECORD_FAILED)
    async def record_failed(self, record: FailedRecord) -> None:
        """The partial files stay: a retry goes on from them."""
        await self._library.jobs.fail(record.job.job_id, record.job.run, failure=record.failure)
        self._touched(record.job)
        await self._bell.item_changed(record.job.job_id)

    @activity.defn(name=RECORD_CANCELLED)
    async def record_cancelled(self, job: JobRequest) -> None:
        row = await self._library.jobs.find(job.job_id)
        if row is None or (row.run == job.run and not row.keep_partial and row.state != "completed"):
            await self._scratch.drop(job.job_id)
        await self._library.jobs.cancel(job.job_id, job.run)
        if row is not None and row.run == job.run:
            self._desk.give_back(job.site, job.job_id, row.lease)
        self._touched(job)
        await self._bell.item_changed(job.job_id)

    def _touched(self, job: JobRequest) -> None:
        self._bus.publish(JobTouched(job_id=job.job_id))
