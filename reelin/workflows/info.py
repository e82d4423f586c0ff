"""Metadata and formats, without downloading."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.work import INFO_WORKFLOW, METADATA_QUEUE, PROBE, JobOutcome, JobRequest
    from reelin.workflows.attempts import Wish, Work, run_to_outcome


@workflow.defn(name=INFO_WORKFLOW)
class InfoWorkflow:
    """Probe; failures and cancel as in a download."""

    @workflow.run
    async def run(self, job: JobRequest) -> JobOutcome:
        return await run_to_outcome(job, Work(PROBE, METADATA_QUEUE, f"Look at {job.site}"), Wish())
