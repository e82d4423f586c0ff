"""Tells batches that one of their items is through."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import POKE
from reelin.errors import Unavailable
from reelin.library import Library

log = structlog.get_logger(__name__)

#: At most one word to each batch in so long: it looks at all its items when it hears one.
SECONDS_BETWEEN_POKES = 0.5


class ItemListener(Protocol):
    """Hears of every job that has ended or stands still."""

    async def item_changed(self, job_id: str) -> None: ...


class Bell:
    """Looks up for all of them together which batches to tell, at once and then every half second.

    A word that is lost costs half a minute: a batch looks at its items every 30 s anyway.
    """

    def __init__(self, client: Client, library: Library) -> None:
        self._client = client
        self._library = library
        self._changed: set[str] = set()
        self._wanted: set[str] = set()
        self._ringing: asyncio.Task[None] | None = None

    async def item_changed(self, job_id: str) -> None:
        """Returns at once."""
        self._changed.add(job_id)
        self._start()

    def ring(self, batch_id: str) -> None:
        """For what changed in the batch itself. Returns at once."""
        self._wanted.add(batch_id)
        self._start()

    def _start(self) -> None:
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring_and_rest())

    async def close(self) -> None:
        if self._ringing is not None:
            self._ringing.cancel()
            await asyncio.gather(self._ringing, return_exceptions=True)

    async def _ring_and_rest(self) -> None:
        while self._changed or self._wanted:
            await self._ring()
            await asyncio.sleep(SECONDS_BETWEEN_POKES)

    async def _ring(self) -> None:
        changed, self._changed = self._changed, set()
        wanted, self._wanted = self._wanted, set()
        try:
            wanted.update(await self._library.batches.holding(changed) if changed else ())
        except Unavailable as error:
            log.info("batches hear of their items later", jobs=len(changed), reason=str(error))
            self._changed |= changed
        await asyncio.gather(*(self._poke(batch_id) for batch_id in wanted))

    async def _poke(self, batch_id: str) -> None:
        try:
            await self._client.get_workflow_handle(batch_id).signal(POKE)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                log.info("a batch hears of its item later", job_id=batch_id, reason=error.message)
