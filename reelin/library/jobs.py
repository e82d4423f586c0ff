"""The jobs that people submitted: the outbox that the dispatcher empties, and the index that people read.

Every change of a job names the run it belongs to and leaves final states alone, so that an activity that runs twice,
or late, changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, literal, or_, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import FINAL_STATES, UNFINISHED_STATES, Kind, State, Throughput
from reelin.library.database import Database
from reelin.library.following import TAKEN_OVER, follow, taking_over
from reelin.library.forgetting import Forgetting
from reelin.library.holding import end_line
from reelin.library.pages import JobFilter, Order, Page
from reelin.library.records import JobRecord
from reelin.library.rows import find, find_batch, get, newest_version, now, record, write, write_one
from reelin.library.standing import describe, note_ended, note_running
from reelin.library.submissions import NewJob, Submissions, Submitted
from reelin.library.tables import items, jobs
from reelin.library.unbroken import unbroken
from reelin.library.waiters import IN_OUTBOX, OUTBOX, distinct_values, first_of, wait_for_lease
from reelin.library.wishes import Wish, WishStore

_FINAL = tuple(sorted(FINAL_STATES))
_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
#: Of the outbox: sites that one statement looks at, and jobs of each where there are very many sites.
_TERMS, _FEWEST_OF_A_SITE = 100, 4


class JobStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._submissions = Submissions(database)
        self._wishes = WishStore(database)
        self._forgetting = Forgetting(database)

    # What people do.

    async def submit(self, new: NewJob) -> Submitted:
        """Stores the job, or finds it: one that runs is joined, one that is done is answered.

        A job that failed or was cancelled is started again, one that is done only with `force`.
        """
        return await self._submissions.submit(new)

    async def settle(self) -> None:
        """Returns when every submission so far is stored or refused."""
        await self._submissions.settle()

    async def retry(self, job_id: str) -> JobRecord:
        """Starts a failed or cancelled job again. Raises NotFound, Conflict."""
        job, _ = await self._wishes.one(Wish.RETRY, job_id)
        return job

    async def request_cancel(self, job_id: str, *, keep_partial: bool) -> JobRecord:
        """Notes that the job is to end; one that Temporal does not know yet ends here. Raises NotFound, Conflict."""
        job, _ = await self._wishes.one(Wish.CANCEL, job_id, keep_partial=keep_partial)
        return job

    async def request_pause(self, job_id: str) -> JobRecord:
        """Notes that the job is to stand still; one that Temporal does not know yet does so at once.

        Raises NotFound, Conflict.
        """
        job, _ = await self._wishes.one(Wish.PAUSE, job_id)
        return job

    async def request_resume(self, job_id: str) -> JobRecord:
        """Takes the wish to pause back. Raises NotFound, Conflict."""
        job, _ = await self._wishes.one(Wish.RESUME, job_id)
        return job

    async def forget(self, job_id: str) -> None:
        """Deletes the job, and with a batch those of its items that nobody else wants; files stay. Raises NotFound."""
        await self._forgetting.forget(job_id)

    async def forgotten_with(self, batch_id: str) -> list[str]:
        """The playlists inside a batch that are deleted with it."""
        return await self._forgetting.playlists_of(batch_id)

    # What people read.

    @unbroken
    async def get(self, job_id: str) -> JobRecord:
        async with self._database.reading() as connection:
            return await get(connection, job_id)

    @unbroken
    async def find(self, job_id: str) -> JobRecord | None:
        async with self._database.reading() as connection:
            return await find(connection, job_id)

    @unbroken
    async def page(self, wanted: JobFilter, *, sort: str, limit: int, cursor: str | None) -> Page[JobRecord]:
        order = Order.parse(sort, *wanted.order)
        query = wanted.page(order, cursor, limit)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        shown = rows[:limit]
        more = order.encode(shown[-1]) if len(rows) > limit else None
        return Page(tuple(record(row) for row in shown), more)

    @unbroken
    async def counts(self, wanted: JobFilter) -> dict[State, int]:
        """Jobs by state, for the filter without its states."""
        async with self._database.reading() as connection:
            found = {State(state): count for state, count in (await connection.execute(wanted.tally())).all()}
        return {state: found.get(state, 0) for state in State}

    @unbroken
    async def newest_version(self) -> int:
        """The greatest that was given so far: whatever changes from now on has a greater one. 0 in an empty library."""
        async with self._database.reading() as connection:
            return int((await connection.execute(select(newest_version()))).scalar_one())

    @unbroken
    async def versions_since(self, version: int, job_id: str = "", *, limit: int = 500) -> list[tuple[str, int]]:
        """(job id, version) of the jobs that come after (`version`, `job_id`) in the order of changes: what a reader
        has missed. Many jobs may have the same version, so a page is followed by what comes after its last pair; all
        of `version` itself counts as read where no id is given.

        Without those that a batch holds back.
        """
        after = jobs.c.version > version
        if job_id:
            after = tuple_(jobs.c.version, jobs.c.id) > tuple_(literal(version), literal(job_id))
        query = select(jobs.c.id, jobs.c.version).where(~jobs.c.held, after)
        return await self._versions(query.order_by(jobs.c.version, jobs.c.id).limit(limit))

    @unbroken
    async def ended_since(self, version: int, *, limit: int = 10_000) -> list[tuple[str, int]]:
        """The same of final jobs, the newest ones first."""
        ended = (~jobs.c.held, jobs.c.version > version, jobs.c.state.in_(_FINAL))
        query = select(jobs.c.id, jobs.c.version).where(*ended)
        return await self._versions(query.order_by(jobs.c.version.desc()).limit(limit))

    @unbroken
    async def unfinished_versions(self, *, limit: int = 10_000) -> list[tuple[str, int]]:
        """The same of unfinished jobs, those that were submitted first."""
        query = select(jobs.c.id, jobs.c.version).where(~jobs.c.held, jobs.c.state.in_(_UNFINISHED))
        return await self._versions(query.order_by(jobs.c.submitted_at).limit(limit))

    async def _versions(self, query: Any) -> list[tuple[str, int]]:
        async with self._database.reading() as connection:
            return [(row.id, row.version) for row in await connection.execute(query)]

    async def many(self, job_ids: Iterable[str]) -> list[JobRecord]:
        """The jobs with these ids, in no order; unknown ids are left out."""
        wanted = list(job_ids)
        found: list[JobRecord] = []
        for start in range(0, len(wanted), 500):
            found += await self._list(select(jobs).where(jobs.c.id.in_(wanted[start : start + 500])))
        return found

    @unbroken
    async def tally(self) -> dict[State, int]:
        """All jobs by state, items of batches included."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        async with self._database.reading() as connection:
            found = {State(state): count for state, count in (await connection.execute(query)).all()}
        return {state: found.get(state, 0) for state in State}

    @unbroken
    async def throughput(self, seconds: float) -> Throughput:
        """What the last so many seconds brought; batches count by their items."""
        since = now() - timedelta(seconds=seconds)
        query = select(jobs.c.state, func.count(), func.sum(jobs.c.size_bytes)).group_by(jobs.c.state)
        query = query.where(jobs.c.finished_at >= since, jobs.c.kind.in_((Kind.AUTO, Kind.VIDEO)))
        async with self._database.reading() as connection:
            found = {row[0]: (row[1], int(row[2] or 0)) for row in await connection.execute(query)}
        completed, size = found.get(State.COMPLETED, (0, 0))
        return Throughput(completed=completed, failed=found.get(State.FAILED, (0, 0))[0], bytes=size)

    async def dispatched_pages(self, *, size: int = 1000) -> AsyncIterator[list[JobRecord]]:
        """All unfinished jobs that Temporal was told of, some at a time. What waits to be started is not looked at."""
        known = (~jobs.c.held, jobs.c.state.in_(_UNFINISHED), jobs.c.dispatched_at.is_not(None))
        query = select(jobs).where(*known).order_by(jobs.c.id).limit(size)
        page = await self._list(query)
        while page:
            yield page
            page = await self._list(query.where(jobs.c.id > page[-1].id)) if len(page) == size else []

    # What the dispatcher and the reconciler do.

    @unbroken
    async def undispatched(self, *, limit: int = 500) -> list[JobRecord]:
        """The front of the outbox: accepted, and not yet known to Temporal. Most urgent first, then in turn from each
        site. Looks at some of each site, however many there are."""
        async with self._database.reading() as connection:
            of_site = [jobs.c.site == site for site in await distinct_values(connection, jobs.c.site, OUTBOX)]
            each = max(_FEWEST_OF_A_SITE, 2 * limit // (1 + len(of_site)))
            mine = (and_(OUTBOX, site) for site in (*of_site, jobs.c.site.is_(None)))
            first = [first_of(which, each, *jobs.columns, order=IN_OUTBOX) for which in mine]
            found: list[JobRecord] = []
            for start in range(0, len(first), _TERMS):
                rows = await connection.execute(union_all(*first[start : start + _TERMS]))
                found += [record(row) for row in rows]
        return _in_turn(found)[:limit]

    @unbroken
    async def mark_dispatched(self, started: Iterable[tuple[str, int]]) -> list[str]:
        """Notes (job id, run) pairs that Temporal has; returns the ids whose cancel was asked for meanwhile."""
        pairs = list(started)
        if not pairs:
            return []
        mine = or_(*(and_(jobs.c.id == job_id, jobs.c.run == run) for job_id, run in pairs))
        async with self._database.writing() as connection:
            await connection.execute(update(jobs).where(mine).values(dispatched_at=now()))
            cancelled = await connection.execute(select(jobs.c.id).where(mine, jobs.c.cancel_requested))
            return [row.id for row in cancelled]

    async def dispatch_again(self, job_id: str, run: int) -> None:
        """Temporal does not know the workflow (any more): put the job back into the outbox."""
        anew = {"state": State.QUEUED, "dispatched_at": None, "next_attempt_at": None, "lease": None, "attempt": 0}
        await self._change(job_id, run, **anew)

    # What the work reports.

    @unbroken
    async def begin(self, job_id: str, run: int, attempt: int, *, with_lease: bool = False) -> JobRecord | None:
        """Marks the job running, and returns it as it then stands: the caller looks whether it may go on.

        None if the job was forgotten. A job of a newer run, a final one, or one that someone wants to end or to pause
        is returned unchanged; `with_lease`, also one that has no lease (any more).
        """
        async with self._database.writing() as connection:
            begun = await _begin(connection, job_id, run, attempt, with_lease=with_lease)
            if begun is None:
                return await find(connection, job_id)
            await follow(connection, job_id, State.RUNNING)
            await note_running(connection, begun)
            return begun

    @unbroken
    async def give_back(self, job_id: str, run: int) -> None:
        """The worker that ran it stops: no worker has it now. A job that does not run is left as it is."""
        mine = and_(jobs.c.id == job_id, jobs.c.run == run, jobs.c.state == State.RUNNING)
        async with self._database.writing() as connection:
            if await write(connection, mine, state=State.QUEUED):
                await follow(connection, job_id, State.QUEUED)

    @unbroken
    async def wait_for_lease(self, job_id: str, run: int) -> JobRecord | None:
        """Puts the job in its site's line, and returns it as it then stands. One that is final, of another run, or to
        end or to pause is left as it is; so is one that stands there, or has a lease."""
        async with self._database.writing() as connection:
            mine = (jobs.c.id == job_id, jobs.c.run == run, jobs.c.lease.is_(None))
            return await wait_for_lease(connection, *mine) or await find(connection, job_id)

    async def note_video(self, job_id: str, run: int, title: str) -> None:
        """The URL has been looked at, and it is a video."""
        await self._change(job_id, run, title=title, kind=Kind.VIDEO)

    @unbroken
    async def wait(
        self, job_id: str, run: int, *, failure: Failure, attempt: int, until: datetime, for_lease: bool = False
    ) -> None:
        """Until the next attempt; `for_lease`, in its site's line, which may know better until when."""
        values = {"attempt": attempt, **_failure_values(failure)}
        async with self._database.writing() as connection:
            mine = (jobs.c.id == job_id, jobs.c.run == run)
            if not for_lease or not await wait_for_lease(connection, *mine, until=until, **values):
                await change(connection, job_id, run, state=State.WAITING, next_attempt_at=until, **values)

    @unbroken
    async def fail(self, job_id: str, run: int, *, failure: Failure) -> None:
        """A batch with what it has in line."""
        ended = {"state": State.FAILED, "finished_at": now(), "next_attempt_at": None, **_failure_values(failure)}
        async with self._database.writing() as connection:
            if await change(connection, job_id, run, **ended) and await find_batch(connection, job_id):
                await end_line(connection, job_id, failure=failure)

    @unbroken
    async def pause(self, job_id: str, run: int) -> bool:
        """Marks the job paused, if that is still wanted; says whether it is.

        Its workflow says so: Temporal knows the job, whether that was noted or not, and has to be told when it goes on.
        """
        async with self._database.writing() as connection:
            job = await find(connection, job_id)
            if job is None or job.run != run or job.state in FINAL_STATES or not job.pause_requested:
                return False
            if job.state is not State.PAUSED or job.dispatched_at is None:
                stands = {"state": State.PAUSED, "next_attempt_at": None, "dispatched_at": job.dispatched_at or now()}
                await change(connection, job_id, run, **stands)
            return True

    @unbroken
    async def cancel(self, job_id: str, run: int) -> None:
        """A batch with what it holds."""
        ended = {"state": State.CANCELLED, "finished_at": now(), "next_attempt_at": None}
        async with self._database.writing() as connection:
            if await change(connection, job_id, run, **ended) and await find_batch(connection, job_id):
                await end_line(connection, job_id)

    @unbroken
    async def complete_info(self, job_id: str, run: int, *, title: str, result: dict[str, Any]) -> None:
        """Fills in the library's entry for this URL too, if someone wants the video."""
        async with self._database.writing() as connection:
            if await change(connection, job_id, run, **completed_values(title=title, result=result)):
                job = await get(connection, job_id)
                await describe(connection, job.owner, job.url or "", result)

    @unbroken
    async def _change(self, job_id: str, run: int, **values: Any) -> None:
        async with self._database.writing() as connection:
            await change(connection, job_id, run, **values)

    @unbroken
    async def _list(self, query: Any) -> list[JobRecord]:
        async with self._database.reading() as connection:
            return [record(row) for row in (await connection.execute(query)).all()]


async def _begin(
    connection: AsyncConnection, job_id: str, run: int, attempt: int, *, with_lease: bool
) -> JobRecord | None:
    moment = now()
    idle = (jobs.c.id == job_id, jobs.c.run == run, jobs.c.state.in_(_UNFINISHED))
    wanted = (~jobs.c.cancel_requested, ~jobs.c.pause_requested)
    leave = (jobs.c.lease.is_not(None),) if with_lease else ()
    another = or_(jobs.c.state != State.RUNNING, jobs.c.attempt != attempt)
    values = {
        "state": State.RUNNING,
        "attempt": attempt,
        "started_at": func.coalesce(jobs.c.started_at, moment),
        "dispatched_at": func.coalesce(jobs.c.dispatched_at, moment),
        "next_attempt_at": None,
        "resumed": False,
    }
    return await write_one(connection, *idle, *wanted, *leave, another, **values)


def _in_turn(found: Iterable[JobRecord]) -> list[JobRecord]:
    """By priority, then the first of each site, then the second."""
    turns: Counter[str | None] = Counter()
    order: list[tuple[int, int, datetime, int, JobRecord]] = []
    for number, job in enumerate(found):
        order.append((job.priority, turns[job.site], job.submitted_at, number, job))
        turns[job.site] += 1
    return [job for *_, job in sorted(order, key=lambda each: each[:-1])]


async def change(connection: AsyncConnection, job_id: str, run: int, **values: Any) -> bool:
    """Changes an unfinished job of this run; says whether there was one."""
    mine = (jobs.c.id == job_id, jobs.c.run == run, jobs.c.state.in_(_UNFINISHED))
    if not await write(connection, *mine, **values):
        return False
    if "state" in values:
        await follow(connection, job_id, values["state"], values.get("size_bytes"))
        await note_ended(connection, job_id, values["state"])
    elif not values.keys().isdisjoint(TAKEN_OVER):
        await connection.execute(taking_over(items.c.job_id == job_id))
    return True


def completed_values(*, title: str, result: dict[str, Any], size_bytes: int | None = None) -> dict[str, Any]:
    return {
        "state": State.COMPLETED,
        "title": title,
        "result": result,
        "size_bytes": size_bytes,
        "finished_at": now(),
        "next_attempt_at": None,
        "failure": None,
        "failure_kind": None,
    }


def _failure_values(failure: Failure) -> dict[str, Any]:
    return {"failure": failure.model_dump(mode="json"), "failure_kind": failure.kind}
