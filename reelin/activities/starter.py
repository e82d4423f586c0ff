"""Starts the workflow of a job: for the dispatcher, and for batches that let an item go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

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
from temporalio.service import RPCError

from reelin.activities.site import SiteDesk
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
    """Without a `desk` every download asks its site for itself."""

    def __init__(self, client: Client, desk: SiteDesk | None = None) -> None:
        self._client = client
        self._desk = desk

    async def in_line(self, jobs: Iterable[JobRecord]) -> frozenset[str]:
        """Those whose sites have to let them in, as far as is known; by id."""
        if self._desk is None:
            return frozenset()
        downloads = [job for job in jobs if job.kind not in _WORKFLOWS]
        limited = {site for site in {job.site or "" for job in downloads} if await self._desk.needs_lease(site)}
        return frozenset(job.id for job in downloads if (job.site or "") in limited)

    async def start(self, job: JobRecord, *, in_line: bool = False) -> bool:
        """Whether this run of the job is a workflow now. False while an older run of it is still ending.

        `in_line`: it waits for its site, which `line_up` asks. Raises what the client raises.
        """
        try:
            await self._start(job, in_line=in_line)
        except WorkflowAlreadyStartedError:
            return await self._is_this_run(job)
        return True

    async def line_up(self, jobs: Iterable[JobRecord]) -> None:
        """Asks the sites of those that were started in line, each with one word for all. Raises Unavailable.

        Asking twice is harmless: whoever notes that a job was started does it afterwards, so that one whose site was
        not asked, because of a crash, is still to be started.
        """
        if self._desk is not None:
            await self._desk.ask(*(job.request() for job in jobs))

    async def _start(self, job: JobRecord, *, in_line: bool) -> None:
        await self._client.start_workflow(
            _WORKFLOWS.get(job.kind, DOWNLOAD_WORKFLOW),
            job.request().model_copy(update={"in_line": in_line}),
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
        """Whether what runs under this id is this run: we crashed before noting it.

        An older one is told to end: it may stand still, and never have heard that it was cancelled.
        """
        description = await self._client.get_workflow_handle(job.id).describe()
        run = await description.memo_value("run", 0, type_hint=int)
        if run < job.run:
            with contextlib.suppress(RPCError):  # it has ended meanwhile; else the next start tries again
                await self._client.get_workflow_handle(job.id, run_id=description.run_id).cancel()
        return run == job.run


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
