"""What every writer of the jobs table shares: its clock, its versions, and rows as records."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, String, case, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from reelin.contracts.jobs import Kind, State
from reelin.errors import NotFound
from reelin.library.records import BatchRecord, JobRecord, Sketch
from reelin.library.tables import batches, forgotten, jobs

_OF_BATCH = [column for column in batches.columns if column.name != "source"]  # which may be 10 MB


def now() -> datetime:
    return datetime.now(UTC)


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


#: What is told of a running job between two writes of its row carries the versions in between: so many at most.
ROOM = 100_000


class _Greatest(FunctionElement[int]):
    """The greatest of several numbers."""

    name = "greatest"
    inherit_cache = True


@compiles(_Greatest, "sqlite")
def _greatest_in_sqlite(element: _Greatest, compiler: SQLCompiler, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


@compiles(_Greatest, "postgresql")
def _greatest_in_postgresql(element: _Greatest, compiler: SQLCompiler, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


@functools.cache
def newest_version() -> ColumnElement[int]:
    """The greatest that any job has, or had when it was deleted; 0 where there was none. Made once: an alias copies all
    columns, which took longer than the look itself."""
    present, gone = jobs.alias("present"), forgotten.alias("gone")
    found = (select(func.max(table.c.version)).scalar_subquery() for table in (present, gone))
    return _Greatest(*(func.coalesce(each, 0) for each in found))


def next_version(moment: datetime) -> ColumnElement[int]:
    """Microseconds since the epoch, yet greater than any before in the table, whatever the clock of its writer says:
    whoever has read up to a version misses nothing that is written later.

    Jobs that one statement changes share it, and are committed at once. To tell them apart would mean to number the
    rows of each statement, and no reader needs it: those that read a page at a time go by version and id.
    """
    clock = literal(microseconds(moment), BigInteger)
    return _Greatest(clock, newest_version() + 1)


def _next_version_of_row(moment: datetime) -> ColumnElement[int]:
    return _Greatest(next_version(moment), case((jobs.c.state == State.RUNNING, jobs.c.version + ROOM), else_=0))


async def insert_jobs(connection: AsyncConnection, records: Iterable[JobRecord]) -> list[JobRecord]:
    """Adds rows, and returns them as they then stand: with their version."""
    version = (await connection.execute(select(next_version(now())))).scalar_one()
    stored = [replace(job, version=version) for job in records]
    if stored:
        await connection.execute(insert(jobs), [row_of(job) for job in stored])
    return stored


def row_of(job: JobRecord) -> dict[str, Any]:
    return {column.name: getattr(job, column.name) for column in jobs.columns}


class _Listed(FunctionElement[str]):
    """The texts of a JSON array as rows."""

    name = "listed"
    inherit_cache = True


@compiles(_Listed, "sqlite")
def _in_sqlite(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"


@compiles(_Listed, "postgresql")
def _in_postgresql(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS json)))"


def among(column: ColumnElement[str], values: Collection[str]) -> ColumnElement[bool]:
    """`column.in_(values)` with one parameter: to spell hundreds of them out takes longer than to look them up."""
    return column.bool_op("IN")(_Listed(literal(json.dumps(list(values)), String)))


async def find(connection: AsyncConnection, job_id: str) -> JobRecord | None:
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).one_or_none()
    return None if row is None else record(row)


async def get(connection: AsyncConnection, job_id: str) -> JobRecord:
    found = await find(connection, job_id)
    if found is None:
        raise NotFound("job", job_id)
    return found


async def find_batch(connection: AsyncConnection, batch_id: str) -> BatchRecord | None:
    row = (await connection.execute(select(*_OF_BATCH).where(batches.c.id == batch_id))).one_or_none()
    return None if row is None else BatchRecord(**row._mapping)


async def write(connection: AsyncConnection, *which: ColumnElement[bool], **values: Any) -> int:
    """Changes jobs, with a new version; returns how many. Whoever changes the state calls `follow` too."""
    done = await connection.execute(update(jobs).where(*which).values(**_changes(values)))
    return done.rowcount


async def write_one(connection: AsyncConnection, *which: ColumnElement[bool], **values: Any) -> JobRecord | None:
    """Changes one job, if there is such a one, and returns it as it then stands."""
    change = update(jobs).where(*which).values(**_changes(values)).returning(jobs)
    row = (await connection.execute(change)).one_or_none()
    return None if row is None else record(row)


def _changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """With what follows from them: nobody stands in a site's line who does not wait, or is to do so no more, and
    only a job that a worker has, or is to have, has a site's leave."""
    state, changes = values.get("state"), {"version": _next_version_of_row(now()), **values}
    told_to_stop = values.get("pause_requested") is True or values.get("cancel_requested") is True
    if told_to_stop or (isinstance(state, State) and state is not State.WAITING):
        changes.setdefault("awaiting_lease_since", None)
    if isinstance(state, State) and state not in (State.QUEUED, State.RUNNING):
        changes.setdefault("lease", None)
    if isinstance(state, State) and state is not State.WAITING:
        changes.setdefault("next_attempt_at", None)
    return changes


#: The columns of a `Sketch`.
SKETCHED = tuple(jobs.c[field.name] for field in fields(Sketch))


def sketch(row: Row[Any]) -> Sketch:
    values = {column.name: row._mapping[column] for column in SKETCHED}
    return Sketch(**{**values, "kind": Kind(row.kind), "state": State(row.state)})


def record(row: Row[Any]) -> JobRecord:
    return record_of({name: value for name, value in row._mapping.items() if not name.startswith("_")})


def record_of(values: Mapping[str, Any]) -> JobRecord:
    return JobRecord(**{**values, "kind": Kind(values["kind"]), "state": State(values["state"])})
