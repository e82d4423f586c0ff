"""Trying again: what failed or was cancelled begins a new run, by itself or back in line in its batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import BATCH_KINDS, UNFINISHED_STATES, Kind, State
from reelin.errors import Conflict
from reelin.library.following import follow_all
from reelin.library.records import JobRecord
from reelin.library.rows import record, write
from reelin.library.submissions import restart, restart_all, with_files
from reelin.library.tables import batches, items, jobs

_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
_AT_A_TIME = 500


async def retry(connection: AsyncConnection, job: JobRecord) -> None:
    """One job: in a batch that is not over it stands in line again, else it runs by itself. A batch tries again what
    failed. Raises Conflict."""
    if job.kind in BATCH_KINDS and job.state is not State.COMPLETED:
        if not await _retry_batch(connection, job, None) and job.state in _UNFINISHED:
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
    connection: AsyncConnection, found: Sequence[JobRecord], *, parent: str | None, failure: str | None
) -> None:
    """Some hundreds that are over. Items go back in line in their batch, which is begun anew if it is over, so that
    they do not all start at once; `parent` names the batch, else it is the one that asked first."""
    # A batch puts its items in line itself; a playlist inside another batch waits for its turn there.
    alone: list[str] = []
    in_line: dict[str, list[str]] = {}
    homes = await _homes(connection, found, parent)
    for job in found:
        home = homes.get(job.id)
        if home is not None and not job.standalone:
            in_line.setdefault(home, []).append(job.id)
        elif job.kind in BATCH_KINDS:
            await _retry_batch(connection, job, failure)
        else:
            alone.append(job.id)
    for batch_id, job_ids in in_line.items():
        await _line_up(connection, batch_id, job_ids)
        await _reopen(connection, batch_id)
    if alone:
        await restart_all(connection, alone, held=False)
        await follow_all(connection, alone, State.QUEUED)


async def _homes(connection: AsyncConnection, found: Sequence[JobRecord], parent: str | None) -> dict[str, str]:
    """The batch in which each job is to stand in line again."""
    query = (
        select(items.c.job_id, items.c.batch_id)
        .join_from(items, jobs, items.c.batch_id == jobs.c.id)
        .where(items.c.job_id.in_([job.id for job in found]))
        .distinct()
    )
    standing: dict[str, set[str]] = {}
    for job_id, batch_id in await connection.execute(query):
        standing.setdefault(job_id, set()).add(batch_id)
    asked_first = {job.id: job.parent_id for job in found}
    return {
        job_id: next((each for each in (parent, asked_first[job_id]) if each in homes), min(homes))
        for job_id, homes in standing.items()
    }


async def _retry_batch(connection: AsyncConnection, batch: JobRecord, failure: str | None) -> int:
    running = await running_batches_of(connection, [batch.id])
    if batch.state not in _UNFINISHED and running and not batch.standalone:
        for batch_id in running:
            await _line_up(connection, batch_id, [batch.id])
        return 1
    return await line_up_again(connection, batch, failure)


async def line_up_again(connection: AsyncConnection, batch: JobRecord, failure: str | None) -> int:
    """Puts what failed back in line; returns how many jobs. `failure` names one kind.

    In a batch that was cancelled, what was cancelled too. A batch that is over gets a new run.
    """
    states = [State.FAILED, State.PARTIAL, *([State.CANCELLED] if batch.state is State.CANCELLED else [])]
    query = select(items.c.job_id).where(items.c.batch_id == batch.id, items.c.state.in_(states)).distinct()
    if failure is not None:
        query = query.join(jobs, jobs.c.id == items.c.job_id).where(jobs.c.failure_kind == failure)
    job_ids = (await connection.execute(query)).scalars().all()
    for start in range(0, len(job_ids), _AT_A_TIME):
        await _line_up(connection, batch.id, job_ids[start : start + _AT_A_TIME])
    await _reopen(connection, batch.id)
    return len(job_ids)


async def _reopen(connection: AsyncConnection, batch_id: str) -> None:
    """A new run of a batch that is over, with the items it has."""
    query = select(jobs).where(jobs.c.id == batch_id, jobs.c.state.not_in(_UNFINISHED))
    row = (await connection.execute(query)).one_or_none()
    if row is not None:
        begun = await restart(connection, record(row))
        again = {"run": begun.run, "failure": None}  # listing goes on too, if it was given up
        await connection.execute(update(batches).where(batches.c.id == batch_id).values(**again))


async def _line_up(connection: AsyncConnection, batch_id: str, job_ids: Sequence[str]) -> None:
    inner = select(jobs).where(jobs.c.id.in_(job_ids), jobs.c.kind.in_(BATCH_KINDS), jobs.c.state.not_in(_UNFINISHED))
    for playlist in [record(row) for row in await connection.execute(inner)]:
        await line_up_again(connection, playlist, None)
        await write(connection, jobs.c.id == playlist.id, held=True)
    await restart_all(connection, job_ids)
    here = and_(items.c.batch_id == batch_id, items.c.job_id.in_(job_ids))
    await connection.execute(update(items).where(here).values(settled=False, skipped=False, released=False))
    state = select(jobs.c.state).where(jobs.c.id == items.c.job_id).scalar_subquery()
    await connection.execute(update(items).where(items.c.job_id.in_(job_ids), ~items.c.settled).values(state=state))


async def running_batches_of(connection: AsyncConnection, job_ids: Collection[str]) -> list[str]:
    """The unfinished batches in which one of these jobs stands."""
    query = (
        select(items.c.batch_id)
        .join_from(items, jobs, items.c.batch_id == jobs.c.id)
        .where(items.c.job_id.in_(job_ids), jobs.c.state.in_(_UNFINISHED))
        .distinct()
    )
    return list((await connection.execute(query)).scalars())
