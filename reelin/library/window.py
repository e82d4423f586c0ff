"""The window of a batch: which items are let go, held back, called off or tried again.

Everything here is said in rows, so that an activity may do it twice: an item is in line until it is `released`, and in
flight until its job is final.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import UNFINISHED_STATES, State
from reelin.errors import Conflict, InvalidInput
from reelin.library.database import Database
from reelin.library.following import conclude, taking_over
from reelin.library.pace import Pace
from reelin.library.records import BatchRecord, JobRecord
from reelin.library.retries import line_up_again
from reelin.library.rows import find, find_batch, get, now, record, write
from reelin.library.tables import batches, items, jobs
from reelin.library.unbroken import unbroken

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
        pace = Pace()
        in_line = await self._positions_in_line(batch_id)
        while len(in_line) > pace.at_a_time:
            some, in_line = in_line[: pace.at_a_time], in_line[pace.at_a_time :]
            async with self._database.writing() as connection:
                with pace.transaction():
                    await call_off_waiting(connection, batch_id, some)
            await pace.give_way()
        async with self._database.writing() as connection:
            await call_off_waiting(connection, batch_id)
            return await cancel_flying(connection, batch_id, keep_partial=keep_partial)

    async def _positions_in_line(self, batch_id: str) -> Sequence[int]:
        query = select(items.c.position).where(_in_line(batch_id)).order_by(items.c.position)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).scalars().all()

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
            told = []
            for job in await _own_in_flight(connection, batch_id):
                if job.pause_requested or job.state is State.PAUSED:
                    told.append(job.id)
                    continue
                at_once = {"state": State.PAUSED} if job.dispatched_at is None else {}
                await write(connection, jobs.c.id == job.id, pause_requested=True, **at_once)
                if at_once:
                    await _mirror(connection, job.id, State.PAUSED)
                else:
                    told.append(job.id)
            return told

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


async def _mirror(connection: AsyncConnection, job_id: str, state: State) -> None:
    await connection.execute(taking_over(items.c.job_id == job_id, ~items.c.settled).values(state=state))


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
    for site in await _sites_in_line(connection, batch_id):
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


async def _sites_in_line(connection: AsyncConnection, batch_id: str) -> Sequence[str]:
    """By jumping from one to the next in the index: 100,000 rows of one site are one step."""
    in_line = _in_line(batch_id)
    first = select(func.min(items.c.site).label("site"), literal(1).label("step")).where(in_line)
    jump = first.cte("jump", recursive=True)
    following = select(func.min(items.c.site)).where(in_line, items.c.site > jump.c.site).scalar_subquery()
    jump = jump.union_all(select(following, jump.c.step + 1).where(jump.c.site.is_not(None), jump.c.step < _MANY_SITES))
    return (await connection.execute(select(jump.c.site).where(jump.c.site.is_not(None)))).scalars().all()


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


async def choose(connection: AsyncConnection, batch_id: str, positions: Collection[int]) -> None:
    """See `Window.choose`."""
    batch = await find_batch(connection, batch_id)
    if batch is not None and batch.listing:
        raise Conflict("Its items are still being listed; choose from them when the playlist stands paused.")
    query = select(items.c.position, items.c.released).where(items.c.batch_id == batch_id)
    listed = {row.position: row.released for row in await connection.execute(query)}
    wanted = set(positions)
    unknown = sorted(wanted - set(listed))
    if unknown:
        raise InvalidInput(
            f"The batch has no item at position {unknown[0]}.",
            remedy="Take positions from GET /api/jobs?parent=….",
            field="positions",
        )
    unwanted = [position for position, released in listed.items() if not released and position not in wanted]
    for start in range(0, len(unwanted), _AT_A_TIME):
        await call_off_waiting(connection, batch_id, unwanted[start : start + _AT_A_TIME])
    await connection.execute(update(batches).where(batches.c.id == batch_id).values(preview=False))


def wanted_elsewhere(batch_id: str) -> ColumnElement[bool]:
    """Someone submitted the job by itself, or another batch that is not over has it."""
    other, owner = items.alias(), jobs.alias()
    elsewhere = exists().where(
        other.c.job_id == jobs.c.id,
        other.c.batch_id != batch_id,
        ~other.c.settled,
        owner.c.id == other.c.batch_id,
        owner.c.state.in_(_UNFINISHED),
    )
    return or_(jobs.c.standalone, elsewhere)


async def call_off_waiting(connection: AsyncConnection, batch_id: str, positions: Sequence[int] | None = None) -> None:
    """Cancels what is in line, at these positions or at all."""
    mine = [items.c.batch_id == batch_id, ~items.c.released]
    if positions is not None:
        mine.append(items.c.position.in_(positions))
    values: dict[str, Any] = {"state": State.CANCELLED, "finished_at": now(), "cancel_requested": True}
    in_line = select(items.c.job_id).where(*mine)
    await write(connection, jobs.c.id.in_(in_line), jobs.c.held, ~wanted_elsewhere(batch_id), **values)
    await write(connection, jobs.c.id.in_(in_line), jobs.c.state != State.CANCELLED)  # so that watchers see it change
    await connection.execute(taking_over(*mine))
    settled = ~exists().where(jobs.c.id == items.c.job_id, jobs.c.state == State.CANCELLED)
    await connection.execute(update(items).where(*mine).values(state=State.CANCELLED, released=True, settled=settled))


async def cancel_flying(connection: AsyncConnection, batch_id: str, *, keep_partial: bool) -> list[str]:
    """Cancels what is in flight for this batch only; returns the jobs that Temporal has to be told of."""
    own = await _own_in_flight(connection, batch_id)
    for job in own:
        at_once = {"state": State.CANCELLED, "finished_at": now()} if job.dispatched_at is None else {}
        await write(connection, jobs.c.id == job.id, cancel_requested=True, keep_partial=keep_partial, **at_once)
        if at_once:
            await _mirror(connection, job.id, State.CANCELLED)
    others = and_(_flying(batch_id), items.c.job_id.not_in([job.id for job in own]))
    await write(connection, jobs.c.id.in_(select(items.c.job_id).where(others)))  # so that watchers see it change
    await connection.execute(update(items).where(others).values(state=State.CANCELLED, settled=True))
    return [job.id for job in own if job.dispatched_at is not None]


async def go_on(connection: AsyncConnection, batch_id: str) -> list[str]:
    """Takes the wish to pause back from what is in flight; returns the jobs that Temporal has to be told of."""
    told = []
    for job in await _own_in_flight(connection, batch_id):
        if not job.pause_requested:
            continue
        back = {"state": State.QUEUED} if job.state is State.PAUSED else {}
        known = job.dispatched_at is not None
        await write(connection, jobs.c.id == job.id, pause_requested=False, resumed=known, **back)
        if back:
            await _mirror(connection, job.id, State.QUEUED)
        told += [job.id] if known else []
        told += await go_on(connection, job.id)  # a playlist has items of its own
    return told


async def _own_in_flight(connection: AsyncConnection, batch_id: str) -> list[JobRecord]:
    flying = select(items.c.job_id).where(_flying(batch_id))
    query = select(jobs).where(jobs.c.id.in_(flying), ~jobs.c.held, ~wanted_elsewhere(batch_id))
    return [record(row) for row in await connection.execute(query)]
