"""Accepting jobs: stored before anyone is told so, many in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import UNFINISHED_STATES, Kind, State
from reelin.contracts.options import Options
from reelin.errors import Unavailable
from reelin.library.database import Database
from reelin.library.records import JobRecord
from reelin.library.rows import get, microseconds, next_version, now, record, record_of
from reelin.library.tables import forgotten, jobs

LARGEST_GROUP = 200
_EMPTY_ROW: dict[str, Any] = {column.name: None for column in jobs.columns}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A checked submission."""

    id: str
    kind: Kind
    url: str
    site: str
    owner: str
    preset: str
    options: Options
    priority: int = 3
    force: bool = False


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
            known = await _known(connection, group)
            unknown = {new.id for new in group} - set(known)
            last_runs = await _last_runs(connection, unknown)
            stored = [await _settled(connection, new, known, last_runs) for new in group]
            if unknown:
                await connection.execute(insert(jobs), [_row(known[job_id]) for job_id in sorted(unknown)])
            return stored


async def _known(connection: AsyncConnection, group: Sequence[NewJob]) -> dict[str, JobRecord]:
    query = select(jobs).where(jobs.c.id.in_([new.id for new in group]))
    return {row.id: record(row) for row in await connection.execute(query)}


async def _last_runs(connection: AsyncConnection, job_ids: set[str]) -> dict[str, int]:
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
        known[new.id] = _first(new, last_runs.get(new.id, 0) + 1)
    elif found.state in UNFINISHED_STATES or (found.state is State.COMPLETED and not new.force):
        return Submitted(found, fresh=False)
    else:
        known[new.id] = await restart(connection, found, new)
    return Submitted(known[new.id], fresh=True)


def _first(new: NewJob, run: int) -> JobRecord:
    moment = now()
    return record_of(
        {
            **_EMPTY_ROW,
            "id": new.id,
            "kind": new.kind,
            "url": new.url,
            "site": new.site,
            "owner": new.owner,
            "submitted_at": moment,
            "version": microseconds(moment),
            "run": run,
            **_fresh_run(new.preset, new.options, new.priority, force=new.force),
        }
    )


def _row(job: JobRecord) -> dict[str, Any]:
    return {name: getattr(job, name) for name in _EMPTY_ROW}


def _fresh_run(preset: str, options: Options, priority: int, *, force: bool) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "attempt": 0,
        "preset": preset,
        "options": options.model_dump(mode="json", exclude_defaults=True),
        "priority": priority,
        "force": force,
        "dispatched_at": None,
        "started_at": None,
        "finished_at": None,
        "next_attempt_at": None,
        "cancel_requested": False,
        "keep_partial": False,
        "failure": None,
        "failure_kind": None,
    }


async def restart(connection: AsyncConnection, job: JobRecord, new: NewJob | None = None) -> JobRecord:
    """Begins a new run of a job that is done; `new` says how, else as before."""
    moment = now()
    if new is None:
        values = _fresh_run(job.preset, Options.model_validate(job.options), job.priority, force=job.force)
    else:
        values = _fresh_run(new.preset, new.options, new.priority, force=new.force)
    await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id)
        .values(**values, submitted_at=moment, run=job.run + 1, version=next_version(moment))
    )
    return await get(connection, job.id)
