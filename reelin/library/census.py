"""How a batch stands just now, and which of its items have changed: what those who watch it ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import FINAL_STATES, UNFINISHED_STATES, Counts, ItemsWait, Kind, State
from reelin.library.following import count
from reelin.library.records import JobRecord
from reelin.library.rows import record
from reelin.library.tables import items, jobs
from reelin.library.waits import items_waiting

_FINAL = tuple(sorted(FINAL_STATES))
_UNFINISHED = tuple(sorted(UNFINISHED_STATES))
_BEGUN = (State.RUNNING, State.WAITING, State.PAUSED)


@dataclass(frozen=True, slots=True)
class BegunItem:
    """A job that runs, or that waits or is paused, and at how many positions of the batch it stands."""

    job_id: str
    kind: Kind
    state: State
    positions: int


@dataclass(frozen=True, slots=True)
class Standing:
    """`done_bytes` are those of the items that are done; `ended` is the version of the batch's end, if it has ended;
    `waits` is what those that stand still wait for."""

    counts: Counts
    done_bytes: int
    begun: tuple[BegunItem, ...]
    ended: int | None = None
    waits: tuple[ItemsWait, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """A job as it stands in a batch: `state` is the job's, unless the item is `settled`."""

    job: JobRecord
    batch_id: str
    position: int
    state: State
    settled: bool
    skipped: bool

    @property
    def record(self) -> JobRecord:
        """The job's, which says whether it was skipped here."""
        return replace(self.job, skipped=self.skipped)


async def standing(connection: AsyncConnection, batch_id: str) -> Standing:
    counts, done_bytes = await count(connection, batch_id)
    waits = await items_waiting(connection, batch_id, counts)
    end = select(jobs.c.version).where(jobs.c.id == batch_id, jobs.c.state.in_(_FINAL))
    ended = (await connection.execute(end)).scalar()
    return Standing(counts, done_bytes, await _begun(connection, batch_id), ended, tuple(waits))


async def _begun(connection: AsyncConnection, batch_id: str) -> tuple[BegunItem, ...]:
    query = (
        select(jobs.c.id, jobs.c.kind, items.c.state, func.count().label("positions"))
        .join_from(items, jobs, items.c.job_id == jobs.c.id)
        .where(items.c.batch_id == batch_id, items.c.state.in_(_BEGUN))
        .group_by(jobs.c.id, jobs.c.kind, items.c.state)
    )
    rows = await connection.execute(query)
    return tuple(BegunItem(row.id, Kind(row.kind), State(row.state), row.positions) for row in rows)


async def in_flight(connection: AsyncConnection, batch_id: str, limit: int) -> list[ItemRecord]:
    mine = and_(items.c.batch_id == batch_id, items.c.released, items.c.state.in_(_UNFINISHED))
    query = _items().where(mine).order_by(items.c.position).limit(limit)
    return [_item(row) for row in await connection.execute(query)]


async def changed_since(
    connection: AsyncConnection, batch_id: str, version: int, position: int, limit: int
) -> Sequence[ItemRecord]:
    """Those that have left the line and changed after (`version`, `position`), oldest change first."""
    found = await _changed_with(connection, batch_id, version, position, limit) if position else []
    # An expression and not the bare column, so that the newest jobs are looked at first and not all of the batch.
    of_batch = items.c.batch_id.concat("") == batch_id
    query = _items().where(jobs.c.version > version, of_batch, items.c.released)
    query = query.order_by(jobs.c.version, items.c.position).limit(limit - len(found))
    return found + [_item(row) for row in await connection.execute(query)] if len(found) < limit else found


async def _changed_with(
    connection: AsyncConnection, batch_id: str, version: int, position: int, limit: int
) -> list[ItemRecord]:
    """The rest of what one statement changed: 100,000 items may have the same version."""
    same = jobs.c.version + 0 == version  # here the batch in its order comes first, and no index of versions
    query = _items().where(items.c.batch_id == batch_id, items.c.position > position, items.c.released, same)
    return [_item(row) for row in await connection.execute(query.order_by(items.c.position).limit(limit))]


def _items() -> Select[Any]:
    place = [items.c[name].label(f"_{name}") for name in ("batch_id", "position", "state", "settled", "skipped")]
    return select(*jobs.columns, *place).join_from(jobs, items, items.c.job_id == jobs.c.id)


def _item(row: Row[Any]) -> ItemRecord:
    place = row._mapping
    return ItemRecord(
        job=record(row),
        batch_id=place["_batch_id"],
        position=place["_position"],
        state=State(place["_state"]),
        settled=place["_settled"],
        skipped=place["_skipped"],
    )
