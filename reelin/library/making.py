"""How entries become items: each a job of its own, held until its batch lets it go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import UNFINISHED_STATES, Kind, State
from reelin.contracts.urls import canonical_url
from reelin.library.following import TAKEN_OVER, follow
from reelin.library.pausing import wake_with_another
from reelin.library.records import BatchRecord, JobRecord
from reelin.library.rows import get, insert_jobs, write
from reelin.library.submissions import (
    NewJob,
    Place,
    as_good_as_over,
    first_run,
    known_jobs,
    last_runs_of,
    restart,
    stillborn,
    with_files,
)
from reelin.library.tables import batches, items, jobs, videos

MAX_ITEMS = 100_000
_UNFINISHED = tuple(sorted(UNFINISHED_STATES))


async def make_items(
    connection: AsyncConnection, batch_job: JobRecord, batch: BatchRecord, page: Sequence[NewJob]
) -> None:
    """Adds a page of entries to the batch, and moves its cursor on. Their priority is what the batch's is by now.

    Items of earlier pages may have run already: an entry that stands in line there, runs or is over is so here too.
    """
    known = await known_jobs(connection, list({new.id for new in page}))
    there = await _there_already(connection, batch.id, known)
    first = await _next_position(connection, batch.id)
    wanted = await _wanted(connection, batch_job, batch, page, there)
    wanted = wanted[: (batch_job.options.get("max_items") or MAX_ITEMS) + 1 - first]
    done = await _done(connection, known, wanted)
    unknown: dict[str, JobRecord] = {}
    depth = batch_job.depth + (batch_job.kind is not Kind.BULK)  # a list may hold playlists of playlists
    rows: list[dict[str, Any]] = []
    if not batch_job.pause_requested:
        await wake_with_another(connection, {new.id for new in wanted} & set(known) - set(there))
        known = await known_jobs(connection, list(known))
    last_runs = await last_runs_of(connection, {new.id for new in wanted} - set(known))
    for position, new in enumerate(wanted, start=first):
        if new.id in there:
            rows.append({**there[new.id], "position": position})
            continue
        if new.id not in known:
            place = Place(batch.id, position, depth)
            unknown[new.id] = known[new.id] = first_run(new, last_runs.get(new.id, 0) + 1, place)
        elif new.failure is not None:
            known[new.id] = await _failed_again(connection, known[new.id], new)
        elif new.id not in done and as_good_as_over(known[new.id]):
            known[new.id] = await restart(connection, known[new.id], new, held=True)
        rows.append(_item(batch.id, position, new, known[new.id], skipped=new.id in done))
    if unknown:
        await insert_jobs(connection, unknown.values())
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
        "released": skipped or (new.failure is not None and job.state is State.FAILED),
        "settled": skipped,
        "skipped": skipped,
        **{name: getattr(job, name) for name in TAKEN_OVER},
    }


async def _wanted(
    connection: AsyncConnection,
    batch_job: JobRecord,
    batch: BatchRecord,
    page: Sequence[NewJob],
    there: dict[str, dict[str, Any]],
) -> list[NewJob]:
    """Those of the page that are to be items."""
    wanted = [replace(new, priority=batch_job.priority) for new in page]
    wanted = await _without_cycles(connection, batch.id, wanted)
    wanted = [new for new in wanted if new.id not in there or there[new.id]["position"] > batch.kept]
    if batch_job.options.get("only_new"):
        wanted = await _not_in_library(connection, wanted, there)
    return wanted


async def _next_position(connection: AsyncConnection, batch_id: str) -> int:
    last = (await connection.execute(select(func.max(items.c.position)).where(items.c.batch_id == batch_id))).scalar()
    return (last or 0) + 1


async def _there_already(
    connection: AsyncConnection, batch_id: str, job_ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """The first of the rows that each job has in the batch."""
    if not job_ids:
        return {}
    query = select(items).where(items.c.batch_id == batch_id, items.c.job_id.in_(job_ids))
    rows = await connection.execute(query.order_by(items.c.position.desc()))
    return {row.job_id: dict(row._mapping) for row in rows}


async def _failed_again(connection: AsyncConnection, job: JobRecord, new: NewJob) -> JobRecord:
    """An entry that could not be downloaded when the playlist was looked at before, either."""
    if job.state in _UNFINISHED:
        return job  # someone retries it just now
    await write(connection, jobs.c.id == job.id, title=new.title, entry=new.entry, held=False, **stillborn(new))
    await follow(connection, job.id, State.FAILED)
    return await get(connection, job.id)


async def _without_cycles(connection: AsyncConnection, batch_id: str, page: Sequence[NewJob]) -> list[NewJob]:
    """A playlist that holds itself, or one in which it stands, would never end. One video's address may be its own."""
    ancestors = await _ancestors(connection, batch_id)
    query = select(jobs.c.url).where(jobs.c.id.in_(ancestors), jobs.c.url.is_not(None))
    urls = {canonical_url(url) for url in (await connection.execute(query)).scalars()}
    return [
        new
        for new in page
        if new.id not in ancestors
        and not (new.kind is Kind.AUTO and new.failure is None and canonical_url(new.url) in urls)
    ]


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


async def _not_in_library(connection: AsyncConnection, page: Sequence[NewJob], there: Collection[str]) -> list[NewJob]:
    """Without what the library has in whatever form, unless it has it from this very batch: `there`."""
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
    return [new for new in page if new.id in there or (new.url not in urls and identities[new.id] not in known)]


def _site_identity(new: NewJob) -> tuple[str, str] | None:
    """What the site calls the video, where its playlist says so."""
    entry = new.entry or {}
    extractor, extractor_id = entry.get("ie_key"), entry.get("id")
    return (str(extractor).lower(), str(extractor_id)) if extractor and extractor_id else None
