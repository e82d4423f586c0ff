"""Deleting jobs. A batch goes with those of its items that nobody else wants."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import BATCH_KINDS
from reelin.library.database import Database
from reelin.library.following import ended_batches, revise
from reelin.library.holding import end_unheld
from reelin.library.pace import Pace
from reelin.library.rows import among, get, next_version, now
from reelin.library.tables import forgotten, items, jobs
from reelin.library.unbroken import unbroken

_PLACE = (("parent_id", "batch_id"), ("position", "position"))


class Forgetting:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget(self, job_id: str) -> None:
        """Deletes the row, a batch's after its items'; published files stay. Raises NotFound.

        What stays is the number of its last run: should the job be submitted again while its workflow is still
        ending, that end must not be taken for the new one's.
        """
        pace = Pace()
        while not await self._forget_one(job_id):
            after: int | None = 0
            while after is not None:
                after, playlists = await self._forget_items(job_id, after, pace)
                for playlist in playlists:
                    await self.forget(playlist)
                await pace.give_way()

    @unbroken
    async def playlists_of(self, batch_id: str) -> list[str]:
        """The playlists inside the batch that go with it."""
        query = select(items.c.job_id).where(items.c.batch_id == batch_id, items.c.kind.in_(BATCH_KINDS)).distinct()
        async with self._database.reading() as connection:
            inner = (await connection.execute(query)).scalars().all()
            return sorted(await _unwanted_elsewhere(connection, batch_id, inner))

    @unbroken
    async def _forget_items(self, batch_id: str, after: int, pace: Pace) -> tuple[int | None, list[str]]:
        """Some items with their jobs, and where to go on; playlists are returned instead."""
        at_a_time = pace.at_a_time
        query = (
            select(items.c.position, items.c.job_id, jobs.c.kind)
            .outerjoin_from(items, jobs, items.c.job_id == jobs.c.id)
            .where(items.c.batch_id == batch_id, items.c.position > after)
            .order_by(items.c.position)
            .limit(at_a_time)
        )
        async with self._database.writing() as connection:
            with pace.transaction():
                rows = (await connection.execute(query)).all()
                own = await _unwanted_elsewhere(connection, batch_id, list({row.job_id for row in rows}))
                playlists = list({row.job_id for row in rows if row.job_id in own and row.kind in BATCH_KINDS})
                await _forget(connection, [job_id for job_id in own if job_id not in playlists])
                others = [row.job_id for row in rows if row.job_id not in own]
                await _find_other_parents(connection, batch_id, others)
                if rows:
                    here = and_(items.c.batch_id == batch_id, items.c.position.between(after + 1, rows[-1].position))
                    await connection.execute(delete(items).where(here, items.c.job_id.not_in(playlists)))
                    await end_unheld(connection, others)  # in line here only: those that stand in others are over
                return (rows[-1].position if len(rows) == at_a_time else None), playlists

    @unbroken
    async def _forget_one(self, job_id: str) -> bool:
        """False for a batch that still has items: they go first, also those that were listed meanwhile."""
        async with self._database.writing() as connection:
            await get(connection, job_id)
            query = select(items.c.position).where(items.c.batch_id == job_id).limit(1)
            if (await connection.execute(query)).first() is not None:
                return False
            over = await ended_batches(connection, [job_id])
            await connection.execute(delete(items).where(items.c.job_id == job_id))
            await _forget(connection, [job_id])
            await revise(connection, over)
            return True


async def _unwanted_elsewhere(connection: AsyncConnection, batch_id: str, job_ids: Sequence[str]) -> set[str]:
    """Those that nobody submitted by itself and that stand in no other batch."""
    elsewhere = exists().where(items.c.job_id == jobs.c.id, items.c.batch_id != batch_id)
    query = select(jobs.c.id).where(among(jobs.c.id, job_ids), ~jobs.c.standalone, ~elsewhere)
    return set((await connection.execute(query)).scalars())


async def _find_other_parents(connection: AsyncConnection, batch_id: str, job_ids: Sequence[str]) -> None:
    """What asked for these jobs first is going: another batch in which they stand takes its place, or none."""
    other = select(items.c.batch_id, items.c.position).where(items.c.job_id == jobs.c.id, items.c.batch_id != batch_id)
    first = other.order_by(items.c.batch_id, items.c.position).limit(1)
    values = {name: first.with_only_columns(items.c[column]).scalar_subquery() for name, column in _PLACE}
    await connection.execute(update(jobs).where(among(jobs.c.id, job_ids), jobs.c.parent_id == batch_id).values(values))


async def _forget(connection: AsyncConnection, job_ids: Sequence[str]) -> None:
    mine = among(jobs.c.id, job_ids)
    await connection.execute(delete(forgotten).where(among(forgotten.c.id, job_ids)))
    remembered = select(jobs.c.id, jobs.c.run, next_version(now())).where(mine)
    await connection.execute(insert(forgotten).from_select(["id", "run", "version"], remembered))
    await connection.execute(delete(jobs).where(mine))
