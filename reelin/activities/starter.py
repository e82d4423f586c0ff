"""Starts the workflow of a job: for the dispatcher, and for batches that let an item go."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from reelin.contracts.jobs import Kind
from reelin.contracts.work import (
    BULK_WORKFLOW,
    DOWNLOAD_WORKFLOW,
    INFO_WORKFLOW,
    PLAYLIST_WORKFLOW,
    WORKFLOW_QUEUE,
)
from reelin.library import JobRecord

_WORKFLOWS = {Kind.INFO: INFO_WORKFLOW, Kind.PLAYLIST: PLAYLIST_WORKFLOW, Kind.BULK: BULK_WORKFLOW}


class Starter:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, job: JobRecord) -> bool:
        """Whether this run of the job is a workflow now. False while an older run of it is still ending.

        Raises what the client raises.
        """
        try:
            await self._start(job)
        except WorkflowAlreadyStartedError:
            return await self._is_this_run(job)
        return True

    async def _start(self, job: JobRecord) -> None:
        await self._client.start_workflow(
            _WORKFLOWS.get(job.kind, DOWNLOAD_WORKFLOW),
            job.request(),
            id=job.id,
            task_queue=WORKFLOW_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo={"run": job.run},
            search_attributes=_search_attributes(job),
            static_summary=" · ".join(part for part in (job.kind, job.preset, job.site) if part),
            static_details=f"`{_code(job.url)}`\n\nrun {job.run}, submitted {job.submitted_at:%Y-%m-%d %H:%M:%S} UTC",
            priority=_turn(job),
        )

    async def _is_this_run(self, job: JobRecord) -> bool:
        """Whether what runs under this id is this run (we crashed before noting it), and not an older one's end."""
        description = await self._client.get_workflow_handle(job.id).describe()
        return await description.memo_value("run", 0, type_hint=int) == job.run


def _turn(job: JobRecord) -> Priority:
    """Applies to its activities too. Among tasks of one priority sites take turns; Temporal takes 64 bytes of a key."""
    return Priority(priority_key=job.priority, fairness_key=(job.site or "")[-64:])


def _search_attributes(job: JobRecord) -> TypedSearchAttributes:
    values = {
        "ReelinKind": str(job.kind),
        "ReelinSite": job.site,
        "ReelinOwner": job.owner,
        "ReelinParent": job.parent_id,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items() if value]
    )


def _code(url: str | None) -> str:
    """A URL as Markdown code: it comes from outside and must not become markup in Temporal's UI."""
    return (url or "").replace("`", "%60")
