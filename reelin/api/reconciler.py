"""Compares the jobs that are not finished with what Temporal really runs, and heals the difference."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError, RPCStatusCode

from reelin.api.dispatcher import Dispatcher
from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import BATCH_KINDS, State
from reelin.contracts.progress import JobTouched
from reelin.contracts.work import PAUSE, RESUME
from reelin.library import JobRecord, Library
from reelin.progress import ProgressBus
from reelin.rpc import TEMPORAL_AWAY, first_line

log = structlog.get_logger(__name__)

SECONDS_BETWEEN_SWEEPS = 30.0
#: While the items of a batch that someone terminated are still ending.
SECONDS_UNTIL_ITEMS_END = 2.0
#: A workflow that was started just now may not be listed yet.
SETTLING = timedelta(seconds=5)
_ENDED_BY_SOMEBODY = frozenset({WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.CANCELED})
#: Who ends workflows for Temporal's own reasons: their history has grown too long or too large.
_TEMPORAL_ITSELF = "history-service"
#: A job that no worker has and that waits for nothing is asked to look at its row again after so long.
STANDS_STILL = timedelta(seconds=30)
#: So many of those are looked at in one sweep: each costs Temporal some milliseconds.
LOOKED_AT = 50


class Reconciler:
    """Temporal is the authority on what runs; the jobs table is the index that people read."""

    def __init__(self, library: Library, client: Client, bus: ProgressBus, dispatcher: Dispatcher) -> None:
        self._library = library
        self._client = client
        self._bus = bus
        self._dispatcher = dispatcher
        self._items_are_ending = False
        self._may_look_at = 0
        self._looked_at = ""  #: The next sweep goes on with the ids after this one.
        self._held_after = ""

    async def run(self) -> None:
        """At once, then every 30 s, until cancelled."""
        while True:
            try:
                await self.sweep()
            except TEMPORAL_AWAY as error:
                log.info("Temporal does not answer; reconciling later", reason=first_line(error))
            await asyncio.sleep(SECONDS_UNTIL_ITEMS_END if self._items_are_ending else SECONDS_BETWEEN_SWEEPS)

    async def sweep(self) -> int:
        """One comparison; returns how many jobs were healed. Raises TEMPORAL_AWAY."""
        self._dispatcher.wake()
        await self._dispatcher.tell_sites()
        self._items_are_ending = False
        self._may_look_at = LOOKED_AT
        running: set[str] | None = None
        healed = 0
        async for page in self._library.jobs.dispatched_pages():
            running = await self._running_ids() if running is None else running
            healed += await self._compare(page, running)
        if self._may_look_at > 0:
            self._looked_at = ""
        return healed + await self._heal_held()

    async def _heal_held(self) -> int:
        """Jobs that wait for a batch which is not there; some thousands of all that wait are looked at in a sweep."""
        healed, self._held_after = await self._library.window.heal_held(self._held_after)
        for job_id in healed:
            log.warning("healed a job that nobody held", job_id=job_id)
            self._bus.publish(JobTouched(job_id=job_id))
        return len(healed)

    async def _compare(self, page: Sequence[JobRecord], running: Container[str]) -> int:
        settled = datetime.now(UTC) - SETTLING
        healed = 0
        for job in page:
            if job.dispatched_at is None or job.dispatched_at > settled:
                continue
            if job.id not in running and await self._heal(job):
                healed += 1
            elif job.cancel_requested or job.resumed or (job.pause_requested and job.state is not State.PAUSED):
                await self._pass_on(job)
            elif self._may_look_at > 0 and job.id > self._looked_at and _may_stand_still(job):
                self._may_look_at, self._looked_at = self._may_look_at - 1, job.id
                await self._wake(job)
        return healed

    async def _wake(self, job: JobRecord) -> None:
        """What a word that was lost leaves: the row says that the job goes on, and its workflow waits to be told so.
        One that waits for nothing but a worker is left alone."""
        description = await self._describe(job.id)
        if description is None or not await self._is_this_run(job, description):
            return
        raw = description.raw_description
        if not raw.pending_activities and not raw.HasField("pending_workflow_task"):
            log.warning("woke a job that stood still", job_id=job.id, row_said=job.state)
            with contextlib.suppress(RPCError):  # it has ended meanwhile
                await self._client.get_workflow_handle(job.id, run_id=description.run_id).signal(RESUME)

    async def _pass_on(self, job: JobRecord) -> None:
        """A wish that Temporal may not have heard of, to this run and no other. Hearing it twice does no harm."""
        description = await self._describe(job.id)
        if description is None or not await self._is_this_run(job, description):
            return
        workflow = self._client.get_workflow_handle(job.id, run_id=description.run_id)
        with contextlib.suppress(RPCError):  # it has ended meanwhile; else the next sweep tries again
            if job.cancel_requested:
                await workflow.cancel()
            elif job.pause_requested:
                await workflow.signal(PAUSE)
            else:
                await workflow.signal(RESUME)
                await self._library.wishes.passed_on([job.id])

    async def _running_ids(self) -> set[str]:
        query = "ExecutionStatus = 'Running' AND ReelinOwner IS NOT NULL"
        return {found.id async for found in self._client.list_workflows(query, page_size=1000)}

    async def _heal(self, job: JobRecord) -> bool:
        """The list may lag; the description does not. Says whether something had to be done."""
        description = await self._describe(job.id)
        status = None if description is None else description.status
        if status is WorkflowExecutionStatus.RUNNING:
            return False
        if status in _ENDED_BY_SOMEBODY and await self._is_this_run(job, description) and await self._by_a_person(job):
            await self._end(job)
        elif status is WorkflowExecutionStatus.FAILED and await self._is_this_run(job, description):
            await self._library.jobs.fail(job.id, job.run, failure=_WORKFLOW_FAILED)
        else:
            # Unknown to Temporal, or its end was never recorded: do it (again); every step may run twice.
            await self._library.jobs.dispatch_again(job.id, job.run)
            self._dispatcher.wake()
        log.warning("healed a job", job_id=job.id, row_said=job.state, temporal_says=status and status.name)
        self._bus.publish(JobTouched(job_id=job.id))
        return True

    async def _end(self, job: JobRecord) -> None:
        """A batch ends as one that is cancelled here does: with its items, in line and in flight."""
        if job.kind not in BATCH_KINDS:
            await self._library.jobs.cancel(job.id, job.run)
            return
        for item_id in await self._library.window.call_off(job.id):
            with contextlib.suppress(RPCError):  # it has ended meanwhile; else the next sweep tries again
                await self._client.get_workflow_handle(item_id).cancel()
        if await self._library.window.finish(job.id, job.run, cancelled=True) is None:
            self._items_are_ending = True

    async def _by_a_person(self, job: JobRecord) -> bool:
        """Whether somebody ended the workflow, and not Temporal itself, which says nothing of what is wanted."""
        handle = self._client.get_workflow_handle(job.id)
        async for event in handle.fetch_history_events(event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT):
            if event.HasField("workflow_execution_terminated_event_attributes"):
                return event.workflow_execution_terminated_event_attributes.identity != _TEMPORAL_ITSELF
        return True

    async def _is_this_run(self, job: JobRecord, description: WorkflowExecutionDescription | None) -> bool:
        return description is not None and await description.memo_value("run", 0, type_hint=int) == job.run

    async def _describe(self, job_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(job_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise


def _may_stand_still(job: JobRecord) -> bool:
    """No worker has it, it waits for no moment and stands in no line; its version is when its row changed last."""
    if job.state is not State.QUEUED or job.kind in BATCH_KINDS:
        return False
    return datetime.now(UTC) - datetime.fromtimestamp(job.version / 1_000_000, UTC) > STANDS_STILL


_WORKFLOW_FAILED = Failure(
    kind=FailureKind.INTERNAL,
    message="The workflow failed; its history in Temporal's UI says why.",
    remedy=REMEDIES[FailureKind.INTERNAL],
    retryable=True,
)
