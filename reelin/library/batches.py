"""Batches: how a list or a playlist becomes items, page by page, and how a batch is looked at.

Each item's job has a row of its own from the start, `held` until the batch lets it go (`window.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import UNFINISHED_STATES, Counts, Kind, State
from reelin.contracts.options import Options
from reelin.contracts.urls import job_id_for, site_of
from reelin.errors import Conflict
from reelin.library.database import Database
from reelin.library.following import count, count_all
from reelin.library.records import BatchRecord, JobRecord
from reelin.library.rows import get, record, write
from reelin.library.submissions import (
    NewJob,
    Place,
    Submitted,
    empty_batch,
    first_run,
    known_jobs,
    last_runs_of,
    restart,
    row_of,
    with_files,
)
from reelin.library.tables import batches, items, jobs, videos
from reelin.library.unbroken import unbroken

#: Items of one transaction: more would keep the event loop from others for too long.
PAGE = 250
MAX_ITEMS = 100_000
_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
_RECORDED = [column for column in batches.columns if column.name != "source"]


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A checked list. `job` is the batch's own, of the kind bulk; every URL takes its preset, options and owner.

    `request_hash` is of the request that an Idempotency-Key made the batch's id from.
    """

    job: NewJob
    urls: tuple[str, ...]
    at_once: int | None = None
    request_hash: str | None = None


class BatchStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def submit(self, new: NewBatch) -> Submitted:
        """Stores the list, and its first page as items. Raises Conflict where the id belongs to another request."""
        first = await asyncio.to_thread(_items_of, new.job, new.urls[:PAGE])
        async with self._database.writing() as connection:
            known = await known_jobs(connection, [new.job.id])
            if known:
                await _refuse_another(connection, new)
                return Submitted(known[new.job.id], fresh=False)
            last_runs = await last_runs_of(connection, [new.job.id])
            job = first_run(new.job, last_runs.get(new.job.id, 0) + 1)
            await connection.execute(insert(jobs), row_of(job))
            row = {**empty_batch(job.id, job.run), "source": list(new.urls), "total": len(new.urls)}
            row |= {"at_once": new.at_once, "request_hash": new.request_hash}
            await connection.execute(insert(batches).values(row))
            await _store_page(connection, job, await _batch(connection, job.id), first)
            return Submitted(await get(connection, job.id), fresh=True)

    # Expanding.

    @unbroken
    async def open(self, job_id: str, run: int, *, at_once: int | None = None, preview: bool = False) -> BatchRecord:
        """The batch as it stands. A playlist that is run anew begins without items; a retry keeps them."""
        async with self._database.writing() as connection:
            found = await _find(connection, job_id)
            at_once = at_once or (await get(connection, job_id)).options.get("at_once")
            if found is None:
                values = {**empty_batch(job_id, run), "at_once": at_once, "preview": preview}
                await connection.execute(insert(batches).values(values))
            elif found.run < run:
                await connection.execute(delete(items).where(items.c.batch_id == job_id))
                values = {**empty_batch(job_id, run), "at_once": at_once, "preview": preview}
                await connection.execute(update(batches).where(batches.c.id == job_id).values(values))
            return await _batch(connection, job_id)

    @unbroken
    async def store_page(self, job_id: str, run: int, page: Sequence[NewJob], *, start: int) -> int:
        """Makes items of the entries from `start` on (0 is the first), and returns the cursor.

        A page that is there already changes nothing, and neither does one of another run.
        """
        async with self._database.writing() as connection:
            batch = await _batch(connection, job_id)
            job = await get(connection, job_id)
            if batch.cursor == start and batch.run == run and job.state in _UNFINISHED:
                await _store_page(connection, job, batch, page)
            return (await _batch(connection, job_id)).cursor

    async def expand_list(self, job_id: str, run: int) -> BatchRecord:
        """Makes items of what is left of a submitted list, a page at a time."""
        batch, urls, job = await self._source(job_id)
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
            cursor = await self.store_page(job_id, run, page, start=cursor)
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
            return await _find(connection, job_id)

    @unbroken
    async def count(self, job_id: str) -> tuple[Counts, int]:
        """The items by state, and the bytes of those that are done. 100,000 items take some 20 ms."""
        async with self._database.reading() as connection:
            return await count(connection, job_id)

    @unbroken
    async def count_all(self, job_ids: Sequence[str]) -> dict[str, Counts]:
        """The items of several batches by state."""
        if not job_ids:
            return {}
        async with self._database.reading() as connection:
            return {job_id: counts for job_id, (counts, _) in (await count_all(connection, job_ids)).items()}

    @unbroken
    async def running(self, job_id: str) -> list[str]:
        """The ids of the items that run now."""
        query = select(items.c.job_id).where(items.c.batch_id == job_id, items.c.state == State.RUNNING).distinct()
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).scalars())

    @unbroken
    async def holding(self, job_id: str) -> list[str]:
        """The unfinished batches in which the job stands."""
        query = (
            select(items.c.batch_id)
            .join_from(items, jobs, items.c.batch_id == jobs.c.id)
            .where(items.c.job_id == job_id, jobs.c.state.in_(_UNFINISHED))
            .distinct()
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).scalars())

    @unbroken
    async def unfinished(self) -> list[JobRecord]:
        query = select(jobs).join_from(batches, jobs, batches.c.id == jobs.c.id).where(jobs.c.state.in_(_UNFINISHED))
        async with self._database.reading() as connection:
            return [record(row) for row in await connection.execute(query)]


def _items_of(shared: NewJob, urls: Sequence[str]) -> list[NewJob]:
    return [item_of(shared, url) for url in urls]


def item_of(shared: NewJob, url: str) -> NewJob:
    """The job of one URL of a list. `shared` says all else; what concerns playlists is not passed on."""
    options = shared.options.for_items()
    job_id = job_id_for(Kind.AUTO, shared.owner, url, shared.preset, options)
    return replace(shared, id=job_id, kind=Kind.AUTO, url=url, site=site_of(url), options=options, title=None)


async def _refuse_another(connection: AsyncConnection, new: NewBatch) -> None:
    found = await _find(connection, new.job.id)
    if found is None or found.request_hash != new.request_hash:
        raise Conflict("The Idempotency-Key belongs to another request; use a new key for a new list.")


async def _find(connection: AsyncConnection, job_id: str) -> BatchRecord | None:
    row = (await connection.execute(select(*_RECORDED).where(batches.c.id == job_id))).one_or_none()
    return None if row is None else BatchRecord(**row._mapping)


async def _batch(connection: AsyncConnection, job_id: str) -> BatchRecord:
    found = await _find(connection, job_id)
    if found is None:
        raise Conflict("The job is no batch.")
    return found


async def _store_page(
    connection: AsyncConnection, batch_job: JobRecord, batch: BatchRecord, page: Sequence[NewJob]
) -> None:
    ancestors = await _ancestors(connection, batch.id)
    wanted = [new for new in page if new.id not in ancestors]  # a playlist that holds itself would never end
    if batch_job.options.get("only_new"):
        wanted = await _not_in_library(connection, wanted)
    last = (await connection.execute(select(func.max(items.c.position)).where(items.c.batch_id == batch.id))).scalar()
    first = (last or 0) + 1
    wanted = wanted[: (batch_job.options.get("max_items") or MAX_ITEMS) + 1 - first]
    known = await known_jobs(connection, list({new.id for new in wanted}))
    done = await _done(connection, known, wanted)
    unknown: dict[str, JobRecord] = {}
    rows = []
    last_runs = await last_runs_of(connection, {new.id for new in wanted} - set(known))
    for position, new in enumerate(wanted, start=first):
        if new.id not in known:
            place = Place(batch.id, position, batch_job.depth + 1)
            unknown[new.id] = known[new.id] = first_run(new, last_runs.get(new.id, 0) + 1, place)
        elif new.id not in done and known[new.id].state not in _UNFINISHED:
            known[new.id] = await restart(connection, known[new.id], new, held=True)
        rows.append(_item(batch.id, position, new, known[new.id], skipped=new.id in done))
    if unknown:
        await connection.execute(insert(jobs), [row_of(job) for job in unknown.values()])
    if rows:
        await connection.execute(insert(items), rows)
    await connection.execute(update(batches).where(batches.c.id == batch.id).values(cursor=batch.cursor + len(page)))


def _item(batch_id: str, position: int, new: NewJob, job: JobRecord, *, skipped: bool) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "position": position,
        "job_id": new.id,
        "site": new.site,
        "priority": new.priority,
        "state": job.state,
        "size_bytes": job.size_bytes if skipped else None,
        "released": skipped,
        "settled": skipped,
        "skipped": skipped,
    }


async def _ancestors(connection: AsyncConnection, batch_id: str) -> set[str]:
    """The batch itself, and those in which it stands."""
    found = {batch_id}
    new = {batch_id}
    while new:
        query = select(items.c.batch_id).where(items.c.job_id.in_(new)).distinct()
        new = set((await connection.execute(query)).scalars()) - found
        found |= new
    return found


async def _done(connection: AsyncConnection, known: dict[str, JobRecord], page: Sequence[NewJob]) -> set[str]:
    """The jobs whose files the library has."""
    force = {new.id for new in page if new.force}
    completed = [job.id for job in known.values() if job.state is State.COMPLETED and job.id not in force]
    return await with_files(connection, completed)


async def _not_in_library(connection: AsyncConnection, page: Sequence[NewJob]) -> list[NewJob]:
    """Without what the library has in whatever form."""
    if not page:
        return []
    identities = {new.id: _site_identity(new) for new in page}
    extractor_ids = [identity[1] for identity in identities.values() if identity is not None]
    query = select(videos.c.url, videos.c.extractor, videos.c.extractor_id).where(
        videos.c.owner == page[0].owner,
        videos.c.state == "downloaded",
        or_(
            videos.c.url.in_([new.url for new in page]),
            and_(videos.c.extractor_id.in_(extractor_ids), videos.c.extractor != "generic"),
        ),
    )
    found = (await connection.execute(query)).all()
    urls = {row.url for row in found}
    known = {((row.extractor or "").lower(), row.extractor_id) for row in found}
    return [new for new in page if new.url not in urls and identities[new.id] not in known]


def _site_identity(new: NewJob) -> tuple[str, str] | None:
    """What the site calls the video, where its playlist says so."""
    entry = new.entry or {}
    extractor, extractor_id = entry.get("ie_key"), entry.get("id")
    return (str(extractor).lower(), str(extractor_id)) if extractor and extractor_id else None
