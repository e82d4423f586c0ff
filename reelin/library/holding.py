"""Who wants a job, and what becomes of it when somebody wants it no more.

A job that is `held` waits until a batch lets it go. It stands in line in every unfinished batch that has it, so that
whichever is left lets it go; when the last of them is gone, it ends. A job that is not held is wanted by whoever
submitted it by itself, and by every unfinished batch that has it.

Whatever takes a batch or its items away comes through here: there is no other way for a line to lose its batch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import BATCH_KINDS, UNFINISHED_STATES, State
from reelin.library.following import conclude, follow_all
from reelin.library.rows import among, find_batch, now, write
from reelin.library.tables import batches, items, jobs

_UNFINISHED = tuple(sorted(UNFINISHED_STATES))


def in_unfinished_batch(*which: ColumnElement[bool], of: Any, batch: Any) -> ColumnElement[bool]:
    """Whether a job is an item of a batch that is not over, and follows it. `of` and `batch` are aliases of items and
    jobs for `which`. Items of an earlier run do not count: they go when the playlist is looked at again."""
    looked_at = batches.alias()
    return exists().where(
        of.c.job_id == jobs.c.id,
        ~of.c.settled,
        batch.c.id == of.c.batch_id,
        batch.c.state.in_(_UNFINISHED),
        looked_at.c.id == of.c.batch_id,
        looked_at.c.run == batch.c.run,
        *which,
    )


def wanted_elsewhere(batch_id: str) -> ColumnElement[bool]:
    """Someone submitted the job by itself, or another batch that is not over has it.

    What only batches began anew is theirs alone, whoever submitted it before: that run is over.
    """
    other, owner = items.alias(), jobs.alias()
    elsewhere = in_unfinished_batch(other.c.batch_id != batch_id, of=other, batch=owner)
    return or_(and_(jobs.c.standalone, ~jobs.c.held), elsewhere)


def in_line() -> ColumnElement[bool]:
    """Some batch will let the job go."""
    item, owner = items.alias(), jobs.alias()
    return in_unfinished_batch(~item.c.released, of=item, batch=owner)


async def stand_in_line(connection: AsyncConnection, job_ids: Collection[str]) -> None:
    """Those that are held do so in every batch that has them."""
    held = select(jobs.c.id).where(among(jobs.c.id, job_ids), jobs.c.held)
    mine = (among(items.c.job_id, job_ids), ~items.c.settled, items.c.released, items.c.job_id.in_(held))
    await connection.execute(update(items).where(*mine).values(released=False))


async def withdraw(
    connection: AsyncConnection,
    batch_id: str,
    *which: ColumnElement[bool],
    kept: Collection[str] = (),
    keep_partial: bool = False,
    limit: int | None = None,
) -> tuple[list[str], int | None]:
    """The batch wants these of its items no more, by default all; `kept` are jobs that it wants at other positions.

    A job that someone else wants goes on, and is cancelled in this batch only. Others end now if Temporal does not
    know them. Returns the jobs that Temporal has to be told of, and the last position if there were `limit` items.
    """
    mine = and_(items.c.batch_id == batch_id, items.c.state.in_(_UNFINISHED), *which)
    query = (
        select(items.c.position, jobs.c.id, jobs.c.dispatched_at, wanted_elsewhere(batch_id).label("wanted"))
        .join_from(items, jobs, items.c.job_id == jobs.c.id)
        .where(mine)
        .order_by(items.c.position)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    if not rows:
        return [], None
    mine = and_(mine, items.c.position <= rows[-1].position)
    spared = {row.id for row in rows if row.wanted or row.id in kept}
    known = {row.id for row in rows if row.dispatched_at is not None} - spared
    await _settle(connection, mine, spared)
    told = await end(connection, {row.id for row in rows} - spared - known, keep_partial=keep_partial)
    await write(
        connection, among(jobs.c.id, known), ~jobs.c.cancel_requested, cancel_requested=True, keep_partial=keep_partial
    )
    await connection.execute(update(items).where(mine, among(items.c.job_id, known)).values(released=True))
    return [*sorted(known), *told], (rows[-1].position if len(rows) == limit else None)


async def _settle(connection: AsyncConnection, mine: ColumnElement[bool], job_ids: Collection[str]) -> None:
    """These go on, without the batch."""
    if job_ids:
        await write(connection, among(jobs.c.id, job_ids))  # so that watchers see it change
        here = update(items).where(mine, among(items.c.job_id, job_ids))
        await connection.execute(here.values(state=State.CANCELLED, released=True, settled=True))


async def end(
    connection: AsyncConnection, job_ids: Collection[str], *, keep_partial: bool = False, failure: Failure | None = None
) -> list[str]:
    """Ends jobs that Temporal does not know, batches with what they hold: cancelled, or failed with `failure`.

    Returns the jobs that Temporal has to be told of.
    """
    if not job_ids:
        return []
    values: dict[str, Any] = {"state": State.CANCELLED, "cancel_requested": True, "keep_partial": keep_partial}
    if failure is not None:
        values = {"state": State.FAILED, "failure": failure.model_dump(mode="json"), "failure_kind": failure.kind}
    mine = (among(jobs.c.id, job_ids), jobs.c.state.in_(_UNFINISHED))
    inner = select(jobs.c.id).where(*mine, jobs.c.kind.in_(BATCH_KINDS))
    batch_ids = (await connection.execute(inner)).scalars().all()
    await write(connection, *mine, **values, finished_at=now(), next_attempt_at=None)
    await follow_all(connection, job_ids, values["state"])
    told: list[str] = []
    for batch_id in batch_ids:
        told += await end_line(connection, batch_id, keep_partial=keep_partial, failure=failure)
    return told


async def end_line(
    connection: AsyncConnection, batch_id: str, *, keep_partial: bool = False, failure: Failure | None = None
) -> list[str]:
    """The batch has ended before its items: with a cancel they end too, with a `failure` those that are in line.

    Returns the jobs that Temporal has to be told of.
    """
    if failure is None:
        told, _ = await withdraw(connection, batch_id, keep_partial=keep_partial)
        await conclude(connection, batch_id, State.CANCELLED)
        return told
    batch = await find_batch(connection, batch_id)
    if batch is not None and batch.listing:  # a retry goes on with it
        given_up = update(batches).where(batches.c.id == batch_id)
        await connection.execute(given_up.values(failure=failure.model_dump(mode="json")))
    in_line = select(items.c.job_id).where(items.c.batch_id == batch_id, ~items.c.released)
    told = await end_unheld(connection, (await connection.execute(in_line)).scalars().all(), failure=failure)
    await conclude(connection, batch_id, State.FAILED, failure=failure)
    return told


async def end_unheld(
    connection: AsyncConnection, job_ids: Collection[str], *, failure: Failure | None = None
) -> list[str]:
    """Ends those that were held by something that is gone, and that no batch has in line any more.

    Returns the jobs that Temporal has to be told of.
    """
    query = select(jobs.c.id).where(among(jobs.c.id, job_ids), *unheld())
    return await end(connection, (await connection.execute(query)).scalars().all(), failure=failure)


def unheld() -> tuple[ColumnElement[bool], ...]:
    """Jobs that wait for a batch which is not there."""
    return jobs.c.held, jobs.c.state.in_(_UNFINISHED), ~in_line()
