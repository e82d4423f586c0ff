"""Trying again: what failed or was cancelled begins a new run, by itself or back in line in its batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Select, and_, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import BATCH_KINDS, UNFINISHED_STATES, Kind, State
from reelin.errors import Conflict
from reelin.library.following import follow_all, taking_over
from reelin.library.records import JobRecord, Sketch
from reelin.library.rows import among, record, write
from reelin.library.submissions import restart, restart_all, with_files
from reelin.library.tables import batches, items, jobs

_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
_AT_A_TIME = 500


async def retry(connection: AsyncConnection, job: JobRecord, *, cancelled_too: bool = False) -> None:
    """One job: in a batch that is not over it stands in line again, else it runs by itself. A batch tries again what
    failed, and what was cancelled if the batch was, or with `cancelled_too`. Raises Conflict."""
    if job.kind in BATCH_KINDS and job.state is not State.COMPLETED:
        if not await _retry_batch(connection, job, None, cancelled_too=cancelled_too) and job.state in _UNFINISHED:
            raise Conflict(f"The job is {job.state}, and nothing in it has failed; there is nothing to retry yet.")
        return
    if job.state in _UNFINISHED:
        raise Conflict(f"The job is {job.state}; there is nothing to retry yet.")
    if job.state is State.COMPLETED and (job.kind is Kind.INFO or await _has_files(connection, job)):
        raise Conflict("The job is completed. To download it again, submit it with force=true.")
    running = await running_batches_of(connection, [job.id])
    if job.standalone or not running:
        await restart(connection, job)
    for batch_id in [] if job.standalone else running:
        await _line_up(connection, batch_id, [job.id])


async def _has_files(connection: AsyncConnection, job: JobRecord) -> bool:
    return job.kind in BATCH_KINDS or job.id in await with_files(connection, [job.id])


async def retry_all(
    connection: AsyncConnection, found: Sequence[Sketch], *, parent: str | None, failure: str | None
) -> None:
    """Some hundreds that are over. Items go back in line in their batch, which is begun anew if it is over, so that
    they do not all start at once; `parent` names the batch, else it is the one that asked first."""
    # A batch puts its items in line itself; a playlist inside another batch waits for its turn there.
    alone: list[str] = []
    in_line: dict[str, list[str]] = {}
    homes = await _homes(connection, found, parent)
    inside = {job.id for job in found if job.kind in BATCH_KINDS}
    for job in found:
        home = homes.get(job.id)
        if home is not None and not job.standalone:
            in_line.setdefault(home, []).append(job.id)
        elif job.kind in BATCH_KINDS:
            await _retry_batch(connection, job, failure)
        else:
            alone.append(job.id)
    for batch_id, job_ids in in_line.items():
        playlists = inside & set(job_ids)
        await _line_up(connection, batch_id, job_ids, playlists=bool(playlists))
        await _reopen(connection, batch_id)
    if alone:
        await restart_all(connection, alone, held=False)
        await follow_all(connection, alone, State.QUEUED)


async def _homes(connection: AsyncConnection, found: Sequence[Sketch], parent: str | None) -> dict[str, str]:
    """The batch in which each job is to stand in line again."""
    query = (
        select(items.c.job_id, items.c.batch_id)
        .join_from(items, jobs, items.c.batch_id == jobs.c.id)
        .join(batches, batches.c.id == jobs.c.id)
        .where(among(items.c.job_id, [job.id for job in found]))
        .where(or_(jobs.c.state.not_in(_UNFINISHED), batches.c.run == jobs.c.run))  # else its items go
        .distinct()
    )
    if parent is not None:
        query = query.where(items.c.batch_id == parent)
    standing: dict[str, set[str]] = {}
    for job_id, batch_id in await connection.execute(query):
        standing.setdefault(job_id, set()).add(batch_id)
    asked_first = {job.id: job.parent_id or "" for job in found}
    return {
        job_id: asked_first[job_id] if asked_first[job_id] in homes else min(homes)
        for job_id, homes in standing.items()
    }


async def _retry_batch(
    connection: AsyncConnection, batch: JobRecord | Sketch, failure: str | None, *, cancelled_too: bool = False
) -> int:
    running = await _running_around(connection, batch)
    for batch_id in running:
        await _line_up(connection, batch_id, [batch.id])
    return 1 if running else await line_up_again(connection, batch, failure, cancelled_too=cancelled_too)


async def _running_around(connection: AsyncConnection, batch: JobRecord | Sketch) -> list[str]:
    """Those in which a batch that is over is to stand in line again."""
    if batch.state in _UNFINISHED or batch.standalone:
        return []
    return await running_batches_of(connection, [batch.id])


async def line_up_again(
    connection: AsyncConnection, batch: JobRecord | Sketch, failure: str | None, *, cancelled_too: bool = False
) -> int:
    """Puts what failed back in line; returns how many jobs. `failure` names one kind.

    In a batch that was cancelled, or with `cancelled_too`, what was cancelled too. A batch that is over gets a new run.
    """
    query = _to_retry(batch, cancelled_too=cancelled_too)
    if failure is not None:
        query = query.where(items.c.failure_kind == failure)
    job_ids = (await connection.execute(query)).scalars().all()
    for start in range(0, len(job_ids), _AT_A_TIME):
        await _line_up(connection, batch.id, job_ids[start : start + _AT_A_TIME])
    await _reopen(connection, batch.id)
    return len(job_ids)


def _to_retry(batch: JobRecord | Sketch, *, cancelled_too: bool) -> Select[Any]:
    """Of a playlist that is to be looked at anew, nothing: its items go then."""
    cancelled = [State.CANCELLED] if cancelled_too or batch.state is State.CANCELLED else []
    states = [State.FAILED, State.PARTIAL, *cancelled]
    mine = (items.c.batch_id == batch.id, items.c.state.in_(states))
    query = select(items.c.job_id).join_from(items, jobs, items.c.batch_id == jobs.c.id)
    query = query.join(batches, batches.c.id == jobs.c.id)
    return query.where(*mine, or_(jobs.c.state.not_in(_UNFINISHED), batches.c.run == jobs.c.run)).distinct()


async def line_up_some(connection: AsyncConnection, batch: JobRecord, at_most: int, *, cancelled_too: bool) -> bool:
    """Begins a `retry` of a batch in which many failed: puts some of them in line; says whether more than as many are
    left. The batch is begun anew first: whatever stands in line of it has somebody who lets it go, also if the retry
    comes no further."""
    if batch.kind not in BATCH_KINDS or batch.state is State.COMPLETED or await _running_around(connection, batch):
        return False
    query = _to_retry(batch, cancelled_too=cancelled_too).limit(2 * at_most)
    job_ids = (await connection.execute(query)).scalars().all()
    if len(job_ids) < 2 * at_most:
        return False
    await _reopen(connection, batch.id)
    await _line_up(connection, batch.id, job_ids[:at_most])
    return True


async def _reopen(connection: AsyncConnection, batch_id: str) -> None:
    """A new run of a batch that is over, with the items it has."""
    query = select(jobs).where(jobs.c.id == batch_id, jobs.c.state.not_in(_UNFINISHED))
    row = (await connection.execute(query)).one_or_none()
    if row is not None:
        begun = await restart(connection, record(row))
        again = {"run": begun.run, "failure": None}  # listing goes on too, if it was given up
        await connection.execute(update(batches).where(batches.c.id == batch_id).values(**again))


async def _line_up(
    connection: AsyncConnection, batch_id: str, job_ids: Sequence[str], *, playlists: bool = True
) -> None:
    """`playlists`: there may be some among the jobs."""
    for playlist in await _ended_playlists(connection, job_ids) if playlists else []:
        await line_up_again(connection, playlist, None)
        await write(connection, jobs.c.id == playlist.id, held=True)
    await restart_all(connection, job_ids)
    here = items.c.batch_id == batch_id
    follows = or_(here, ~items.c.settled)
    away = {name: case((here, False), else_=items.c[name]) for name in ("settled", "skipped")}
    away["released"] = case((or_(here, and_(follows, jobs.c.held)), False), else_=items.c.released)
    state = case((follows, jobs.c.state), else_=items.c.state)
    await connection.execute(taking_over(among(items.c.job_id, job_ids)).values(**away, state=state))


async def _ended_playlists(connection: AsyncConnection, job_ids: Sequence[str]) -> list[JobRecord]:
    query = select(jobs).where(
        among(jobs.c.id, job_ids), jobs.c.kind.in_(BATCH_KINDS), jobs.c.state.not_in(_UNFINISHED)
    )
    return [record(row) for row in await connection.execute(query)]


async def running_batches_of(connection: AsyncConnection, job_ids: Collection[str]) -> list[str]:
    """The unfinished batches in which one of these jobs stands, without playlists that are to be looked at anew."""
    query = (
        select(items.c.batch_id)
        .join_from(items, jobs, items.c.batch_id == jobs.c.id)
        .join(batches, batches.c.id == jobs.c.id)
        .where(among(items.c.job_id, job_ids), jobs.c.state.in_(_UNFINISHED), batches.c.run == jobs.c.run)
        .distinct()
    )
    return list((await connection.execute(query)).scalars())
