"""Tells batches that one of their items is through."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import POKE
from reelin.library import Library

log = structlog.get_logger(__name__)

#: At most one word to each batch in so long: it looks at all its items when it hears one.
SECONDS_BETWEEN_POKES = 0.5


class ItemListener(Protocol):
    """Hears of every job that has ended or stands still."""

    async def item_changed(self, job_id: str) -> None: ...


class Bell:
    """A word that is lost costs half a minute: a batch looks at its items every 30 s anyway."""

    def __init__(self, client: Client, library: Library) -> None:
        self._client = client
        self._library = library
        self._resting: dict[str, bool] = {}  # batch id → whether something happened meanwhile
        self._tasks: set[asyncio.Task[None]] = set()

    async def item_changed(self, job_id: str) -> None:
        """Rings every unfinished batch that has the job."""
        for batch_id in await self._library.batches.holding(job_id):
            self.ring(batch_id)

    def ring(self, batch_id: str) -> None:
        """Returns at once."""
        if batch_id in self._resting:
            self._resting[batch_id] = True
            return
        task = asyncio.create_task(self._ring_and_rest(batch_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ring_and_rest(self, batch_id: str) -> None:
        again = True
        try:
            while again:
                self._resting[batch_id] = False
                await self._poke(batch_id)
                await asyncio.sleep(SECONDS_BETWEEN_POKES)
                again = self._resting[batch_id]
        finally:
            del self._resting[batch_id]  # also after a failure: it would never be rung again

    async def _poke(self, batch_id: str) -> None:
        try:
            await self._client.get_workflow_handle(batch_id).signal(POKE)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                log.info("a batch hears of its item later", job_id=batch_id, reason=error.message)
