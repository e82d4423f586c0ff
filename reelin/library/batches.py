"""Batches: how a list or a playlist becomes items, page by page, and how a batch is looked at.

Each item's job has a row of its own from the start, `held` until the batch lets it go (`window.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import UNFINISHED_STATES, Counts, Kind, State
from reelin.contracts.options import Options
from reelin.contracts.urls import job_id_for, site_of
from reelin.errors import Conflict
from reelin.library.census import ItemRecord, Standing, changed_since, in_flight, standing
from reelin.library.database import Database
from reelin.library.following import count, taking_over
from reelin.library.jobs import change
from reelin.library.making import make_items
from reelin.library.records import BatchRecord, JobRecord
from reelin.library.retries import running_batches_of
from reelin.library.rows import find, find_batch, get, insert_jobs, now, write
from reelin.library.submissions import (
    NewJob,
    Submitted,
    empty_batch,
    first_run,
    known_jobs,
    last_runs_of,
)
from reelin.library.tables import batches, items, jobs
from reelin.library.unbroken import unbroken

#: Items of one transaction: more would keep the event loop from others for too long.
PAGE = 250
_UNFINISHED = tuple(sorted(UNFINISHED_STATES))


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A checked list. `job` is the batch's own, of the kind bulk; every URL takes its preset, options and owner.

    `request_hash` is of the request that an Idempotency-Key made the batch's id from.
    """

    job: NewJob
    urls: tuple[str, ...]
    at_once: int | None = None
    request_hash: str | None = None


#: Called with what is about to become items.
BeforePage = Callable[[Sequence[NewJob]], Coroutine[Any, Any, None]]


class BatchStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def submit(self, new: NewBatch, *, before_page: BeforePage | None = None) -> Submitted:
        """Stores the list, and its first page as items. Raises Conflict where the id belongs to another request."""
        first = await asyncio.to_thread(_items_of, new.job, new.urls[:PAGE])
        if before_page is not None:
            await before_page(first)
        async with self._database.writing() as connection:
            known = await known_jobs(connection, [new.job.id])
            if known:
                await _refuse_another(connection, new)
                return Submitted(known[new.job.id], fresh=False)
            last_runs = await last_runs_of(connection, [new.job.id])
            first_one = first_run(new.job, last_runs.get(new.job.id, 0) + 1)
            (job,) = await insert_jobs(connection, [first_one])
            row = {**empty_batch(job.id, job.run), "source": list(new.urls), "total": len(new.urls)}
            row |= {"at_once": new.at_once, "request_hash": new.request_hash}
            await connection.execute(insert(batches).values(row))
            await make_items(connection, job, await _batch(connection, job.id), first)
            return Submitted(await get(connection, job.id), fresh=True)

    # Expanding.

    @unbroken
    async def open(self, job_id: str, run: int, *, at_once: int | None = None, preview: bool = False) -> BatchRecord:
        """The batch as it stands. A playlist that is run anew begins without items; a retry keeps them."""
        async with self._database.writing() as connection:
            found = await find_batch(connection, job_id)
            at_once = at_once or (await get(connection, job_id)).options.get("at_once")
            if found is None:
                values = {**empty_batch(job_id, run), "at_once": at_once, "preview": preview}
                await connection.execute(insert(batches).values(values))
            elif found.run < run:
                await _empty_again(connection, replace(found, at_once=at_once), run, preview=preview)
            # What was submitted as `auto` has turned out to be a playlist; a preview has its row before that is known.
            if await write(connection, jobs.c.id == job_id, jobs.c.kind == Kind.AUTO, kind=Kind.PLAYLIST):
                await connection.execute(taking_over(items.c.job_id == job_id))
            return await _batch(connection, job_id)

    @unbroken
    async def expand_anew(self, job_id: str, run: int) -> BatchRecord:
        """Begins again with the first entry: the playlist was looked at a second time, and may be another now.

        Items that are there keep their positions, since they may have run; what they are not follows them. A batch
        that is expanded, or of another run, is left as it is.
        """
        async with self._database.writing() as connection:
            batch = await _batch(connection, job_id)
            if batch.run == run and not batch.expanded and batch.cursor:
                last = select(func.coalesce(func.max(items.c.position), 0)).where(items.c.batch_id == job_id)
                anew = {"cursor": 0, "kept": last.scalar_subquery()}
                await connection.execute(update(batches).where(batches.c.id == job_id).values(**anew))
            return await _batch(connection, job_id)

    @unbroken
    async def store_page(self, job_id: str, run: int, page: Sequence[NewJob], *, start: int) -> int:
        """Makes items of the entries from `start` on (0 is the first), and returns the cursor.

        A page that is there already changes nothing, and neither does one of another run, or of a batch that is to end.
        """
        async with self._database.writing() as connection:
            batch = await _batch(connection, job_id)
            job = await get(connection, job_id)
            ends = job.cancel_requested or job.state not in _UNFINISHED
            if batch.cursor == start and batch.run == run and not ends:
                await make_items(connection, job, batch, page)
            return (await _batch(connection, job_id)).cursor

    async def expand_list(
        self,
        job_id: str,
        run: int,
        *,
        before_page: BeforePage | None = None,
        stored: Callable[[], None] = lambda: None,
    ) -> BatchRecord:
        """Makes items of what is left of a submitted list, a page at a time; calls `stored` after each."""
        batch, urls, job = await self._source(job_id)
        if not batch.listing:
            return batch
        shared = NewJob(
            id="",
            kind=Kind.AUTO,
            url="",
            site="",
            owner=job.owner,
            preset=job.preset,
            options=Options.model_validate(job.options),
            priority=job.priority,
            force=job.force,
        )
        cursor = batch.cursor
        while cursor < len(urls):
            page = await asyncio.to_thread(_items_of, shared, urls[cursor : cursor + PAGE])
            if before_page is not None:
                await before_page(page)
            start, cursor = cursor, await self.store_page(job_id, run, page, start=cursor)
            if cursor == start:  # ended or started anew meanwhile: what is left of the list stays where it is
                return await self._batch(job_id)
            stored()
        return await self.expanded(job_id, run, total=len(urls))

    @unbroken
    async def expanded(
        self, job_id: str, run: int, *, total: int, truncated: bool = False, title: str | None = None
    ) -> BatchRecord:
        """All entries are items now. A preview stands paused from here on."""
        async with self._database.writing() as connection:
            batch = await _batch(connection, job_id)
            if batch.run == run and not batch.expanded:
                values = {"expanded": True, "total": total, "truncated": truncated, "source": None}
                await connection.execute(update(batches).where(batches.c.id == job_id).values(values))
                pause = {"pause_requested": True} if batch.preview else {}
                await write(connection, jobs.c.id == job_id, **({"title": title} if title else {}), **pause)
                await connection.execute(taking_over(items.c.job_id == job_id))  # a playlist may be an item itself
            return await _batch(connection, job_id)

    @unbroken
    async def give_up(self, job_id: str, run: int, *, failure: Failure) -> None:
        """No more items come. The batch ends when those that are there are through; without any it has failed now."""
        said: dict[str, Any] = {"failure": failure.model_dump(mode="json"), "failure_kind": failure.kind}
        said["next_attempt_at"] = None
        async with self._database.writing() as connection:
            batch, job = await find_batch(connection, job_id), await find(connection, job_id)
            if job is None or job.run != run or job.state not in _UNFINISHED:
                return
            if batch is None or batch.run != run or not await _any_item(connection, job_id):
                await change(connection, job_id, run, **said, state=State.FAILED, finished_at=now())
                return
            await change(connection, job_id, run, **said)
            given_up = update(batches).where(batches.c.id == job_id)
            await connection.execute(given_up.values(failure=said["failure"]))

    @unbroken
    async def _batch(self, job_id: str) -> BatchRecord:
        async with self._database.reading() as connection:
            return await _batch(connection, job_id)

    @unbroken
    async def _source(self, job_id: str) -> tuple[BatchRecord, list[str], JobRecord]:
        async with self._database.reading() as connection:
            urls = (await connection.execute(select(batches.c.source).where(batches.c.id == job_id))).scalar()
            return await _batch(connection, job_id), urls or [], await get(connection, job_id)

    # Looking.

    @unbroken
    async def find(self, job_id: str) -> BatchRecord | None:
        async with self._database.reading() as connection:
            return await find_batch(connection, job_id)

    @unbroken
    async def count(self, job_id: str) -> tuple[Counts, int]:
        """The items by state, and the bytes of those that are done. 100,000 items take some 20 ms."""
        async with self._database.reading() as connection:
            return await count(connection, job_id)

    @unbroken
    async def standing(self, job_id: str) -> Standing:
        """The items by state, of a submitted list also those that have no row yet, and which ones have begun."""
        async with self._database.reading() as connection:
            return await standing(connection, job_id)

    @unbroken
    async def in_flight(self, job_id: str, *, limit: int = 500) -> list[ItemRecord]:
        """The items that the batch has let go and that are not through."""
        async with self._database.reading() as connection:
            return await in_flight(connection, job_id, limit)

    @unbroken
    async def changed_since(
        self, job_id: str, version: int, position: int = 0, *, limit: int = 250
    ) -> Sequence[ItemRecord]:
        """The items whose job's version is greater, or the same and the position greater; oldest change first.

        Without those that stand in line: they are counted only.
        """
        async with self._database.reading() as connection:
            return await changed_since(connection, job_id, version, position, limit)

    @unbroken
    async def holding(self, job_ids: Collection[str]) -> list[str]:
        """The unfinished batches in which one of these jobs stands."""
        async with self._database.reading() as connection:
            return await running_batches_of(connection, job_ids)

    @unbroken
    async def unfinished_ids(self) -> list[str]:
        """The unfinished batches, without those that another batch holds back."""
        query = (
            select(jobs.c.id)
            .join_from(batches, jobs, batches.c.id == jobs.c.id)
            .where(~jobs.c.held, jobs.c.state.in_(_UNFINISHED))
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).scalars())


def _items_of(shared: NewJob, urls: Sequence[str]) -> list[NewJob]:
    return [item_of(shared, url) for url in urls]


def item_of(shared: NewJob, url: str) -> NewJob:
    """The job of one URL of a list. `shared` says all else; what concerns playlists is not passed on."""
    options = shared.options.for_items()
    job_id = job_id_for(Kind.AUTO, shared.owner, url, shared.preset, options)
    return replace(shared, id=job_id, kind=Kind.AUTO, url=url, site=site_of(url), options=options, title=None)


async def _any_item(connection: AsyncConnection, batch_id: str) -> bool:
    query = select(items.c.position).where(items.c.batch_id == batch_id).limit(1)
    return (await connection.execute(query)).first() is not None


async def _empty_again(connection: AsyncConnection, batch: BatchRecord, run: int, *, preview: bool) -> None:
    await connection.execute(delete(items).where(items.c.batch_id == batch.id))
    values = {**empty_batch(batch.id, run), "at_once": batch.at_once, "preview": preview}
    await connection.execute(update(batches).where(batches.c.id == batch.id).values(values))


async def _refuse_another(connection: AsyncConnection, new: NewBatch) -> None:
    found = await find_batch(connection, new.job.id)
    if found is None or found.request_hash != new.request_hash:
        raise Conflict("The Idempotency-Key belongs to another request; use a new key for a new list.")


async def _batch(connection: AsyncConnection, job_id: str) -> BatchRecord:
    found = await find_batch(connection, job_id)
    if found is None:
        raise Conflict("The job is no batch.")
    return found
