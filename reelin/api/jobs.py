"""Jobs: submit, list, look, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from reelin.api.examples import JOB, JOB_PAGE, TAKES, answered
from reelin.api.lost import submit_again_if_lost, submit_list
from reelin.api.metrics import Metrics
from reelin.api.parts import Parts
from reelin.api.reading import read_submission
from reelin.api.routes import Route, router_of
from reelin.api.shown import answer, shown
from reelin.api.submission import Submission, new_batch
from reelin.api.wishes import end_at_once, end_workflows, tell_sites
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import BATCH_KINDS, Job, Kind, State
from reelin.contracts.model import Message, Request
from reelin.errors import Conflict
from reelin.library import JobFilter, JobRecord, Submitted

LONGEST_WAIT_SECONDS = 60
#: How many entries of a list could not be used.
SKIPPED_HEADER = "Reelin-Skipped-Invalid"
_THE_JOB = {200: answered(JOB, "The job")}


def separated(value: Any) -> Any:
    """`?state=failed&state=cancelled` and `?state=failed,cancelled` alike."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return value
    return [part for each in value for part in (each.split(",") if isinstance(each, str) else [each])]


class JobSelection(Request):
    """Which jobs; all that fit every field."""

    state: Annotated[list[State], BeforeValidator(separated)] = Field([], description="Any of these")
    kind: Annotated[list[Kind], BeforeValidator(separated)] = Field([], description="Any of these")
    parent: str | None = Field(None, max_length=64, description="The items of this batch")
    site: str | None = Field(None, max_length=255)
    failure: FailureKind | None = None
    q: str | None = Field(None, max_length=200, description="Part of the title or the URL, or the beginning of the id")

    def filter(self, *, with_items: bool) -> JobFilter:
        return JobFilter(
            state=tuple(self.state),
            kind=tuple(self.kind),
            parent=self.parent,
            site=self.site,
            failure=self.failure,
            q=self.q,
            with_items=with_items,
        )


class JobQuery(JobSelection):
    items: bool = Field(False, description="Without parent: the items of batches too")
    sort: str | None = Field(None, description="Default -submitted_at; position with parent", examples=["-size"])
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=1000, description="next_cursor of the page before")

    @property
    def order(self) -> str:
        return self.sort or ("position" if self.parent else "-submitted_at")


class JobPage(Message):
    """`counts`: jobs by state, for the filter without its states."""

    items: tuple[Job, ...]
    next_cursor: str | None
    counts: dict[State, int]


class Change(Request):
    """What can be changed of a job that is there."""

    priority: int = Field(ge=1, le=5, description="1 first, 5 last")


class LookQuery(Request):
    wait: float = Field(
        0, ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds: answer as soon as the job is final, at the latest then"
    )


class JobRoutes:
    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self._parts = parts
        self._jobs = parts.library.jobs
        self._hub = parts.hub
        self._metrics = metrics

    def router(self) -> APIRouter:
        accepted = answered(JOB, "Accepted and stored; `Location` is the job's address")
        return router_of(
            "/api/jobs",
            "jobs",
            Route(
                "POST ",
                self.submit,
                "Submit a URL, or a list of them",
                problems=(401, 409, 422, 503),
                answers={200: answered(JOB, "The job was there already"), 202: accepted},
                model=Job,
                status=202,
                takes=TAKES,
            ),
            Route(
                "GET ",
                self.page,
                "List jobs",
                problems=(401, 422),
                answers={200: answered(JOB_PAGE, "One page")},
                model=JobPage,
            ),
            Route("GET /{job_id}", self.look, "One job", problems=(401, 404, 422), answers=_THE_JOB, model=Job),
            Route(
                "PATCH /{job_id}",
                self.change,
                "Change a job's priority",
                problems=(401, 404, 409, 422),
                answers=_THE_JOB,
                model=Job,
            ),
            Route("DELETE /{job_id}", self.delete, "Forget a job", problems=(401, 404, 422, 503), status=204),
        )

    async def submit(
        self,
        submission: Annotated[Submission, Depends(read_submission)],
        idempotency_key: Annotated[
            str | None,
            Header(min_length=1, max_length=255, description="For lists: the same request again is the same job"),
        ] = None,
    ) -> Response:
        """Stores the job before it answers: from then on nothing can lose it.

        The id is derived from what the job would produce. Submitting the same again while it runs returns the
        running job, and after it is done the finished one, unless `force` or its files are gone. A list is one job of
        the kind `bulk`, whose items are found with `GET /api/jobs?parent=`; a URL that stands in it twice is one item
        at two positions. As `text/plain`, one URL a line; empty lines and those that begin with `#` do not count.
        """
        if submission.urls is not None:
            return await self._submit_list(submission, idempotency_key)
        new = submission.job(self._parts.settings.egress_allow)
        with self._metrics.submitting():
            submitted = await submit_again_if_lost(self._parts, new)
        return await self._submitted(submitted, {})

    async def _submit_list(self, submission: Submission, key: str | None) -> Response:
        checked = await submission.checked(self._parts.settings.egress_allow)
        new = await asyncio.to_thread(
            new_batch,
            checked.urls,
            preset=submission.preset,
            options=submission.options,
            priority=submission.priority,
            force=submission.force,
            key=key,
        )
        submitted = await submit_list(self._parts, new)
        return await self._submitted(submitted, {SKIPPED_HEADER: str(checked.skipped)})

    async def _submitted(self, submitted: Submitted, headers: dict[str, str]) -> Response:
        if submitted.fresh:
            self._started(submitted.job.id)
        return await answer(self._parts, submitted.job, 202 if submitted.fresh else 200, headers)

    async def page(self, query: Annotated[JobQuery, Query()]) -> Response:
        """What was submitted, newest first; with `parent`, the items of a batch by their position in it."""
        wanted = query.filter(with_items=query.items)
        counting = asyncio.create_task(self._jobs.counts(wanted))  # meanwhile: each looks through the list
        try:
            found = await self._jobs.page(wanted, sort=query.order, limit=query.limit, cursor=query.cursor)
        finally:
            counts = await counting
        page = JobPage(items=await shown(self._parts, found.items), next_cursor=found.next_cursor, counts=counts)
        return Response(page.model_dump_json(), media_type="application/json")

    async def look(self, job_id: str, query: Annotated[LookQuery, Query()]) -> Response:
        """The job as it stands. With `wait` the answer comes as soon as it is final."""
        if query.wait:
            await self._hub.wait_final(job_id, query.wait)
        return await answer(self._parts, await self._jobs.get(job_id), 200)

    async def change(self, job_id: str, change: Change) -> Response:
        """Takes effect where the job, or an item of the batch, still stands in line."""
        job = await self._parts.library.wishes.prioritise(job_id, change.priority)
        await tell_sites(self._parts, job_id, change.priority)
        self._hub.touch(job_id)
        return await answer(self._parts, job, 200)

    async def delete(self, job_id: str) -> Response:
        """Ends the download if it runs, then forgets the job. Published files stay.

        A batch takes those of its items with it that were not submitted by themselves and stand in no other batch.
        """
        await self._end(await self._jobs.get(job_id))
        await self._jobs.forget(job_id)
        self._hub.deleted(job_id)
        return Response(status_code=204)

    async def _end(self, job: JobRecord) -> None:
        """Unlike a cancel it needs Temporal: once the row is gone, nothing would remember to end the workflow."""
        with contextlib.suppress(Conflict):  # it has just ended by itself
            if not job.state.final:
                await end_at_once(self._parts, job.id)
        if job.kind in BATCH_KINDS:
            await end_workflows(self._parts, await self._parts.library.window.call_off(job.id))
            for inner in await self._jobs.forgotten_with(job.id):
                await self._end(await self._jobs.get(inner))

    def _started(self, job_id: str) -> None:
        self._parts.control.submitted([job_id])
        self._hub.touch(job_id)
