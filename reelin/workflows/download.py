"""Download one video."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.work import (
        DOWNLOAD_QUEUE,
        DOWNLOAD_WORKFLOW,
        FETCH,
        LEASE_GRANTED,
        PAUSE,
        RESUME,
        JobOutcome,
        JobRequest,
    )
    from reelin.workflows.attempts import Wish, Work, run_to_outcome
    from reelin.workflows.lease import LeaseWait


@workflow.defn(name=DOWNLOAD_WORKFLOW)
class DownloadWorkflow:
    """Fetch; on a failure decide and wait; on pause stand still; on cancel record it. The last step of `fetch`
    records the success. A URL that turns out to be a playlist goes on as one. A run that waits for days begins new
    histories, and carries over what it has been through."""

    def __init__(self) -> None:
        self._wish = Wish()
        self._lease = LeaseWait()

    @workflow.run
    async def run(self, job: JobRequest) -> JobOutcome:
        work = Work(FETCH, DOWNLOAD_QUEUE, f"Fetch from {job.site}", self._lease)
        return await run_to_outcome(job, work, self._wish)

    @workflow.signal(name=PAUSE)
    def pause(self) -> None:
        self._wish.pause()

    @workflow.signal(name=RESUME)
    def resume(self) -> None:
        self._wish.resume()
        self._lease.wake()  # pausing it took it out of its site's line

    @workflow.signal(name=LEASE_GRANTED)
    def lease_granted(self) -> None:
        self._lease.wake()
