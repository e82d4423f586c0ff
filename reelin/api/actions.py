"""What people do with jobs that are there: cancel, pause, resume, retry. One job, or all that match a filter."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.responses import Response

from reelin.api.examples import JOB, answered
from reelin.api.jobs import JobSelection
from reelin.api.lists import MAX_URLS
from reelin.api.parts import Parts
from reelin.api.problems import documented
from reelin.api.shown import answer
from reelin.api.wishes import grant, grant_all
from reelin.contracts.jobs import Job
from reelin.contracts.model import Message, Request
from reelin.errors import InvalidInput
from reelin.library import Wish


class CancelWish(Request):
    """How a job ends."""

    keep_partial: bool = Field(False, description="Keep what was fetched, so that a retry goes on from there")


class ResumeWish(Request):
    """What goes on."""

    positions: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=MAX_URLS)] | None = Field(
        None, description="Of a preview: run just these items, cancel the others"
    )


class Selection(JobSelection):
    """Which jobs. Items of batches count even without `parent`; jobs whose state does not allow it are passed over."""

    all: bool = Field(False, description="Every job: said out loud, since an empty filter may be a mistake")

    @model_validator(mode="after")
    def _says_which(self) -> Selection:
        chosen = [name for name in JobSelection.model_fields if getattr(self, name)]
        if not chosen and not self.all:
            raise InvalidInput(
                "The filter is empty.",
                remedy=f'Give one of {", ".join(JobSelection.model_fields)}, or {{"all": true}} for every job.',
                field="body",
            )
        if chosen and self.all:
            remedy = f"Leave all out, or leave out {', '.join(chosen)}."
            raise InvalidInput("The filter asks for all jobs and for some.", remedy=remedy, field="all")
        return self


class CancelSelection(Selection, CancelWish):
    """Which jobs, and how they end."""


class Matched(Message):
    matched: int = Field(description="So many jobs matched, in a state that allows it")


_SUMMARIES = {
    Wish.CANCEL: ("Cancel a job", "It will end"),
    Wish.PAUSE: ("Pause a job", "It will stand still, and keep its bytes"),
    Wish.RESUME: ("Resume a paused job", "It goes on"),
    Wish.RETRY: ("Run a failed or cancelled job again", "It is queued again; a batch runs what failed"),
}


class ActionRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/jobs", tags=["jobs"])
        one = {Wish.CANCEL: self.cancel, Wish.PAUSE: self.pause, Wish.RESUME: self.resume, Wish.RETRY: self.retry}
        many = {
            Wish.CANCEL: self.cancel_all,
            Wish.PAUSE: self.pause_all,
            Wish.RESUME: self.resume_all,
            Wish.RETRY: self.retry_all,
        }
        for wish, (summary, outcome) in _SUMMARIES.items():
            router.add_api_route(
                f"/{wish}",
                many[wish],
                methods=["POST"],
                summary=f"{wish.capitalize()} all jobs that match",
                responses={200: answered({"matched": 3}, "It was written down"), **documented(401, 422, 503)},
                response_model=Matched,
            )
            router.add_api_route(
                f"/{{job_id}}/{wish}",
                one[wish],
                methods=["POST"],
                status_code=202,
                summary=summary,
                responses={202: answered(JOB, outcome), **documented(401, 404, 409, 422, 503)},
                response_model=Job,
            )
        return router

    async def cancel(self, job_id: str, wish: CancelWish | None = None) -> Response:
        """The wish is stored first: it is carried out even if Temporal is away just now. A batch cancels its items,
        except those that someone else wants."""
        keep_partial = wish is not None and wish.keep_partial
        job = await grant(self._parts, Wish.CANCEL, job_id, keep_partial=keep_partial)
        return await answer(self._parts, job, 202)

    async def pause(self, job_id: str) -> Response:
        """What runs ends its processes and keeps its bytes; an item in line is passed over; a batch lets no more items
        go and pauses those in flight."""
        return await answer(self._parts, await grant(self._parts, Wish.PAUSE, job_id), 202)

    async def resume(self, job_id: str, wish: ResumeWish | None = None) -> Response:
        """With `positions` a preview runs just those; without, all of it."""
        positions = None if wish is None else wish.positions
        job = await grant(self._parts, Wish.RESUME, job_id, positions=positions)
        return await answer(self._parts, job, 202)

    async def retry(self, job_id: str) -> Response:
        """What was fetched already is kept. A batch runs what failed (one that was cancelled, what was cancelled too).
        An item of a batch that is not over stands in line there again; one of a batch that is over runs by itself, and
        the batch's counts follow."""
        return await answer(self._parts, await grant(self._parts, Wish.RETRY, job_id), 202)

    async def cancel_all(self, selection: CancelSelection) -> Matched:
        """As for each of them; the answer comes when all wishes are stored."""
        return await self._all(Wish.CANCEL, selection, keep_partial=selection.keep_partial)

    async def pause_all(self, selection: Selection) -> Matched:
        """As for each of them; the answer comes when all wishes are stored."""
        return await self._all(Wish.PAUSE, selection)

    async def resume_all(self, selection: Selection) -> Matched:
        """As for each of them; the answer comes when all wishes are stored."""
        return await self._all(Wish.RESUME, selection)

    async def retry_all(self, selection: Selection) -> Matched:
        """Items stand in line again, in a batch that is begun anew if it is over: they do not all start at once."""
        return await self._all(Wish.RETRY, selection)

    async def _all(self, wish: Wish, selection: Selection, *, keep_partial: bool = False) -> Matched:
        wanted = selection.filter(with_items=True)
        return Matched(matched=await grant_all(self._parts, wish, wanted, keep_partial=keep_partial))
