"""Items follow their jobs: a batch is counted and listed by its own rows, without looking at each job."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Update, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import FINAL_STATES, Counts, State
from reelin.library.rows import among, find_batch, write
from reelin.library.tables import batches, items, jobs

_FINAL = tuple(sorted(FINAL_STATES))
#: What lists are filtered and sorted by, besides the state: an item has it from its job, settled or not.
TAKEN_OVER = ("kind", "title", "url", "failure_kind", "submitted_at", "finished_at")


async def follow(connection: AsyncConnection, job_id: str, state: State, size_bytes: int | None = None) -> None:
    """Takes the job's new state over into every batch that has it."""
    await follow_all(connection, [job_id], state, size_bytes)


async def follow_all(
    connection: AsyncConnection, job_ids: Collection[str], state: State, size_bytes: int | None = None
) -> None:
    """The same for some hundreds at once."""
    if not job_ids:
        return
    values: dict[str, Any] = {"state": state}
    if state in FINAL_STATES:
        values |= {"released": True, "size_bytes": size_bytes}
    unsettled = {name: case((items.c.settled, items.c[name]), else_=value) for name, value in values.items()}
    done = await connection.execute(taking_over(among(items.c.job_id, job_ids)).values(**unsettled))
    if done.rowcount and state in FINAL_STATES:
        await revise(connection, await ended_batches(connection, job_ids, ~items.c.settled))


def taking_over(*which: ColumnElement[bool]) -> Update:
    """Gives items what they have of their jobs. `values()` may add to it, from the jobs too."""
    taken = {name: jobs.c[name] for name in TAKEN_OVER}
    return update(items).where(items.c.job_id == jobs.c.id, *which).values(**taken)


async def ended_batches(
    connection: AsyncConnection, job_ids: Collection[str], *which: ColumnElement[bool]
) -> dict[str, State]:
    """The batches that are over in which one of these stands, and how they ended."""
    query = (
        select(items.c.batch_id, jobs.c.state)
        .join_from(items, jobs, items.c.batch_id == jobs.c.id)
        .where(among(items.c.job_id, job_ids), jobs.c.state.in_(_FINAL), *which)
        .distinct()
    )
    return {row.batch_id: State(row.state) for row in await connection.execute(query)}


async def revise(connection: AsyncConnection, ended: Mapping[str, State]) -> None:
    """Items of these are through that were run again by themselves. What was cancelled stays so, and is counted."""
    for batch_id, state in ended.items():
        await conclude(connection, batch_id, State.CANCELLED if state is State.CANCELLED else None)


async def conclude(
    connection: AsyncConnection, batch_id: str, state: State | None = None, *, failure: Failure | None = None
) -> State:
    """Writes down how the batch ended, by its items where `state` does not say it; returns its state.

    Where listing them was given up, that is the failure that is shown: none of the items tells of it. `failure` is one
    of the batch itself.
    """
    counts, size_bytes = await count(connection, batch_id)
    batch = await find_batch(connection, batch_id)
    given_up = failure.model_dump(mode="json") if failure else batch.failure if batch else None
    state = state or _state(counts, in_part=given_up is not None)
    if state is State.CANCELLED:  # with what was not even an item yet
        counts = counts.model_copy(update={"cancelled": counts.cancelled + counts.queued, "queued": 0})
    result = {**counts.model_dump(), "truncated": bool(batch and batch.truncated)}
    values: dict[str, Any] = {"state": state, "result": result, "size_bytes": size_bytes}
    values |= {"failure": None, "failure_kind": None}
    if given_up is not None and state is not State.CANCELLED:
        values |= {"failure": given_up, "failure_kind": given_up["kind"]}
    elif state is State.FAILED:
        most_frequent = await _most_frequent(connection, batch_id, counts)
        values |= {"failure": most_frequent.model_dump(mode="json"), "failure_kind": most_frequent.kind}
    await write(connection, jobs.c.id == batch_id, **values)
    await follow(connection, batch_id, state, size_bytes)  # it may be an item itself
    return state


async def count(connection: AsyncConnection, batch_id: str) -> tuple[Counts, int]:
    """The batch's items by state, and the bytes of those that are done."""
    return (await count_all(connection, [batch_id]))[batch_id]


async def count_all(connection: AsyncConnection, batch_ids: Collection[str]) -> dict[str, tuple[Counts, int]]:
    """The same for several batches in one go. What a list holds that is no item yet counts as queued, as failed where
    listing it was given up. Of a playlist nobody knows how much that is: what is listed so far is counted."""
    query = (
        select(items.c.batch_id, items.c.state, items.c.skipped, func.count(), func.sum(items.c.size_bytes))
        .where(items.c.batch_id.in_(batch_ids))
        .group_by(items.c.batch_id, items.c.state, items.c.skipped)
    )
    found: dict[str, dict[str, int]] = {batch_id: {} for batch_id in batch_ids}
    sizes = dict.fromkeys(batch_ids, 0)
    for batch_id, state, skipped, number, size_bytes in await connection.execute(query):
        # What did not arrive in whole failed: a playlist inside the batch may have ended in part.
        name = "skipped" if skipped else "failed" if state == State.PARTIAL else str(state)
        found[batch_id][name] = found[batch_id].get(name, 0) + number
        sizes[batch_id] += int(size_bytes or 0)
    given_up = batches.c.failure.is_not(None).label("given_up")
    unlisted = select(batches.c.id, batches.c.total, given_up).where(batches.c.id.in_(batch_ids), ~batches.c.expanded)
    for row in (await connection.execute(unlisted.where(batches.c.total.is_not(None)))).all():
        missing = max(row.total - sum(found[row.id].values()), 0)
        name = "failed" if row.given_up else "queued"
        found[row.id][name] = found[row.id].get(name, 0) + missing
    return {each: (Counts(total=sum(found[each].values()), **found[each]), sizes[each]) for each in batch_ids}


def _state(counts: Counts, *, in_part: bool) -> State:
    """`in_part`: there is more than these."""
    done = counts.completed + counts.skipped
    if counts.failed or in_part:
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
