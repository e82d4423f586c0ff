"""Live progress as Server-Sent Events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import Field
from sse_starlette import EventSourceResponse

from reelin.api.events import JobEvent, LiveEvent, server_sent
from reelin.api.examples import ALL_EVENTS, EVENTS, answered
from reelin.api.parts import Parts
from reelin.api.problems import documented
from reelin.contracts.model import Request
from reelin.errors import NotFound

PING_SECONDS = 15
LastEventId = Annotated[str | None, Header(description="The `id:` of the last event that the client has")]


class StreamQuery(Request):
    items: bool = Field(False, description="The items of a batch too")


class EventRoutes:
    def __init__(self, parts: Parts) -> None:
        self._jobs = parts.library.jobs
        self._hub = parts.hub

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["live"])
        stream = "text/event-stream"
        router.add_api_route(
            "/jobs/{job_id}/events",
            self.of_one,
            summary="A job's progress",
            response_class=EventSourceResponse,
            responses={200: answered(EVENTS, "Events", stream), **documented(401, 404, 422)},
        )
        router.add_api_route(
            "/events",
            self.of_all,
            summary="Every job's progress",
            response_class=EventSourceResponse,
            responses={200: answered(ALL_EVENTS, "Events", stream), **documented(401, 422)},
        )
        return router

    async def of_one(
        self, job_id: str, query: Annotated[StreamQuery, Query()], last_event_id: LastEventId = None
    ) -> EventSourceResponse:
        """`event: job` at once and on each change, then `event: end` when the job is final.

        With `items` a batch's items come too: those in flight at once, then every change of one that has left the line.
        """
        await self._jobs.get(job_id)  # an unknown job is an answer of its own, not a stream
        seen = version_in(last_event_id)
        return _response(self._with_items(job_id, seen) if query.items else self._one(job_id, seen or 0))

    async def of_all(self, last_event_id: LastEventId = None) -> EventSourceResponse:
        """First the unfinished jobs, then `event: ready`, then every change, for ever.

        A client that reconnects with Last-Event-ID gets what changed since, and what ended meanwhile.
        """
        return _response(self._all(version_in(last_event_id)))

    async def _one(self, job_id: str, seen: int) -> AsyncIterator[bytes]:
        with self._hub.subscription("sse") as subscription:
            try:
                present: LiveEvent = await self._hub.watch(subscription, job_id)
            except NotFound:
                return  # deleted since the route looked
            if present.version > seen:
                yield present.sse
            while not present.final:
                letter = await anext(subscription, None)
                if letter is None:
                    return
                present = letter.event
                yield present.sse
            yield _end(present)

    async def _with_items(self, job_id: str, seen: int | None) -> AsyncIterator[bytes]:
        with self._hub.subscription("sse") as subscription:
            try:
                present: LiveEvent = await self._hub.watch(subscription, job_id)
            except NotFound:
                return  # deleted since the route looked
            feed = await self._hub.watch_items(subscription, job_id, since=seen)
            if present.version > (seen or 0):
                yield present.sse_at(subscription.next_position)
            while not present.final:
                letter = await anext(subscription, None)
                if letter is None:
                    return
                present = letter.event if letter.event.job_id == job_id else present
                yield letter.event.sse_at(letter.position)
            async for letter in self._hub.rest(feed):
                yield letter.event.sse_at(letter.position)
            yield _end(present)

    async def _all(self, seen: int | None) -> AsyncIterator[bytes]:
        with self._hub.subscription("sse") as subscription:
            await self._hub.watch_all(subscription, since=seen)
            for _ in range(len(subscription)):
                letter = subscription.take()
                if letter is not None:
                    yield letter.event.sse_at(letter.position)
            yield server_sent("ready", "{}", version=subscription.next_position)
            async for letter in subscription:
                yield letter.event.sse_at(letter.position)


def version_in(last_event_id: str | None) -> int | None:
    """None for what cannot be an id of ours: the client then simply gets everything."""
    text = (last_event_id or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _end(last: LiveEvent) -> bytes:
    state = json.loads(last.text)["state"] if isinstance(last, JobEvent) else "deleted"
    return server_sent("end", json.dumps({"id": last.job_id, "state": state}), version=last.version)


def _response(events: AsyncIterator[bytes]) -> EventSourceResponse:
    return EventSourceResponse(events, ping=PING_SECONDS, headers={"Cache-Control": "no-store"})
