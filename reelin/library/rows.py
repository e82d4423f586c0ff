"""What every writer of the jobs table shares: its clock, its versions, and rows as records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import Kind, State
from reelin.errors import NotFound
from reelin.library.records import BatchRecord, JobRecord
from reelin.library.tables import batches, jobs

_OF_BATCH = [column for column in batches.columns if column.name != "source"]  # which may be 10 MB


def now() -> datetime:
    return datetime.now(UTC)


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def next_version(moment: datetime) -> ColumnElement[int]:
    """Microseconds since the epoch, yet always greater than before, whatever the clock does."""
    clock = microseconds(moment)
    return case((jobs.c.version >= clock, jobs.c.version + 1), else_=clock)


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
    done = await connection.execute(update(jobs).where(*which).values(**values, version=next_version(now())))
    return done.rowcount


def record(row: Row[Any]) -> JobRecord:
    return record_of({name: value for name, value in row._mapping.items() if not name.startswith("_")})


def record_of(values: Mapping[str, Any]) -> JobRecord:
    return JobRecord(**{**values, "kind": Kind(values["kind"]), "state": State(values["state"])})
