"""What jobs wait for, told from their rows: of one job, and of all items of a batch in groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Row, Select, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import MOST_WAITS, Counts, ItemsWait, State, WaitReason
from reelin.contracts.sites import COMPLAINTS
from reelin.library.records import JobRecord
from reelin.library.rows import now
from reelin.library.tables import items, jobs

#: After these failures it is something else than the next attempt that is waited for.
_AFTER = {
    "disk_full": WaitReason.DISK,
    "storage_unavailable": WaitReason.DISK,
    "resources_exhausted": WaitReason.RESOURCES,
    "not_live_yet": WaitReason.PREMIERE,
}
_TEXT = 300


@dataclass(frozen=True, slots=True)
class Standstill:
    """As much of a row as says why its job does not move. `until` is None where nothing is known, or it has passed."""

    state: State
    failure_kind: str | None
    dispatched: bool
    until: datetime | None
    due: bool = False
    held: bool = False
    in_sites_line: bool = False

    @classmethod
    def of(cls, job: JobRecord, moment: datetime) -> Standstill:
        until = job.next_attempt_at
        due = until is not None and until <= moment
        return cls(
            state=job.state,
            failure_kind=job.failure_kind,
            dispatched=job.dispatched_at is not None,
            until=None if due else until,
            due=due,
            held=job.held,
            in_sites_line=job.awaiting_lease_since is not None,
        )

    @property
    def awaits_site(self) -> bool:
        return self.state is State.WAITING and self.in_sites_line

    @property
    def reason(self) -> WaitReason | None:
        """None where it moves, or is over."""
        if self.state is State.PAUSED:
            return WaitReason.PAUSED
        if self.state is State.QUEUED:
            return WaitReason.LINE if self.held else WaitReason.WORKER if self.dispatched else WaitReason.TEMPORAL
        if self.state is not State.WAITING:
            return None
        if self.awaits_site:
            return WaitReason.SITE
        if self.due:
            return WaitReason.WORKER
        return _AFTER.get(self.failure_kind or "", WaitReason.RETRY)

    @property
    def failure(self) -> FailureKind | None:
        """What it waits after: of one in its site's line a complaint, and nothing where its moment has come."""
        if self.state is not State.WAITING or self.failure_kind is None:
            return None
        told = self.failure_kind in COMPLAINTS if self.awaits_site else not self.due
        return FailureKind(self.failure_kind) if told else None


async def items_waiting(connection: AsyncConnection, batch_id: str, counts: Counts) -> list[ItemsWait]:
    """Those that stand still, by what they wait for, most first.

    What stands in line or is paused is counted already. Of the others there are no more than the batch has in flight,
    and the database adds them up.
    """
    moment = now()
    rows = (await connection.execute(_in_flight(batch_id, moment))).all()
    groups = [(_standstill(row), row._mapping) for row in rows]
    said = await _messages(connection, [row["sample"] for at_rest, row in groups if at_rest.failure is not None])
    found = [_group(at_rest, row, said) for at_rest, row in groups if at_rest.reason is not None]
    in_line = counts.queued - sum(row["number"] for at_rest, row in groups if at_rest.state is State.QUEUED)
    found += [
        ItemsWait(reason=WaitReason.LINE, count=max(in_line, 0)),
        ItemsWait(reason=WaitReason.PAUSED, count=counts.paused),
    ]
    return added_up(found)


def added_up(waits: Iterable[ItemsWait]) -> list[ItemsWait]:
    """Those of one reason and one failure together."""
    found: dict[tuple[WaitReason, FailureKind | None], ItemsWait] = {}
    for wait in waits:
        known = found.get((wait.reason, wait.failure))
        found[wait.reason, wait.failure] = wait if known is None else _sum(known, wait)
    most_first = sorted(found.values(), key=lambda wait: (-wait.count, wait.reason, wait.failure or ""))
    return [wait for wait in most_first if wait.count][:MOST_WAITS]


def _sum(one: ItemsWait, other: ItemsWait) -> ItemsWait:
    moments = [wait.until for wait in (one, other) if wait.until is not None]
    return one.model_copy(
        update={
            "count": one.count + other.count,
            "until": min(moments, default=None),
            "attempt": max(one.attempt, other.attempt),
            "message": one.message or other.message,
            "site": one.site if one.site == other.site else None,
        }
    )


def _in_flight(batch_id: str, moment: datetime) -> CompoundSelect[Any]:
    """Apart, as `items_by_state` has them: of 100,000 that are queued, those that were let go are found by it."""
    waiting = (items.c.state == State.WAITING,)
    let_go = (items.c.state == State.QUEUED, ~items.c.skipped, items.c.released)
    return union_all(*(_grouped(moment, items.c.batch_id == batch_id, *which) for which in (waiting, let_go)))


def _grouped(moment: datetime, *which: ColumnElement[bool]) -> Select[Any]:
    due = (jobs.c.next_attempt_at <= moment).label("due")
    dispatched = jobs.c.dispatched_at.is_not(None).label("dispatched")
    told_when = jobs.c.next_attempt_at.is_not(None).label("told_when")
    in_sites_line = jobs.c.awaiting_lease_since.is_not(None).label("in_sites_line")
    group = (items.c.state, jobs.c.failure_kind, dispatched, told_when, due, in_sites_line)
    return (
        select(
            *group,
            func.count().label("number"),
            func.min(jobs.c.next_attempt_at).label("until"),
            func.max(jobs.c.attempt).label("attempt"),
            func.min(items.c.site).label("site"),
            func.max(items.c.site).label("last_site"),
            func.min(jobs.c.id).label("sample"),
        )
        .join_from(items, jobs, items.c.job_id == jobs.c.id)
        .where(*which)
        .group_by(*group)
    )


def _standstill(row: Row[Any]) -> Standstill:
    return Standstill(
        state=State(row.state),
        failure_kind=row.failure_kind,
        dispatched=bool(row.dispatched),
        until=None if row.due else row.until,
        due=bool(row.due),
        in_sites_line=bool(row.in_sites_line),
    )


def _group(at_rest: Standstill, row: Mapping[str, Any], said: Mapping[str, str]) -> ItemsWait:
    assert at_rest.reason is not None
    return ItemsWait(
        reason=at_rest.reason,
        count=row["number"],
        until=at_rest.until,
        attempt=row["attempt"],
        failure=at_rest.failure,
        message=said.get(row["sample"]) if at_rest.failure is not None else None,
        site=row["site"] if row["site"] == row["last_site"] else None,
    )


async def _messages(connection: AsyncConnection, job_ids: list[str]) -> dict[str, str]:
    if not job_ids:
        return {}
    query = select(jobs.c.id, jobs.c.failure).where(jobs.c.id.in_(job_ids))
    rows = await connection.execute(query)
    return {row.id: clipped(row.failure["message"]) for row in rows if row.failure is not None}


def clipped(message: str) -> str:
    return message if len(message) <= _TEXT else f"{message[: _TEXT - 1]}…"
