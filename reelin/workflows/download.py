"""Download one video."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.work import DOWNLOAD_QUEUE, DOWNLOAD_WORKFLOW, FETCH, LEASE_GRANTED, JobOutcome, JobRequest
    from reelin.workflows.attempts import Work, run_to_outcome
    from reelin.workflows.lease import LeaseWait


@workflow.defn(name=DOWNLOAD_WORKFLOW)
class DownloadWorkflow:
    """Fetch; on a failure decide and wait; on cancel record it. The last step of `fetch` records the success."""

    def __init__(self) -> None:
        self._lease = LeaseWait()

    @workflow.run
    async def run(self, job: JobRequest) -> JobOutcome:
        return await run_to_outcome(job, Work(FETCH, DOWNLOAD_QUEUE, f"Fetch from {job.site}", self._lease))

    @workflow.signal(name=LEASE_GRANTED)
    def lease_granted(self) -> None:
        self._lease.grant()
