"""The window of a batch: which items are let go, held back, called off or tried again.

Everything here is said in rows, so that an activity may do it twice: an item is in line until it is `released`, and in
flight until its job is final.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import UNFINISHED_STATES, State
from reelin.errors import Conflict, InvalidInput
from reelin.library.database import Database
from reelin.library.following import conclude
from reelin.library.holding import end_unheld, stand_in_line, unheld, withdraw
from reelin.library.pace import Pace
from reelin.library.pausing import stop
from reelin.library.records import BatchRecord, JobRecord
from reelin.library.retries import line_up_again
from reelin.library.rows import among, find, find_batch, get, now, record, write
from reelin.library.tables import batches, items, jobs
from reelin.library.unbroken import unbroken
from reelin.library.waiters import distinct_values

_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
_MANY_SITES = 1000
_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Released:
    """`jobs` are to be started. `in_flight` counts them too, and `waiting` of these stand still, for their next attempt
    or their site. `in_line` says whether others have not gone yet.

    `listing`: more may come, what the batch consists of is still being written down.
    """

    jobs: tuple[JobRecord, ...] = ()
    in_flight: int = 0
    waiting: int = 0
    in_line: bool = False
    listing: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    position: int
    priority: int
    job_id: str
    rank: int  #: Within its site, those in flight counted: sites take turns.


class Window:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def release(self, batch_id: str, *, at_once: int, limit_of: Callable[[str], int | None]) -> Released:
        """Lets items go until `at_once` are in flight, and no more of one site than `limit_of` it (None: any number).

        By priority, then in turn from each site, then by position; of what is listed so far. A site of which nothing is
        in flight gets one in where others take all the places, up to a quarter more. A preview starts nothing before
        it is listed whole, and nothing starts that is to stand still.
        """
        async with self._database.writing() as connection:
            job = await find(connection, batch_id)
            batch = await _batch_of_this_run(connection, job)
            if job is None or batch is None or (batch.preview and batch.listing):
                return Released(listing=True)
            if job.pause_requested:  # since the caller looked
                return Released(in_line=True, listing=batch.listing)
            flying = await _in_flight_by_site(connection, batch_id, standing_still=False)
            chosen = await _choose(connection, batch_id, at_once, flying, limit_of)
            started = await _let_go(connection, batch_id, chosen)
            in_flight = sum((await _in_flight_by_site(connection, batch_id, standing_still=True)).values())
            in_line = await _anything_in_line(connection, batch_id)
            return Released(tuple(started), in_flight, await _waiting(connection, batch_id), in_line, batch.listing)

    @unbroken
    async def finish(self, batch_id: str, run: int, *, cancelled: bool = False) -> State | None:
        """Writes down how the batch ended; None if it is another run's, or not all its items are listed and through.

        `cancelled`: whatever its items came to, someone has ended it.
        """
        async with self._database.writing() as connection:
            job = await find(connection, batch_id)
            if job is None or job.run != run:
                return None
            if job.state not in _UNFINISHED:
                return job.state
            if await _unfinished_items(connection, batch_id):
                return None
            batch = await _batch_of_this_run(connection, job)
            if not cancelled and (batch is None or batch.listing):
                return None
            await write(connection, jobs.c.id == batch_id, finished_at=now(), next_attempt_at=None)
            return await conclude(connection, batch_id, State.CANCELLED if cancelled else None)

    @unbroken
    async def call_off(self, batch_id: str, *, keep_partial: bool = False) -> list[str]:
        """Cancels the items: those in line at once; returns the jobs in flight that are to be cancelled in Temporal.

        A job that someone else wants goes on, and is cancelled in this batch only.
        """
        pace, told = Pace(), set()
        after: int | None = 0
        while after is not None:
            async with self._database.writing() as connection:
                with pace.transaction():
                    some, after = await withdraw(
                        connection,
                        batch_id,
                        items.c.position > after,
                        keep_partial=keep_partial,
                        limit=pace.at_a_time,
                    )
            told |= set(some)
            await pace.give_way()
        return sorted(told)

    @unbroken
    async def choose(self, batch_id: str, positions: Collection[int]) -> None:
        """Cancels what is in line at other positions than these; a preview ends with it.

        Raises InvalidInput for positions that the batch does not have, Conflict before all of them are listed.
        """
        async with self._database.writing() as connection:
            await choose(connection, batch_id, positions)

    @unbroken
    async def stop(self, batch_id: str) -> list[str]:
        """Asks the items in flight to pause; returns those that Temporal has to be told of."""
        async with self._database.writing() as connection:
            return await stop(connection, batch_id)

    @unbroken
    async def heal_held(self, after: str = "", *, at_most: int = 5000) -> tuple[list[str], str]:
        """Looks whether jobs that are held have a batch that lets them go: so many, from the id after `after` on.

        Returns those that had none, which stand in line again or are over now, and the id from which to go on. None
        come to be so; but a job that waits for nobody would wait for ever.
        """
        held = and_(jobs.c.held, jobs.c.state.in_(_UNFINISHED))
        page = select(jobs.c.id).where(held, jobs.c.id > after).order_by(jobs.c.id).limit(at_most)
        async with self._database.reading() as connection:
            looked_at = (await connection.execute(page)).scalars().all()
            mine = jobs.c.id.between(looked_at[0], looked_at[-1]) if looked_at else literal(False)
            found = (await connection.execute(select(jobs.c.id).where(mine, *unheld()))).scalars().all()
        if found:
            async with self._database.writing() as connection:
                query = select(jobs.c.id).where(among(jobs.c.id, found), *unheld())
                found = (await connection.execute(query)).scalars().all()
                await stand_in_line(connection, found)
                await end_unheld(connection, found)
        return list(found), looked_at[-1] if len(looked_at) == at_most else ""

    @unbroken
    async def line_up_again(self, batch_id: str, *, failure: str | None = None) -> int:
        """Puts what failed back in line; returns how many jobs. `failure` names one kind.

        In a batch that was cancelled, what was cancelled too. A batch that is over gets a new run. Raises NotFound.
        """
        async with self._database.writing() as connection:
            return await line_up_again(connection, await get(connection, batch_id), failure)


async def _batch_of_this_run(connection: AsyncConnection, job: JobRecord | None) -> BatchRecord | None:
    """None where nobody has looked at a playlist yet, or not since it was submitted again."""
    batch = None if job is None else await find_batch(connection, job.id)
    return batch if batch is not None and job is not None and batch.run == job.run else None


def _flying(batch_id: str) -> ColumnElement[bool]:
    return and_(items.c.batch_id == batch_id, items.c.released, items.c.state.in_(_UNFINISHED))


async def _in_flight_by_site(connection: AsyncConnection, batch_id: str, *, standing_still: bool) -> dict[str, int]:
    """With or without what was paused by itself: that takes nobody's place."""
    number = func.count(items.c.job_id.distinct()).label("number")
    query = select(items.c.site, number).where(_flying(batch_id)).group_by(items.c.site)
    if not standing_still:
        query = query.where(items.c.state != State.PAUSED)
    return {row.site: row.number for row in await connection.execute(query)}


async def _waiting(connection: AsyncConnection, batch_id: str) -> int:
    mine = (items.c.batch_id == batch_id, items.c.state == State.WAITING)
    return (await connection.execute(select(func.count()).where(*mine))).scalar_one()


async def _anything_in_line(connection: AsyncConnection, batch_id: str) -> bool:
    query = select(items.c.position).where(items.c.batch_id == batch_id, ~items.c.released).limit(1)
    return (await connection.execute(query)).first() is not None


async def _unfinished_items(connection: AsyncConnection, batch_id: str) -> bool:
    query = select(items.c.position).where(items.c.batch_id == batch_id, items.c.state.in_(_UNFINISHED)).limit(1)
    return (await connection.execute(query)).first() is not None


async def _choose(
    connection: AsyncConnection,
    batch_id: str,
    at_once: int,
    flying: dict[str, int],
    limit_of: Callable[[str], int | None],
) -> list[_Candidate]:
    free = max(at_once - sum(flying.values()), 0)
    for_guests = at_once + at_once // 4 - sum(flying.values())
    if for_guests <= 0:
        return []
    candidates: list[_Candidate] = []
    for site in await distinct_values(connection, items.c.site, _in_line(batch_id), at_most=_MANY_SITES):
        limit, already = limit_of(site), flying.get(site, 0)
        wanted = free if already else max(free, 1)
        room = wanted if limit is None else min(wanted, limit - already)
        if room > 0:
            candidates += await _first_of(connection, batch_id, site, room, already)
    candidates.sort(key=lambda each: (each.priority, each.rank, each.position))
    guests = [each for each in candidates[free:] if each.rank == 0]
    return candidates[:free] + guests[: for_guests - free]


def _in_line(batch_id: str) -> ColumnElement[bool]:
    return and_(items.c.batch_id == batch_id, ~items.c.released)


async def _first_of(
    connection: AsyncConnection, batch_id: str, site: str, number: int, already: int
) -> list[_Candidate]:
    query = (
        select(items.c.position, items.c.priority, items.c.job_id)
        .where(_in_line(batch_id), items.c.site == site, items.c.state != State.PAUSED)
        .order_by(items.c.priority, items.c.position)
        .limit(number)
    )
    rows = (await connection.execute(query)).all()
    return [_Candidate(row.position, row.priority, row.job_id, already + rank) for rank, row in enumerate(rows)]


async def _let_go(connection: AsyncConnection, batch_id: str, chosen: Sequence[_Candidate]) -> list[JobRecord]:
    """A job at several positions is one job; one that runs for someone else is not started again."""
    job_ids = list(dict.fromkeys(each.job_id for each in chosen))
    if not job_ids:
        return []
    await connection.execute(
        update(items).where(items.c.batch_id == batch_id, items.c.job_id.in_(job_ids)).values(released=True)
    )
    held = select(jobs).where(jobs.c.id.in_(job_ids), jobs.c.held)
    mine = {row.id: record(row) for row in await connection.execute(held)}
    await write(connection, jobs.c.id.in_(list(mine)), held=False)
    return [mine[job_id] for job_id in job_ids if job_id in mine]


async def choose(connection: AsyncConnection, batch_id: str, positions: Collection[int]) -> list[str]:
    """See `Window.choose`. Returns the jobs that Temporal has to be told of: whoever wanted them before is gone."""
    batch = await find_batch(connection, batch_id)
    if batch is not None and batch.listing:
        raise Conflict("Its items are still being listed; choose from them when the playlist stands paused.")
    query = select(items.c.position, items.c.job_id).where(items.c.batch_id == batch_id)
    listed = {row.position: row.job_id for row in await connection.execute(query)}
    wanted = set(positions)
    unknown = sorted(wanted - set(listed))
    if unknown:
        raise InvalidInput(
            f"The batch has no item at position {unknown[0]}.",
            remedy="Take positions from GET /api/jobs?parent=….",
            field="positions",
        )
    unwanted = [position for position in listed if position not in wanted]
    kept = {listed[position] for position in wanted}
    told: list[str] = []
    for start in range(0, len(unwanted), _AT_A_TIME):
        here = items.c.position.in_(unwanted[start : start + _AT_A_TIME])
        told += (await withdraw(connection, batch_id, here, kept=kept))[0]
    await connection.execute(update(batches).where(batches.c.id == batch_id).values(preview=False))
    return told
