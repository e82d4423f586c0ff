"""Starts the workflow of a job: for the dispatcher, for batches that let an item go, and for sites that let one in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from enum import Enum

import structlog
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
from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import Kind
from reelin.contracts.work import (
    BULK_WORKFLOW,
    DOWNLOAD_WORKFLOW,
    INFO_WORKFLOW,
    PLAYLIST_WORKFLOW,
    WORKFLOW_QUEUE,
)
from reelin.library import JobRecord, Library
from reelin.rpc import Refusal, Refused, classify_rpc_error

log = structlog.get_logger(__name__)

_WORKFLOWS = {Kind.INFO: INFO_WORKFLOW, Kind.PLAYLIST: PLAYLIST_WORKFLOW, Kind.BULK: BULK_WORKFLOW}


#: Workflow starts at once: each is some milliseconds of Temporal's, and as many of this process, which others want too.
STARTS_AT_ONCE = 8


class Start(Enum):
    """What came of starting a workflow."""

    STARTED = "started"
    THERE_ALREADY = "there_already"  #: This very run is a workflow: we crashed before it was noted.
    LATER = "later"  #: An older run of the job is still ending.
    REFUSED = "refused"  #: Temporal will never take it: the job has failed.


class Starter:
    """Without a `desk` no site needs a lease. `slots` bound what is asked of Temporal at once."""

    def __init__(self, client: Client, library: Library, desk: SiteDesk | None = None) -> None:
        self._client = client
        self._library = library
        self._desk = desk
        self.slots = asyncio.Semaphore(STARTS_AT_ONCE)

    async def line_up(self, jobs: Sequence[JobRecord]) -> list[JobRecord]:
        """Puts those whose sites have to let them in into their sites' lines; returns the others.

        Raises Unavailable where a site cannot be told: its line stands in rows, and it is told again.
        """
        if self._desk is None:
            return list(jobs)
        downloads = [job for job in jobs if job.kind not in _WORKFLOWS]
        limited = {site for site in {job.site or "" for job in downloads} if await self._desk.needs_lease(site)}
        waiting = {job.id for job in downloads if (job.site or "") in limited}
        if waiting:
            await self._desk.ask(await self._library.waiters.line_up(waiting))
        return [job for job in jobs if job.id not in waiting]

    async def start(self, job: JobRecord, *, leased: bool = False) -> Start:
        """`leased`: its site has let it in. Raises RPCError, and what else the client raises where Temporal is away."""
        try:
            async with self.slots:
                await self._start(job, leased=leased)
        except WorkflowAlreadyStartedError:
            return Start.THERE_ALREADY if await self._is_this_run(job) else Start.LATER
        except RPCError as error:
            refused = classify_rpc_error(error, self._client.namespace)
            if refused.kind is not Refusal.BAD_REQUEST:
                raise
            log.error("Temporal does not take a job", job_id=job.id, reason=refused.reason)
            await self._library.jobs.fail(job.id, job.run, failure=_refused(refused))
            return Start.REFUSED
        return Start.STARTED

    async def _start(self, job: JobRecord, *, leased: bool) -> None:
        await self._client.start_workflow(
            _WORKFLOWS.get(job.kind, DOWNLOAD_WORKFLOW),
            job.request().model_copy(update={"leased": leased}),
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


def _refused(refused: Refused) -> Failure:
    remedy = REMEDIES[FailureKind.INTERNAL]
    return Failure(kind=FailureKind.INTERNAL, message=refused.reason, remedy=remedy, retryable=True)


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
