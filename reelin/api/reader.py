"""Reads the jobs table for the hub: rows that are said to have changed, in one query for all of them, and all that
changed, in the order of its versions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from reelin.library import JobRecord, Library

RETRY_SECONDS = 1.0
#: Rows that are read at once.
PAGE = 250
_log = structlog.get_logger(__name__)


class TableReader:
    """`is_news(job_id, version)` says whether a row is to be read, `take_in` takes one, `missing` an id without a row;
    `told_up_to` is called with the version up to which all changes were taken in."""

    def __init__(
        self,
        library: Library,
        *,
        is_news: Callable[[str, int], bool],
        take_in: Callable[[JobRecord], Awaitable[None]],
        missing: Callable[[str], None],
        told_up_to: Callable[[int], None],
    ) -> None:
        self._jobs = library.jobs
        self._is_news = is_news
        self._take_in = take_in
        self._missing = missing
        self._told_up_to = told_up_to
        self._stale: set[str] = set()
        self._reading_on = False
        self._asked = asyncio.Event()
        #: (version, job id) up to which the table was read; None while nobody looks.
        self._mark: tuple[int, str] | None = None

    def read_soon(self, job_id: str) -> None:
        self._stale.add(job_id)
        self._asked.set()

    def forget(self, job_id: str) -> None:
        self._stale.discard(job_id)

    def read_on(self) -> None:
        """From where reading stopped, soon."""
        self._reading_on = True
        self._asked.set()

    async def start_reading_on(self) -> None:
        """What changes from now on is read, before whoever has just come reads how it stands."""
        if self._mark is None:
            newest = await self._jobs.newest_version()
            if self._mark is None:  # nobody else has come meanwhile
                self._mark = (newest, "")

    def stop_reading_on(self) -> None:
        self._mark = None

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted, self._stale = self._stale, set()
            reading_on, self._reading_on = self._reading_on, False
            try:
                if reading_on:
                    wanted -= await self._read_changes()
                await self._read(wanted)
            except Exception:  # noqa: BLE001  whatever the driver raises: the hub outlives it
                _log.exception("The hub cannot read changed jobs; it tries again", action="hub_read")
                self._stale |= wanted
                self._reading_on |= reading_on
                await asyncio.sleep(RETRY_SECONDS)
                self._asked.set()

    async def _read_changes(self) -> set[str]:
        """Everything since the table was looked at last; returns whose rows were read."""
        found: set[str] = set()
        newest, more = await self._jobs.newest_version(), True
        while more and self._mark is not None:
            page = await self._jobs.versions_since(*self._mark, limit=PAGE)
            news = {job_id for job_id, version in page if self._is_news(job_id, version)}
            await self._read(news)
            found |= news
            last_id, last = page[-1] if page else ("", 0)
            more = len(page) == PAGE
            self._mark = (last, last_id) if more else (max(last, newest), "")
            self._told_up_to(last - 1 if more else self._mark[0])
        return found

    async def _read(self, job_ids: Collection[str]) -> None:
        if not job_ids:
            return
        missing = set(job_ids)
        for record in await self._jobs.many(job_ids):
            missing.discard(record.id)
            await self._take_in(record)
        for job_id in missing:
            self._missing(job_id)
