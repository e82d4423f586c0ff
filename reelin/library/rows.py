"""What every writer of the jobs table shares: its clock, its versions, and rows as records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import Kind, State
from reelin.errors import NotFound
from reelin.library.records import JobRecord
from reelin.library.tables import jobs


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


def record(row: Row[Any]) -> JobRecord:
    return record_of({name: value for name, value in row._mapping.items() if name != "_key"})


def record_of(values: Mapping[str, Any]) -> JobRecord:
    return JobRecord(**{**values, "kind": Kind(values["kind"]), "state": State(values["state"])})
