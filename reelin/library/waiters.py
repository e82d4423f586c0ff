"""The lines in which jobs wait for their sites, and the leave to fetch that the sites gave. Both are rows of `jobs`.

A job waits while `awaiting_lease_since` is set, whether its workflow has been started or not; it may fetch while
`lease` is. A site's workflow decides whose turn it is, and nothing else makes a lease: so one that was taken away is
not used, whatever was sent to whom meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import BATCH_KINDS, UNFINISHED_STATES, Kind, State
from reelin.contracts.sites import Ask, Lease, LeasesSeen, Waiters
from reelin.library.database import Database
from reelin.library.following import follow, follow_all
from reelin.library.records import JobRecord
from reelin.library.rows import among, now, record, write, write_one
from reelin.library.tables import UtcDateTime, jobs, sites
from reelin.library.unbroken import unbroken

#: Jobs of these kinds need no lease.
_NO_DOWNLOADS = (*sorted(BATCH_KINDS), Kind.INFO)
_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
#: Owners, and sites, that are looked at in one go.
_MANY = 500

WAITS = jobs.c.awaiting_lease_since.is_not(None)
#: Accepted, let go, and not yet known to Temporal.
OUTBOX = and_(~jobs.c.held, jobs.c.state == State.QUEUED, jobs.c.dispatched_at.is_(None))
_DOWNLOAD = jobs.c.kind.not_in(_NO_DOWNLOADS)
#: Whose turn it is, in the outbox and in a site's line.
IN_OUTBOX = (jobs.c.priority, jobs.c.submitted_at, jobs.c.position, jobs.c.id)
_IN_LINE = (jobs.c.priority, jobs.c.awaiting_lease_since, *IN_OUTBOX[1:])
_ASKED = (jobs.c.run, jobs.c.owner, *_IN_LINE)


class WaiterStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def sites(self) -> list[str]:
        """Those for which somebody waits, or that have let somebody in."""
        async with self._database.reading() as connection:
            waited_for = page = await distinct_values(connection, jobs.c.site, WAITS)
            while len(page) == _MANY:
                page = await distinct_values(connection, jobs.c.site, and_(WAITS, jobs.c.site > page[-1]))
                waited_for += page
            holding = await connection.execute(select(jobs.c.site).where(jobs.c.lease.is_not(None)).distinct())
            return sorted({*waited_for, *(site for site in holding.scalars() if site)})

    @unbroken
    async def sites_in_outbox(self) -> list[str]:
        """Those of the jobs that Temporal does not know yet; some hundreds at most."""
        async with self._database.reading() as connection:
            return await distinct_values(connection, jobs.c.site, OUTBOX)

    @unbroken
    async def line_up_site(self, site: str, *, at_most: int) -> list[Ask]:
        """Takes downloads of a site out of the outbox and into its line, the most urgent ones first."""
        query = select(jobs.c.id).where(OUTBOX, jobs.c.site == site, _DOWNLOAD).order_by(*IN_OUTBOX).limit(at_most)
        async with self._database.writing() as connection:
            job_ids = (await connection.execute(query)).scalars().all()
            return await _line_up(connection, job_ids)

    @unbroken
    async def line_up(self, job_ids: Collection[str]) -> list[tuple[str, Ask]]:
        """The same for these of any site, where they still are in the outbox; each with its site."""
        async with self._database.writing() as connection:
            asks = await _line_up(connection, job_ids)
            named = await connection.execute(select(jobs.c.id, jobs.c.site).where(among(jobs.c.id, job_ids)))
            site_of = {row.id: row.site or "" for row in named}
            return [(site_of[ask.job_id], ask) for ask in asks]

    @unbroken
    async def front(self, site: str, *, at_most: int) -> Waiters:
        """Whose turn is next, for each owner: by priority, then by how long they wait."""
        async with self._database.reading() as connection:
            mine = and_(WAITS, jobs.c.site == site)
            owners = await distinct_values(connection, jobs.c.owner, mine)
            if not owners:
                return Waiters()
            each = max(1, at_most // len(owners))
            of_owner = [and_(mine, jobs.c.owner == owner) for owner in owners[:at_most]]
            first = [first_of(which, each, *_ASKED, order=_IN_LINE) for which in of_owner]
            rows = (await connection.execute(union_all(*first))).all()
            total = await connection.scalar(select(func.count()).select_from(jobs).where(mine))
            return Waiters(front=_in_order(rows), total=total or 0)

    @unbroken
    async def leases(self, site: str) -> tuple[Lease, ...]:
        """All that the site has given, and that nobody gave back."""
        query = select(jobs).where(jobs.c.lease.is_not(None), jobs.c.site == site)
        async with self._database.reading() as connection:
            held = [record(row) for row in await connection.execute(query)]
        since = now().timestamp()
        return tuple(
            Lease(job_id=job.id, run=job.run, number=job.lease or 0, owner=job.owner, since=since) for job in held
        )

    @unbroken
    async def grant(self, leases: Sequence[Lease]) -> list[JobRecord]:
        """Gives each to its job, if it still waits; returns the jobs that have theirs. Done twice, it says the same.

        They count as known to Temporal from now on: whoever grants starts them.
        """
        moment = now()
        async with self._database.writing() as connection:
            granted = []
            for lease in leases:
                mine = (jobs.c.id == lease.job_id, jobs.c.run == lease.run)
                job = await write_one(
                    connection,
                    *mine,
                    WAITS,
                    lease=lease.number,
                    state=State.QUEUED,
                    next_attempt_at=None,
                    dispatched_at=func.coalesce(jobs.c.dispatched_at, moment),
                )
                if job is not None:
                    await follow(connection, job.id, State.QUEUED)
                else:
                    again = select(jobs).where(*mine, jobs.c.lease == lease.number)
                    row = (await connection.execute(again)).one_or_none()
                    job = None if row is None else record(row)
                granted += [] if job is None else [job]
            return granted

    @unbroken
    async def put_back(self, leases: Sequence[Lease]) -> None:
        """Into the line, without the lease: Temporal could not take them yet."""
        if not leases:
            return
        async with self._database.writing() as connection:
            for lease in leases:
                await _wait_again(connection, lease, jobs.c.state == State.QUEUED, dispatched_at=None)

    @unbroken
    async def give_back(self, job_id: str, lease: int) -> None:
        """From now on the job fetches nothing with it. Done twice, or late, it changes nothing."""
        async with self._database.writing() as connection:
            await write(connection, jobs.c.id == job_id, jobs.c.lease == lease, lease=None)

    @unbroken
    async def check(self, leases: Sequence[Lease], expired: Collection[int]) -> LeasesSeen:
        """How the leases stand in the rows. The holder of an `expired` one that does not run stands in line again:
        what was to use it asks first."""
        by_id = {lease.job_id: lease for lease in leases}
        gone, missing = [], []
        async with self._database.writing() as connection:
            rows = await connection.execute(select(jobs).where(among(jobs.c.id, list(by_id))))
            found = {row.id: record(row) for row in rows}
            for job_id, lease in by_id.items():
                job = found.get(job_id)
                if job is None or job.lease != lease.number:
                    gone.append(lease.number)
                elif job.state is not State.RUNNING and lease.number in expired:
                    await _wait_again(connection, lease)
                    gone.append(lease.number)
                elif job.state is not State.RUNNING:
                    missing.append(lease.number)
        return LeasesSeen(gone=tuple(gone), missing=tuple(missing))


async def distinct_values(
    connection: AsyncConnection, column: ColumnElement[Any], which: ColumnElement[bool], *, at_most: int = _MANY
) -> list[str]:
    """By jumping from one to the next in an index: 100,000 rows of one are one step."""
    first = select(func.min(column).label("value"), literal(1).label("step")).where(which)
    jump = first.cte("jump", recursive=True)
    following = select(func.min(column)).where(which, column > jump.c.value).scalar_subquery()
    jump = jump.union_all(select(following, jump.c.step + 1).where(jump.c.value.is_not(None), jump.c.step < at_most))
    found = await connection.execute(select(jump.c.value).where(jump.c.value.is_not(None)))
    return list(found.scalars())


async def wait_for_lease(
    connection: AsyncConnection, *which: ColumnElement[bool], until: datetime | None = None, **values: Any
) -> JobRecord | None:
    """Puts a job in its site's line, where it is not there yet; None where nothing had to be changed. `until`: when the
    site opens, where its own row does not know that yet."""
    idle = (*which, jobs.c.state.in_(_UNFINISHED), ~WAITS, ~jobs.c.cancel_requested, ~jobs.c.pause_requested)
    job = await write_one(connection, *idle, **{**_waiting(until), **values})
    if job is not None:
        await follow(connection, job.id, State.WAITING)
    return job


async def _wait_again(connection: AsyncConnection, lease: Lease, *which: ColumnElement[bool], **values: Any) -> None:
    """Puts its holder in line, without the lease. One that is to end or to pause only loses it: no site decides when
    that happens."""
    mine = (jobs.c.id == lease.job_id, jobs.c.lease == lease.number, *which)
    if await write(connection, *mine, ~jobs.c.cancel_requested, ~jobs.c.pause_requested, **_waiting(), **values):
        await follow(connection, lease.job_id, State.WAITING)
    else:
        await write(connection, *mine, lease=None)


def _waiting(until: datetime | None = None) -> dict[str, Any]:
    """Whoever was in line before in this run, and comes back after a failure, has kept its place.

    `next_attempt_at`: when the site opens, as far as is known.
    """
    since = func.coalesce(jobs.c.lined_up_at, now())
    shut = select(sites.c.cooldown_until).where(sites.c.site == jobs.c.site, sites.c.cooldown_until > now())
    return {
        "state": State.WAITING,
        "lined_up_at": since,
        "awaiting_lease_since": since,
        "next_attempt_at": func.coalesce(shut.scalar_subquery(), literal(until, UtcDateTime)),
        "lease": None,
    }


async def _line_up(connection: AsyncConnection, job_ids: Collection[str]) -> list[Ask]:
    if not job_ids:
        return []
    still = (among(jobs.c.id, list(job_ids)), OUTBOX, ~jobs.c.pause_requested, ~jobs.c.cancel_requested)
    await write(connection, *still, **_waiting())
    rows = (await connection.execute(select(*_ASKED).where(among(jobs.c.id, list(job_ids)), WAITS))).all()
    await follow_all(connection, [row.id for row in rows], State.WAITING)
    return list(_in_order(rows))


def first_of(
    which: ColumnElement[bool], number: int, *columns: ColumnElement[Any], order: Sequence[ColumnElement[Any]]
) -> Any:
    """So many of the jobs, as one term of a union."""
    return select(select(*columns).where(which).order_by(*order).limit(number).subquery())


def _in_order(rows: Sequence[Any]) -> tuple[Ask, ...]:
    def turn(row: Any) -> tuple[Any, ...]:
        return (row.priority, row.awaiting_lease_since, row.submitted_at, row.position or 0, row.id)

    return tuple(ask_of(row) for row in sorted(rows, key=turn))


def ask_of(job: JobRecord | Row[Any]) -> Ask:
    """Of a job that stands in its site's line."""
    since = job.awaiting_lease_since.timestamp() if job.awaiting_lease_since else 0
    return Ask(job_id=job.id, run=job.run, owner=job.owner, priority=job.priority, since=since)
