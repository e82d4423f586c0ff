"""Jobs: submit, list, look, cancel, retry, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from reelin.api.cancelling import cancel_job
from reelin.api.examples import JOB, JOB_PAGE, answered
from reelin.api.metrics import Metrics
from reelin.api.parts import Parts
from reelin.api.problems import documented
from reelin.api.submission import CancelWish, Submission
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, Kind, State
from reelin.contracts.model import Message, Request
from reelin.errors import Conflict, InvalidInput
from reelin.library import JobFilter, JobRecord

LONGEST_WAIT_SECONDS = 60


def _separated(value: Any) -> Any:
    """`?state=failed&state=cancelled` and `?state=failed,cancelled` alike."""
    if not isinstance(value, (list, tuple)):
        return value
    return [part for each in value for part in (each.split(",") if isinstance(each, str) else [each])]


class JobQuery(Request):
    state: Annotated[list[State], BeforeValidator(_separated)] = Field([], description="Any of these")
    kind: Annotated[list[Kind], BeforeValidator(_separated)] = Field([], description="Any of these")
    parent: str | None = Field(None, max_length=64, description="The items of this batch")
    site: str | None = Field(None, max_length=255)
    failure: FailureKind | None = None
    q: str | None = Field(None, max_length=200, description="Part of the title or the URL")
    sort: str | None = Field(None, description="Default -submitted_at; position with parent", examples=["-size"])
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=1000, description="next_cursor of the page before")

    def filter(self) -> JobFilter:
        return JobFilter(
            state=tuple(self.state),
            kind=tuple(self.kind),
            parent=self.parent,
            site=self.site,
            failure=self.failure,
            q=self.q,
        )

    @property
    def order(self) -> str:
        return self.sort or ("position" if self.parent else "-submitted_at")


class JobPage(Message):
    """`counts`: jobs by state, for the filter without its states."""

    items: tuple[Job, ...]
    next_cursor: str | None
    counts: dict[State, int]


class LookQuery(Request):
    wait: float = Field(
        0, ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds: answer as soon as the job is final, at the latest then"
    )


async def refuse_text(content_type: Annotated[str | None, Header(include_in_schema=False)] = None) -> None:
    if content_type is not None and content_type.lower().startswith("text/"):
        raise InvalidInput(
            "Lists of URLs as text cannot be submitted yet.",
            remedy='This version takes one URL at a time: send JSON such as {"url": "https://example.org/watch?v=1"}.',
            field="body",
        )


class JobRoutes:
    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self._parts = parts
        self._jobs = parts.library.jobs
        self._hub = parts.hub
        self._metrics = metrics

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/jobs", tags=["jobs"])
        router.add_api_route(
            "",
            self.submit,
            methods=["POST"],
            status_code=202,
            summary="Submit a URL",
            dependencies=[Depends(refuse_text)],
            responses={
                200: answered(JOB, "The job was there already"),
                202: answered(JOB, "Accepted and stored; `Location` is the job's address"),
                **documented(401, 422, 503),
            },
            response_model=Job,
        )
        router.add_api_route(
            "",
            self.page,
            response_model=JobPage,
            summary="List jobs",
            responses={200: answered(JOB_PAGE, "One page"), **documented(401, 422)},
        )
        router.add_api_route(
            "/{job_id}",
            self.look,
            summary="One job",
            responses={200: answered(JOB, "The job"), **documented(401, 404, 422)},
            response_model=Job,
        )
        router.add_api_route(
            "/{job_id}/cancel",
            self.cancel,
            methods=["POST"],
            status_code=202,
            summary="Cancel a job",
            responses={202: answered(JOB, "It will end"), **documented(401, 404, 409, 422)},
            response_model=Job,
        )
        router.add_api_route(
            "/{job_id}/retry",
            self.retry,
            methods=["POST"],
            status_code=202,
            summary="Run a failed or cancelled job again",
            responses={202: answered(JOB, "It is queued again"), **documented(401, 404, 409, 422)},
            response_model=Job,
        )
        router.add_api_route(
            "/{job_id}",
            self.delete,
            methods=["DELETE"],
            status_code=204,
            summary="Forget a job",
            responses=documented(401, 404, 422, 503),
        )
        return router

    async def submit(self, submission: Submission) -> Response:
        """Stores the job before it answers: from then on nothing can lose it.

        The id is derived from what the job would produce. Submitting the same again while it runs returns the
        running job, and after it is done the finished one, unless `force`.
        """
        new = submission.job(self._parts.settings.egress_allow)
        with self._metrics.submitting():
            submitted = await self._jobs.submit(new)
        if submitted.fresh:
            self._started(new.id)
        return self._answer(submitted.job, 202 if submitted.fresh else 200)

    async def page(self, query: Annotated[JobQuery, Query()]) -> Response:
        """What was submitted, newest first; with `parent`, the items of a batch."""
        wanted = query.filter()
        found = await self._jobs.page(wanted, sort=query.order, limit=query.limit, cursor=query.cursor)
        page = JobPage(
            items=tuple(self._hub.view(record) for record in found.items),
            next_cursor=found.next_cursor,
            counts=await self._jobs.counts(wanted),
        )
        return Response(page.model_dump_json(), media_type="application/json")

    async def look(self, job_id: str, query: Annotated[LookQuery, Query()]) -> Response:
        """The job as it stands. With `wait` the answer comes as soon as it is final."""
        if query.wait:
            await self._hub.wait_final(job_id, query.wait)
        return self._answer(await self._jobs.get(job_id), 200)

    async def cancel(self, job_id: str, wish: CancelWish | None = None) -> Response:
        """The wish is stored first: it is carried out even if Temporal is away just now."""
        keep_partial = wish is not None and wish.keep_partial
        return self._answer(await cancel_job(self._parts, job_id, keep_partial=keep_partial), 202)

    async def retry(self, job_id: str) -> Response:
        """What was fetched already is kept."""
        job = await self._jobs.retry(job_id)
        self._started(job_id)
        return self._answer(job, 202)

    async def delete(self, job_id: str) -> Response:
        """Ends the download if it runs, then forgets the job. Published files stay."""
        job = await self._jobs.get(job_id)
        if not job.state.final:
            await self._end(job_id)
        await self._jobs.forget(job_id)
        self._hub.deleted(job_id)
        return Response(status_code=204)

    async def _end(self, job_id: str) -> None:
        """Unlike a cancel it needs Temporal: once the row is gone, nothing would remember to end the workflow."""
        try:
            job = await self._jobs.request_cancel(job_id, keep_partial=False)
        except Conflict:
            return  # it has just ended by itself
        if not job.state.final:
            await self._parts.control.cancel(job_id)

    def _started(self, job_id: str) -> None:
        self._parts.control.submitted([job_id])
        self._hub.touch(job_id)

    def _answer(self, record: JobRecord, status: int) -> Response:
        job = self._hub.view(record)
        headers = {"Location": job.links.self} if status == 202 else None
        return Response(job.model_dump_json(), status, headers=headers, media_type="application/json")
