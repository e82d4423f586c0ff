"""Items follow their jobs: a batch is counted and listed by its own rows, without looking at each job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import FINAL_STATES, Counts, State
from reelin.library.rows import write
from reelin.library.tables import items, jobs

#: A batch that ended so is looked at again when one of its items is run again by itself.
_REVISABLE = (State.COMPLETED, State.PARTIAL, State.FAILED)


async def follow(connection: AsyncConnection, job_id: str, state: State, size_bytes: int | None = None) -> None:
    """Takes the job's new state over into every batch that has it."""
    values: dict[str, Any] = {"state": state}
    if state in FINAL_STATES:
        values |= {"released": True, "size_bytes": size_bytes}
    done = await connection.execute(update(items).where(items.c.job_id == job_id, ~items.c.settled).values(**values))
    if done.rowcount and state in FINAL_STATES:
        for batch_id in await _ended_batches(connection, job_id):
            await conclude(connection, batch_id)


async def _ended_batches(connection: AsyncConnection, job_id: str) -> Sequence[str]:
    query = (
        select(items.c.batch_id)
        .join_from(items, jobs, items.c.batch_id == jobs.c.id)
        .where(items.c.job_id == job_id, jobs.c.state.in_(_REVISABLE))
        .distinct()
    )
    return (await connection.execute(query)).scalars().all()


async def conclude(connection: AsyncConnection, batch_id: str, state: State | None = None) -> State:
    """Writes down how the batch ended, by its items where `state` does not say it; returns its state."""
    counts, _ = await count(connection, batch_id)
    state = state or _state(counts)
    values: dict[str, Any] = {"state": state, "result": counts.model_dump(), "failure": None, "failure_kind": None}
    if state is State.FAILED:
        failure = await _most_frequent(connection, batch_id, counts)
        values |= {"failure": failure.model_dump(mode="json"), "failure_kind": failure.kind}
    await write(connection, jobs.c.id == batch_id, **values)
    await follow(connection, batch_id, state)  # it may be an item itself
    return state


async def count(connection: AsyncConnection, batch_id: str) -> tuple[Counts, int]:
    """The batch's items by state, and the bytes of those that are done."""
    query = (
        select(items.c.state, items.c.skipped, func.count(), func.sum(items.c.size_bytes))
        .where(items.c.batch_id == batch_id)
        .group_by(items.c.state, items.c.skipped)
    )
    found: dict[str, int] = {}
    size = 0
    for state, skipped, number, size_bytes in await connection.execute(query):
        # What did not arrive in whole failed: a playlist inside the batch may have ended in part.
        name = "skipped" if skipped else "failed" if state == State.PARTIAL else str(state)
        found[name] = found.get(name, 0) + number
        size += int(size_bytes or 0)
    return Counts(total=sum(found.values()), **found), size


def _state(counts: Counts) -> State:
    done = counts.completed + counts.skipped
    if counts.failed:
        return State.PARTIAL if done else State.FAILED
    return State.COMPLETED if done or not counts.total else State.CANCELLED


async def _most_frequent(connection: AsyncConnection, batch_id: str, counts: Counts) -> Failure:
    query = (
        select(jobs.c.failure_kind)
        .join_from(items, jobs, items.c.job_id == jobs.c.id)
        .where(items.c.batch_id == batch_id, jobs.c.failure_kind.is_not(None))
        .group_by(jobs.c.failure_kind)
        .order_by(func.count().desc(), jobs.c.failure_kind)
        .limit(1)
    )
    kind = FailureKind((await connection.execute(query)).scalar() or FailureKind.INTERNAL)
    return Failure(
        kind=kind,
        message=f"None of the {counts.total} items could be downloaded; the most frequent failure is {kind}.",
        remedy=REMEDIES[kind],
        retryable=True,
    )
