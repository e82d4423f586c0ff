"""A worker that stops gives back what it is doing, so that the next one goes on within a second."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from reelin.activities.failures import back_to_temporal
from reelin.contracts.progress import JobTouched
from reelin.contracts.work import WORKER_STOPPING, Attempt
from reelin.errors import Unavailable
from reelin.library import Library
from reelin.progress import ProgressBus

log = structlog.get_logger(__name__)

#: Until Temporal hands it out again: by then this worker has taken back its own requests for work, one of which could
#: be answered with the very task that it gave back.
RETRY_DELAY = timedelta(seconds=0.5)


class Handover(Interceptor):
    """For every worker. Stopping, it cancels its activities, which end as they do for a cancel: a download with its
    process tree, a transaction or a publication when it is through. What differs is what Temporal hears."""

    def __init__(self, library: Library, bus: ProgressBus) -> None:
        self._library = library
        self._bus = bus

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _HandingOver(next, self._library, self._bus)


class _HandingOver(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, library: Library, bus: ProgressBus) -> None:
        super().__init__(inner)
        self._library = library
        self._bus = bus

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except BaseException:
            # A failure too: what fails now may fail because the worker's parts are ending. If not, it will again.
            if not _worker_stops():
                raise
        for argument in input.args:
            if isinstance(argument, Attempt):
                await self._give_back(argument)
        raise worker_stopping()

    async def _give_back(self, attempt: Attempt) -> None:
        job = attempt.job
        try:
            await self._library.jobs.give_back(job.job_id, job.run)
        except Unavailable as error:
            log.warning("a job looks running until the next worker has it", job_id=job.job_id, reason=str(error))
        self._bus.publish(JobTouched(job_id=job.job_id))


def worker_stopping() -> ApplicationError:
    """The delay is the same after many deploys."""
    return back_to_temporal("The worker stops; the next one goes on.", WORKER_STOPPING, after=RETRY_DELAY)


def _worker_stops() -> bool:
    """Whether that is why the activity ended, and not that somebody cancelled the job or that another worker has it."""
    why = activity.cancellation_details()
    return activity.is_worker_shutdown() and (why is None or why.worker_shutdown)
