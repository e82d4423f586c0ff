"""Carries words to sites' workflows: many of them in one signal, since each signal is work for Temporal."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from reelin.contracts.sites import WORDS, Ask, Done, SiteRequest, Words, site_workflow_id
from reelin.contracts.work import SITE_WORKFLOW, WORKFLOW_QUEUE
from reelin.errors import Unavailable
from reelin.rpc import TEMPORAL_AWAY

#: After a signal to a site, what is said to it is gathered for so long.
REST_SECONDS = 0.1
#: Of more the site reads itself who waits.
MOST_ASKS = 50
_RPC_PATIENCE = timedelta(seconds=5)


@dataclass(slots=True)
class _Post:
    """What goes to a site together. `fate`: None once it has arrived, or why it has not."""

    words: list[Ask | Done] = field(default_factory=list)
    reread: bool = False
    fate: asyncio.Future[Unavailable | None] = field(default_factory=asyncio.Future)


class _Round:
    """The way to one site, again and again while there is something to carry. `hurry` ends the rest in between."""

    def __init__(self) -> None:
        self.post = _Post()
        self.hurry = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.last = False  #: What is said now is all.

    def take(self) -> _Post:
        taken, self.post = self.post, _Post()
        self.hurry.clear()
        return taken

    async def rest(self) -> None:
        if self.last:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.hurry.wait(), REST_SECONDS)


class Courier:
    """`max_at_once` is what a site's workflow starts with."""

    def __init__(self, client: Client, max_at_once: int) -> None:
        self._client = client
        self._max_at_once = max_at_once
        self._rounds: dict[str, _Round] = {}

    async def say(self, site: str, *words: Ask | Done, urgent: bool = False, reread: bool = False) -> None:
        """Returns when the site's workflow has them; it is started where it does not run. Raises Unavailable.

        They go at once if they are urgent or nothing was said for a while, else with all that is said meanwhile.
        `reread`: the rows of those who wait have changed.
        """
        if not words and not reread:
            return
        way = self._rounds.get(site) or self._set_out(site)
        post = way.post
        post.words += words
        post.reread |= reread
        if urgent:
            way.hurry.set()
        error = await asyncio.shield(post.fate)
        if error is not None:
            raise error

    async def close(self) -> None:
        """Returns when all that was said is delivered, or cannot be."""
        tasks = []
        for way in self._rounds.values():
            way.last = True
            way.hurry.set()
            tasks.append(way.task)
        await asyncio.gather(*(task for task in tasks if task is not None))

    def _set_out(self, site: str) -> _Round:
        way = self._rounds[site] = _Round()
        way.task = asyncio.create_task(self._go_round(site, way))
        return way

    async def _go_round(self, site: str, way: _Round) -> None:
        try:
            while way.post.words or way.post.reread:
                await self._deliver(site, way.take())
                await way.rest()
        finally:
            del self._rounds[site]

    async def _deliver(self, site: str, post: _Post) -> None:
        error: Unavailable | None = Unavailable("Temporal", "it was not told")
        try:
            await self._signal(site, post)
            error = None
        except TEMPORAL_AWAY as reason:
            error = Unavailable("Temporal", str(reason))
        finally:
            post.fate.set_result(error)

    async def _signal(self, site: str, post: _Post) -> None:
        asks = tuple(word for word in post.words if isinstance(word, Ask))
        told = Words(
            dones=tuple(word for word in post.words if isinstance(word, Done)),
            asks=asks[:MOST_ASKS],
            reread=post.reread or len(asks) > MOST_ASKS,
        )
        await self._client.start_workflow(
            SITE_WORKFLOW,
            SiteRequest(site=site, max_at_once=self._max_at_once),
            id=site_workflow_id(site),
            task_queue=WORKFLOW_QUEUE,
            start_signal=WORDS,
            start_signal_args=[told],
            search_attributes=_search_attributes(site),
            static_summary=f"site · {site}",
            static_details="How many downloads may fetch from this site, and whose turn it is.",
            rpc_timeout=_RPC_PATIENCE,
        )


def _search_attributes(site: str) -> TypedSearchAttributes:
    kind, name = SearchAttributeKey.for_keyword("ReelinKind"), SearchAttributeKey.for_keyword("ReelinSite")
    return TypedSearchAttributes([SearchAttributePair(kind, "site"), SearchAttributePair(name, site)])
