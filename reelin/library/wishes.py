"""What people want of jobs that are there: cancel, pause, resume, retry. Of one, or of all that match a filter.

A wish is written down before Temporal hears of it, so that it outlives a Temporal that is away: what was not passed on
can be told from the row, and the reconciler passes it on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import BATCH_KINDS, FINAL_STATES, UNFINISHED_STATES, Kind, State
from reelin.errors import Conflict
from reelin.library.database import Database
from reelin.library.following import follow_all
from reelin.library.holding import end, wanted_elsewhere
from reelin.library.pace import Pace
from reelin.library.pages import JobFilter
from reelin.library.pausing import go_on
from reelin.library.records import JobRecord, Sketch
from reelin.library.retries import line_up_some, retry, retry_all, running_batches_of
from reelin.library.rows import SKETCHED, among, get, sketch, write
from reelin.library.tables import batches, items, jobs
from reelin.library.unbroken import unbroken
from reelin.library.waiters import WAITS
from reelin.library.window import choose

_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
_OVER = (State.FAILED, State.PARTIAL, State.CANCELLED)
#: Items of one transaction: others get their turn between two of them.
AT_A_TIME = 250
_LOOKED_FOR = 5000


class Wish(StrEnum):
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Granted:
    """What was written down. `told`: the jobs that Temporal has to be told of; `batches`: those that are to look at
    their items again; `cancelled`: jobs that nobody wants any more, whatever the wish was."""

    matched: int
    told: tuple[str, ...] = ()
    batches: frozenset[str] = frozenset()
    cancelled: tuple[str, ...] = ()


_Grant = Callable[[AsyncConnection, "Sequence[JobRecord | Sketch]"], Coroutine[Any, Any, Sequence[str]]]


class WishStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def one(
        self, wish: Wish, job_id: str, *, keep_partial: bool = False, positions: Collection[int] | None = None
    ) -> tuple[JobRecord, Granted]:
        """The job as it stands then. `positions` are those of a preview that are to run.

        Raises NotFound, Conflict, InvalidInput.
        """
        cancelled_too = wish is Wish.RETRY and await self._begin_retry(job_id)
        async with self._database.writing() as connection:
            job = await get(connection, job_id)
            told: Sequence[str] = ()
            cancelled: Sequence[str] = ()
            if wish is Wish.RETRY:
                await retry(connection, job, cancelled_too=cancelled_too)
            else:
                refuse(wish, job)
                if wish is Wish.RESUME:
                    await _refuse_in_paused_batch(connection, job)
                if positions is not None:
                    cancelled = await _choose(connection, job, positions)
                told = await _grant(wish, keep_partial)(connection, [job])
            near = frozenset(await running_batches_of(connection, [job_id]))
            own = frozenset([job_id]) if job.kind in BATCH_KINDS else frozenset()
            return await get(connection, job_id), Granted(1, tuple(told), near | own, tuple(cancelled))

    async def _begin_retry(self, job_id: str) -> bool:
        """Of a batch in which very many failed: some at a time, so that others get their turn. Says whether it was
        cancelled when that began."""
        pace, more, cancelled = Pace(), True, False
        while more:
            async with self._database.writing() as connection:
                with pace.transaction():
                    job = await get(connection, job_id)
                    cancelled = cancelled or job.state is State.CANCELLED
                    more = await line_up_some(connection, job, pace.at_a_time, cancelled_too=cancelled)
            await pace.give_way()
        return cancelled

    async def all(self, wish: Wish, wanted: JobFilter, *, keep_partial: bool = False) -> AsyncIterator[Granted]:
        """Some at a time, each in a transaction of its own, without those whose state does not allow it."""
        pace = Pace()
        places: Sequence[str | int] = await self._places(wish, wanted, None)
        while places:
            mine, places = places[: pace.at_a_time], places[pace.at_a_time :]
            granted = await self._some(wish, wanted, mine, pace, keep_partial=keep_partial)
            if granted.matched:
                yield granted
            await pace.give_way()
            places = places or await self._places(wish, wanted, mine[-1])

    @unbroken
    async def _places(self, wish: Wish, wanted: JobFilter, after: str | int | None) -> Sequence[str | int]:
        """Where the next ones are. Looked for without the writer's lock, since few may match among very many."""
        key = _place(wanted)
        query = _matching(wanted, _allowed(wish), key).order_by(key).limit(_LOOKED_FOR)
        async with self._database.reading() as connection:
            found = await connection.execute(query if after is None else query.where(key > after))
            return list(found.scalars())

    @unbroken
    async def _some(
        self, wish: Wish, wanted: JobFilter, places: Sequence[str | int], pace: Pace, *, keep_partial: bool
    ) -> Granted:
        query = _matching(wanted, _allowed(wish), *SKETCHED).where(_here(wanted, places))
        async with self._database.writing() as connection:
            with pace.transaction():
                rows = await connection.execute(query)
                found = list({row.id: sketch(row) for row in rows}.values())
                told: Sequence[str] = ()
                if wish is Wish.RETRY:
                    await retry_all(connection, found, parent=wanted.parent, failure=wanted.failure)
                elif found:
                    told = await _grant(wish, keep_partial)(connection, found)
                near = await running_batches_of(connection, [job.id for job in found])
                own = [job.id for job in found if job.kind in BATCH_KINDS]
                return Granted(len(found), tuple(told), frozenset([*near, *own]))

    @unbroken
    async def passed_on(self, job_ids: Collection[str]) -> None:
        """Temporal has been told that these were resumed."""
        if not job_ids:
            return
        async with self._database.writing() as connection:
            mine = (among(jobs.c.id, job_ids), jobs.c.resumed)
            await connection.execute(update(jobs).where(*mine).values(resumed=False))

    async def prioritise(self, job_id: str, priority: int) -> JobRecord:
        """Takes effect where the job, or an item of the batch, still stands in line. Raises NotFound, Conflict."""
        job = await self._prioritise(job_id, priority)
        after: int | None = 0
        while job.kind in BATCH_KINDS and after is not None:
            after = await self._prioritise_items(job_id, priority, after)
        return job

    @unbroken
    async def sites_waited_for(self, job_id: str, priority: int) -> list[str]:
        """The sites in whose lines the job, or items of the batch, stand with this priority."""
        mine = select(items.c.job_id).where(items.c.batch_id == job_id, items.c.state == State.WAITING)
        query = select(jobs.c.site).where(
            or_(jobs.c.id == job_id, jobs.c.id.in_(mine)), WAITS, jobs.c.priority == priority
        )
        async with self._database.reading() as connection:
            return [site for site in (await connection.execute(query.distinct())).scalars() if site]

    @unbroken
    async def _prioritise(self, job_id: str, priority: int) -> JobRecord:
        async with self._database.writing() as connection:
            job = await get(connection, job_id)
            if job.state in FINAL_STATES:
                raise Conflict(f"The job is {job.state} already.")
            if job.state is State.RUNNING and job.kind not in BATCH_KINDS:
                raise Conflict("The job runs already; only one that waits can come sooner or later.")
            await write(connection, jobs.c.id == job_id, priority=priority)
            await connection.execute(update(items).where(items.c.job_id == job_id).values(priority=priority))
            return await get(connection, job_id)

    @unbroken
    async def _prioritise_items(self, batch_id: str, priority: int, after: int) -> int | None:
        """Some of those that wait, from the position after `after` on; returns the last one's."""
        query = (
            select(items.c.position, items.c.job_id)
            .where(items.c.batch_id == batch_id, items.c.position > after, or_(~items.c.released, _waits(items)))
            .order_by(items.c.position)
            .limit(AT_A_TIME)
        )
        async with self._database.writing() as connection:
            rows = (await connection.execute(query)).all()
            mine = {row.job_id for row in rows}
            here = and_(items.c.batch_id == batch_id, items.c.position.in_([row.position for row in rows]))
            await connection.execute(update(items).where(here).values(priority=priority))
            own = or_(jobs.c.held, and_(_waits(jobs), ~wanted_elsewhere(batch_id)))
            await write(connection, jobs.c.id.in_(mine), own, priority=priority)
            return rows[-1].position if len(rows) == AT_A_TIME else None


def _waits(rows: Table) -> ColumnElement[bool]:
    """Of items and of jobs: it has been let go, and stands still all the same."""
    return rows.c.state.in_((State.WAITING, State.PAUSED))


def refuse(wish: Wish, job: JobRecord) -> None:
    """Raises Conflict where the job's state does not allow it."""
    if job.state in FINAL_STATES:
        raise Conflict(f"The job is {job.state} already.")
    if wish is Wish.PAUSE and job.kind is Kind.INFO:
        raise Conflict("Looking at a URL takes seconds; it can be cancelled, but not paused.")
    if wish is Wish.RESUME and not job.pause_requested:
        raise Conflict(f"The job is {job.state}, not paused.")


async def _refuse_in_paused_batch(connection: AsyncConnection, job: JobRecord) -> None:
    """A batch that is paused would only pause the item again."""
    near = [] if job.standalone else await running_batches_of(connection, [job.id])
    query = select(jobs.c.id, jobs.c.pause_requested).where(jobs.c.id.in_(near))
    rows = (await connection.execute(query)).all()
    if rows and all(row.pause_requested for row in rows):
        raise Conflict(f"The job stands still with {rows[0].id}; resume that.")


def _allowed(wish: Wish) -> ColumnElement[bool]:
    unfinished = jobs.c.state.in_(_UNFINISHED)
    return {
        Wish.CANCEL: and_(unfinished, ~jobs.c.cancel_requested),
        Wish.PAUSE: and_(unfinished, ~jobs.c.pause_requested, ~jobs.c.cancel_requested, jobs.c.kind != Kind.INFO),
        Wish.RESUME: and_(unfinished, jobs.c.pause_requested),
        Wish.RETRY: jobs.c.state.in_(_OVER),
    }[wish]


def _place(wanted: JobFilter) -> ColumnElement[Any]:
    """By which they are gone through: a batch's by position. What is written meanwhile is behind."""
    return jobs.c.id if wanted.parent is None else items.c.position


def _here(wanted: JobFilter, places: Sequence[Any]) -> ColumnElement[bool]:
    return among(jobs.c.id, places) if wanted.parent is None else items.c.position.between(places[0], places[-1])


def _matching(wanted: JobFilter, allowed: ColumnElement[bool], *columns: ColumnElement[Any]) -> Select[Any]:
    query = select(*columns).where(*wanted.conditions(), allowed)
    if wanted.parent is None:
        return query.select_from(jobs)
    return query.join_from(items, jobs, items.c.job_id == jobs.c.id)


def _grant(wish: Wish, keep_partial: bool) -> _Grant:
    async def cancel(connection: AsyncConnection, found: Sequence[JobRecord | Sketch]) -> Sequence[str]:
        return await _cancel(connection, found, keep_partial=keep_partial)

    return {Wish.CANCEL: cancel, Wish.PAUSE: _pause, Wish.RESUME: _resume}[wish]


async def _cancel(
    connection: AsyncConnection, found: Sequence[JobRecord | Sketch], *, keep_partial: bool
) -> Sequence[str]:
    """Those that Temporal does not know end here, the others when it has been told."""
    known, unknown = _by_dispatch(found)
    values = {"cancel_requested": True, "keep_partial": keep_partial}
    await write(connection, among(jobs.c.id, known), **values)
    return [*known, *await end(connection, unknown, keep_partial=keep_partial)]


async def _pause(connection: AsyncConnection, found: Sequence[JobRecord | Sketch]) -> Sequence[str]:
    """Those that Temporal does not know stand still at once."""
    known, unknown = _by_dispatch([job for job in found if not job.pause_requested])
    await write(connection, among(jobs.c.id, known), pause_requested=True, resumed=False)
    await write(connection, among(jobs.c.id, unknown), pause_requested=True, state=State.PAUSED)
    await follow_all(connection, unknown, State.PAUSED)
    return known


async def _resume(connection: AsyncConnection, found: Sequence[JobRecord | Sketch]) -> Sequence[str]:
    known, _ = _by_dispatch(found)
    everyone = [job.id for job in found]
    stood = [job.id for job in found if job.state is State.PAUSED]
    back = case((jobs.c.state == State.PAUSED, State.QUEUED), else_=jobs.c.state)
    resumed = or_(jobs.c.resumed, jobs.c.dispatched_at.is_not(None))
    await write(connection, among(jobs.c.id, everyone), pause_requested=False, resumed=resumed, state=back)
    await connection.execute(update(batches).where(among(batches.c.id, everyone)).values(preview=False))
    await follow_all(connection, stood, State.QUEUED)
    told = list(known)
    for job in found:
        if job.kind in BATCH_KINDS:
            told += await go_on(connection, job.id)
    return told


async def _choose(connection: AsyncConnection, job: JobRecord, positions: Collection[int]) -> Sequence[str]:
    query = select(batches.c.id).where(batches.c.id == job.id, batches.c.preview)
    if (await connection.execute(query)).first() is None:
        raise Conflict("Positions can be chosen from a preview only; this job is none (any more).")
    return await choose(connection, job.id, positions)


def _by_dispatch(found: Sequence[JobRecord | Sketch]) -> tuple[list[str], list[str]]:
    """The ids that Temporal knows, and those that it does not."""
    known = [job.id for job in found if job.dispatched_at is not None]
    return known, [job.id for job in found if job.dispatched_at is None]
