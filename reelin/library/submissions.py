"""Accepting jobs: stored before anyone is told so, many in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import BATCH_KINDS, FINAL_STATES, Kind, State
from reelin.contracts.media import Role
from reelin.contracts.options import Options
from reelin.errors import Unavailable
from reelin.library.database import Database
from reelin.library.following import follow
from reelin.library.holding import stand_in_line
from reelin.library.pausing import wake_with_another
from reelin.library.records import JobRecord
from reelin.library.rows import among, get, insert_jobs, now, record, record_of, write
from reelin.library.tables import batches, files, forgotten, jobs

LARGEST_GROUP = 200
#: Jobs whose result is files, and nothing without them.
_FILES_ARE_THE_RESULT = (Kind.AUTO, Kind.VIDEO)
_EMPTY_ROW: dict[str, Any] = {column.name: None for column in jobs.columns}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A checked submission. `preview`: if it is a playlist, it stands paused once it is expanded."""

    id: str
    kind: Kind
    url: str
    site: str
    owner: str
    preset: str
    options: Options
    priority: int = 3
    force: bool = False
    title: str | None = None
    entry: dict[str, Any] | None = None  # what its playlist said of it
    failure: Failure | None = None  # it cannot be downloaded: it is listed as failed, and never started
    preview: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands whose batch holds it until its turn comes."""

    batch_id: str
    position: int
    depth: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """`fresh` says whether this submission started a run; else the job was there already."""

    job: JobRecord
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Waiting:
    new: NewJob
    answer: asyncio.Future[Submitted]


class Submissions:
    """Those that arrive while a transaction is under way share the next one: a commit costs the same for one as for
    many. Each is answered after its commit, and fails alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, new: NewJob) -> Submitted:
        waiting = _Waiting(new, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return await waiting.answer

    async def settle(self) -> None:
        """Returns when nothing waits any more."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
                await self._answer(group)
        finally:
            self._writer = None

    async def _answer(self, group: Sequence[_Waiting]) -> None:
        try:
            stored = await self._store([waiting.new for waiting in group])
        except Exception as error:  # noqa: BLE001  it is handed to those who wait for the answer
            await self._fail(group, error)
            return
        for waiting, submitted in zip(group, stored, strict=True):
            if not waiting.answer.done():  # the one who asked may have gone
                waiting.answer.set_result(submitted)

    async def _fail(self, group: Sequence[_Waiting], error: Exception) -> None:
        """One that cannot be stored must not spoil the others; a database that does not answer fails them all."""
        if isinstance(error, Unavailable) or len(group) == 1:
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        for waiting in group:
            await self._answer([waiting])

    async def _store(self, group: Sequence[NewJob]) -> list[Submitted]:
        async with self._database.writing() as connection:
            known = await known_jobs(connection, [new.id for new in group])
            unknown = {new.id for new in group} - set(known)
            last_runs = await last_runs_of(connection, unknown)
            known = await _without_lost(connection, known)
            stored = [await _settled(connection, new, known, last_runs) for new in group]
            new_jobs = await insert_jobs(connection, [known[job_id] for job_id in sorted(unknown)]) if unknown else []
            made = {job.id: job for job in new_jobs}
            stored = [replace(each, job=made.get(each.job.id, each.job)) for each in stored]
            for new, submitted in zip(group, stored, strict=True):
                if new.preview and submitted.fresh:
                    await _note_preview(connection, submitted.job)
            return stored


async def known_jobs(connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, JobRecord]:
    """At most some thousands."""
    query = select(jobs).where(jobs.c.id.in_(job_ids))
    return {row.id: record(row) for row in await connection.execute(query)}


async def _without_lost(connection: AsyncConnection, known: dict[str, JobRecord]) -> dict[str, JobRecord]:
    """Completed jobs whose files are gone count as failed: whoever submits them gets them again."""
    done = [job.id for job in known.values() if job.state is State.COMPLETED and job.kind in _FILES_ARE_THE_RESULT]
    lost = set(done) - await with_files(connection, done)
    return {each: replace(job, state=State.FAILED) if each in lost else job for each, job in known.items()}


async def with_files(connection: AsyncConnection, job_ids: Collection[str]) -> set[str]:
    """Those of the jobs that have a media file in the library which is not missing."""
    if not job_ids:
        return set()
    there = (files.c.role == Role.MEDIA, files.c.missing_since.is_(None))
    query = select(files.c.job_id).where(files.c.job_id.in_(job_ids), *there).distinct()
    return set((await connection.execute(query)).scalars())


def empty_batch(job_id: str, run: int) -> dict[str, Any]:
    """The row of a batch that nobody has looked at."""
    return {
        "id": job_id,
        "run": run,
        "source": None,
        "cursor": 0,
        "total": None,
        "truncated": False,
        "expanded": False,
        "failure": None,
        "kept": 0,
        "preview": False,
    }


async def _note_preview(connection: AsyncConnection, job: JobRecord) -> None:
    """The wish stands where expanding looks for it. Whatever an earlier run of the playlist held is dropped."""
    await connection.execute(delete(batches).where(batches.c.id == job.id))
    values = {**empty_batch(job.id, job.run), "preview": True, "at_once": job.options.get("at_once")}
    await connection.execute(insert(batches).values(values))


async def last_runs_of(connection: AsyncConnection, job_ids: Collection[str]) -> dict[str, int]:
    """Of jobs that were forgotten."""
    if not job_ids:
        return {}
    query = select(forgotten).where(forgotten.c.id.in_(job_ids))
    return {row.id: row.run for row in await connection.execute(query)}


async def _settled(
    connection: AsyncConnection, new: NewJob, known: dict[str, JobRecord], last_runs: dict[str, int]
) -> Submitted:
    """What the submission comes to; a job that is new is only added to `known`, its row is still to be inserted."""
    found = known.get(new.id)
    if found is None:
        known[new.id] = first_run(new, last_runs.get(new.id, 0) + 1)
    elif not as_good_as_over(found):
        known[new.id] = await _wanted_by_itself(connection, found)
        return Submitted(known[new.id], fresh=found.held)
    elif found.state is State.COMPLETED and found.kind is not Kind.PLAYLIST and not new.force:
        known[new.id] = await _wanted_by_itself(connection, found)
        return Submitted(known[new.id], fresh=False)
    else:
        known[new.id] = await restart(connection, found, new)
    return Submitted(known[new.id], fresh=True)


def as_good_as_over(job: JobRecord) -> bool:
    """Whoever wants it now gets a new run: to join one that is being cancelled would be to be cancelled with it."""
    return job.state in FINAL_STATES or (job.cancel_requested and job.kind not in BATCH_KINDS)


async def _wanted_by_itself(connection: AsyncConnection, job: JobRecord) -> JobRecord:
    """So far only a batch had asked for it; from now on it stands in the list, and waits for no turn."""
    if job.standalone and not job.held:
        return job
    await wake_with_another(connection, [job.id])
    await write(connection, jobs.c.id == job.id, standalone=True, held=False, depth=0)
    return await get(connection, job.id)


def first_run(new: NewJob, run: int, place: Place | None = None) -> JobRecord:
    """The row of a job that is not there yet; in a `place` it is held."""
    moment = now()
    return record_of(
        {
            **_EMPTY_ROW,
            "id": new.id,
            "kind": new.kind,
            "url": new.url or None,
            "site": new.site or None,
            "owner": new.owner,
            "submitted_at": moment,
            "version": 0,  # until it is stored
            "run": run,
            "title": new.title,
            "entry": new.entry,
            "parent_id": place and place.batch_id,
            "position": place and place.position,
            "depth": place.depth if place else 0,
            "held": place is not None and new.failure is None,
            "standalone": place is None,
            **_fresh_run(new.preset, new.options, new.priority, force=new.force),
            **stillborn(new),
        }
    )


def stillborn(new: NewJob) -> dict[str, Any]:
    """What is different where the job fails before it begins."""
    if new.failure is None:
        return {}
    return {
        "state": State.FAILED,
        "finished_at": now(),
        "failure": new.failure.model_dump(mode="json"),
        "failure_kind": new.failure.kind,
    }


def _fresh_run(preset: str, options: Options, priority: int, *, force: bool) -> dict[str, Any]:
    return {
        **_FRESH,
        "preset": preset,
        "options": options.model_dump(mode="json", exclude_defaults=True),
        "priority": priority,
        "force": force,
    }


_FRESH: dict[str, Any] = {
    "state": State.QUEUED,
    "attempt": 0,
    "dispatched_at": None,
    "started_at": None,
    "finished_at": None,
    "next_attempt_at": None,
    "lined_up_at": None,
    "cancel_requested": False,
    "keep_partial": False,
    "pause_requested": False,
    "resumed": False,
    "lease": None,  # it was the last run's
    "failure": None,
    "failure_kind": None,
}


async def restart(
    connection: AsyncConnection, job: JobRecord, new: NewJob | None = None, *, held: bool = False
) -> JobRecord:
    """Begins a new run of a job that is over, or as good as that; `new` says how, else as before.

    `held`: when its batch lets it go. One that is submitted again, and not only tried again, stands in the list from
    now on.
    """
    moment = now()
    if new is None:
        values = _fresh_run(job.preset, Options.model_validate(job.options), job.priority, force=job.force)
    else:
        values = _fresh_run(new.preset, new.options, new.priority, force=new.force)
        if {job.kind, new.kind} <= set(_FILES_ARE_THE_RESULT):
            values["kind"] = new.kind  # who asked for a video before, and now for whatever it is, gets the playlist
    values |= {"submitted_at": moment, "run": job.run + 1, "held": held}
    values["standalone"] = job.standalone or (new is not None and not held)
    if new is not None and not held:
        values["depth"] = 0  # someone asked for it by itself: it may be taken apart as far as any other
    await write(connection, jobs.c.id == job.id, **values)
    await follow(connection, job.id, State.QUEUED)
    await stand_in_line(connection, [job.id])
    return await get(connection, job.id)


async def restart_all(connection: AsyncConnection, job_ids: Sequence[str], *, held: bool = True) -> None:
    """The same for many, by default in line in their batch. Those that run already are left alone."""
    over = (among(jobs.c.id, job_ids), jobs.c.state.in_(tuple(sorted(FINAL_STATES))))
    await write(connection, *over, **_FRESH, run=jobs.c.run + 1, submitted_at=now(), held=held)
