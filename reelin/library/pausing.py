"""How items stand still with their batch, and go on with it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, case, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import BATCH_KINDS, UNFINISHED_STATES, State
from reelin.library.following import follow_all
from reelin.library.holding import in_unfinished_batch
from reelin.library.rows import among, write
from reelin.library.tables import items, jobs

_UNFINISHED = tuple(sorted(UNFINISHED_STATES))


async def stop(connection: AsyncConnection, batch_id: str) -> list[str]:
    """Asks what is in flight to pause, unless somebody wants it who does not stand still too; returns the jobs that
    Temporal has to be told of."""
    mine = select(items.c.job_id).where(items.c.batch_id == batch_id, items.c.released, items.c.state.in_(_UNFINISHED))
    other, owner = items.alias(), jobs.alias()
    awake = in_unfinished_batch(other.c.batch_id != batch_id, ~owner.c.pause_requested, of=other, batch=owner)
    query = select(jobs.c.id, jobs.c.state, jobs.c.dispatched_at, jobs.c.pause_requested).where(
        jobs.c.id.in_(mine), ~jobs.c.held, ~jobs.c.standalone, ~awake
    )
    found = (await connection.execute(query)).all()
    at_once = [row.id for row in found if row.dispatched_at is None and not row.pause_requested]
    asked = [row.id for row in found if row.dispatched_at is not None and not row.pause_requested]
    await write(connection, among(jobs.c.id, asked), pause_requested=True, resumed=False)
    await write(connection, among(jobs.c.id, at_once), pause_requested=True, state=State.PAUSED)
    await follow_all(connection, at_once, State.PAUSED)
    return [row.id for row in found if row.id not in at_once]


async def go_on(connection: AsyncConnection, batch_id: str) -> list[str]:
    """Takes the wish to pause back from what is in flight; returns the jobs that Temporal has to be told of."""
    mine = select(items.c.job_id).where(items.c.batch_id == batch_id, items.c.state.in_(_UNFINISHED))
    query = select(jobs.c.id).where(jobs.c.id.in_(mine), ~jobs.c.held, jobs.c.pause_requested)
    return await wake(connection, (await connection.execute(query)).scalars().all())


async def wake(connection: AsyncConnection, job_ids: Collection[str]) -> list[str]:
    """These go on, batches with what they hold; returns the jobs that Temporal has to be told of."""
    if not job_ids:
        return []
    query = select(jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.dispatched_at).where(among(jobs.c.id, job_ids))
    found = (await connection.execute(query)).all()
    back = case((jobs.c.state == State.PAUSED, State.QUEUED), else_=jobs.c.state)
    known = or_(jobs.c.resumed, jobs.c.dispatched_at.is_not(None))
    await write(connection, among(jobs.c.id, job_ids), pause_requested=False, resumed=known, state=back)
    await follow_all(connection, [row.id for row in found if row.state == State.PAUSED], State.QUEUED)
    told = [row.id for row in found if row.dispatched_at is not None]
    for row in found:
        if row.kind in BATCH_KINDS:
            told += await go_on(connection, row.id)
    return told


async def wake_with_another(connection: AsyncConnection, job_ids: Collection[str]) -> None:
    """Somebody wants these, too, who does not stand still: what stood still with its batches goes on.

    Nobody is told here: the reconciler passes it on.
    """
    item, owner = items.alias(), jobs.alias()
    with_a_batch = in_unfinished_batch(owner.c.pause_requested, of=item, batch=owner)
    by_itself = or_(jobs.c.standalone, in_unfinished_batch(~owner.c.pause_requested, of=item, batch=owner))
    query = select(jobs.c.id).where(
        among(jobs.c.id, job_ids), jobs.c.pause_requested, ~jobs.c.held, and_(with_a_batch, ~by_itself)
    )
    await wake(connection, (await connection.execute(query)).scalars().all())
