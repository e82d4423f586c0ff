"""Download one video."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.work import DOWNLOAD_QUEUE, DOWNLOAD_WORKFLOW, FETCH, JobOutcome, JobRequest
    from reelin.workflows.attempts import Work, run_to_outcome


@workflow.defn(name=DOWNLOAD_WORKFLOW)
class DownloadWorkflow:
    """Fetch; on a failure decide and wait; on cancel record it. The last step of `fetch` records the success."""

    @workflow.run
    async def run(self, job: JobRequest) -> JobOutcome:
        return await run_to_outcome(job, Work(FETCH, DOWNLOAD_QUEUE, f"Fetch from {job.site}"))
