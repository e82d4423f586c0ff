"""Filters, orders and opaque cursors. Pages are cut by key and not by offset, so that they stay stable and cheap
while rows come and go."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    String,
    Table,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from reelin.contracts.jobs import Kind, State
from reelin.errors import InvalidInput
from reelin.library.tables import UtcDateTime, items, jobs, videos

T = TypeVar("T")
_ID = re.compile(r"[a-z]+-[0-9a-f]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Without `parent`: what was submitted, and the items of batches only where `with_items` says so.

    With `parent`: the items of that batch, position by position, each as it stands in the batch.
    """

    state: tuple[State, ...] = ()
    kind: tuple[Kind, ...] = ()
    parent: str | None = None
    site: str | None = None
    failure: str | None = None
    q: str | None = None
    with_items: bool = False

    def conditions(self, *, with_state: bool = True) -> list[ColumnElement[bool]]:
        listed = self.listed
        found: list[ColumnElement[bool]] = []
        if self.parent is not None:
            found.append(items.c.batch_id == self.parent)
        elif not self.with_items:
            found.append(jobs.c.standalone)
        if self.state and with_state:
            found.append(listed.c.state.in_(self.state))
        if self.kind:
            found.append(listed.c.kind.in_(self.kind))
        if self.site is not None:
            found.append(listed.c.site == self.site)
        if self.failure is not None:
            found.append(listed.c.failure_kind == self.failure)
        if self.q:
            # `video-3f9c` is what people are shown of an id, and what they give back.
            beginning = self._job_id.startswith(self.q) if _ID.fullmatch(self.q) else false()
            found.append(or_(_contains(self.q, listed.c.title, listed.c.url), beginning))
        return found

    @property
    def listed(self) -> Table:
        """The table that is looked through. Items have all that it takes, so that a batch's jobs are left alone."""
        return jobs if self.parent is None else items

    @property
    def _job_id(self) -> ColumnElement[str]:
        return jobs.c.id if self.parent is None else items.c.job_id

    def page(self, order: Order, cursor: str | None, limit: int) -> Select[Any]:
        """Whole jobs; in a batch, with their place in it. Only those that are shown are looked up: their rows are
        wide, and sorting many of them takes seconds."""
        by_text = bool(self.q) or order.name.removeprefix("-") == "title"
        conditions = [*self.conditions(), *self._row_by_row(by_text)]
        halves = (order.apply(select().where(*conditions, *half), cursor, limit).subquery() for half in self._halves())
        found = union_all(*(select(half) for half in halves)).subquery()
        keys = (found.c["_key"], found.c["_tie"])
        if self.parent is None:
            query = select(jobs, *keys).join_from(found, jobs, jobs.c.id == found.c["_tie"])
        else:
            own = [column for column in jobs.columns if column.name not in _OF_THE_ITEM]
            place = [items.c.batch_id.label("parent_id"), items.c.position, items.c.state, items.c.skipped]
            here = and_(items.c.batch_id == self.parent, items.c.position == found.c["_tie"])
            query = select(*own, *place, *keys).join_from(found, items, here)
            query = query.join(jobs, items.c.job_id == jobs.c.id)
        return query.order_by(*(key.desc() if order.descending else key for key in keys)).limit(limit + 1)

    def _halves(self) -> list[list[ColumnElement[bool]]]:
        """What was submitted and what was not: each has the order of its own in the index."""
        whole = self.parent is not None or not self.with_items
        return [[]] if whole else [[jobs.c.standalone], [~jobs.c.standalone]]

    def tally(self) -> Select[Any]:
        """How many jobs there are by state, for the filter without its states."""
        state = self.listed.c.state
        conditions = [*self.conditions(with_state=False), *self._row_by_row(bool(self.q))]
        return select(state, func.count()).where(*conditions).group_by(state)

    def _row_by_row(self, by_text: bool) -> list[ColumnElement[bool]]:
        """Says nothing new, but makes SQLite read a batch's rows in their order where titles or URLs are needed: by an
        index, which has neither, it would fetch each from somewhere else, in five times the time."""
        return [items.c.position > 0] if by_text and self.parent is not None else []

    @property
    def order(self) -> tuple[dict[str, ColumnElement[Any]], ColumnElement[Any]]:
        """What the jobs can be sorted by, and the column that tells two of them apart."""
        return (JOB_ORDERS, jobs.c.id) if self.parent is None else (ITEM_ORDERS, items.c.position)


_OF_THE_ITEM = frozenset({"parent_id", "position", "state"})


@dataclass(frozen=True, slots=True)
class VideoFilter:
    q: str | None = None
    state: str | None = None
    site: str | None = None
    uploader: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.q:
            found.append(_contains(self.q, videos.c.title, videos.c.uploader, videos.c.url))
        for column, value in ((videos.c.state, self.state), (videos.c.site, self.site)):
            if value is not None:
                found.append(column == value)
        if self.uploader is not None:
            found.append(videos.c.uploader == self.uploader)
        return found


class _Folded(FunctionElement[str]):
    """Text as `LIKE` compares it without regard to case. SQLite's does so by itself for ASCII, and knows no other
    letters' case: its `lower` would only double the time of a search."""

    name = "folded"
    type = String()
    inherit_cache = True


@compiles(_Folded)
def _lower(element: _Folded, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(_Folded, "sqlite")
def _as_it_is(element: _Folded, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


def _contains(text: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    needle = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return or_(*(_Folded(column).like(_Folded(literal(f"%{needle}%")), escape="\\") for column in columns))


def _orders(listed: Table) -> dict[str, ColumnElement[Any]]:
    """Sort names and what they stand for; rows without a value come as if they had the smallest one."""
    return {
        "submitted_at": listed.c.submitted_at,
        "finished_at": func.coalesce(listed.c.finished_at, literal(_EPOCH, UtcDateTime)),
        "title": func.coalesce(listed.c.title, literal("", String)),
        "size": func.coalesce(listed.c.size_bytes, literal(-1)),
        "position": func.coalesce(listed.c.position, literal(0)),
    }


JOB_ORDERS = _orders(jobs)
ITEM_ORDERS = {**_orders(items), "position": items.c.position}
VIDEO_ORDERS: dict[str, ColumnElement[Any]] = {
    "added_at": videos.c.added_at,
    "title": func.coalesce(videos.c.title, literal("", String)),
}


@dataclass(frozen=True, slots=True)
class Order:
    """A sort name such as `-submitted_at`, and where the last page ended."""

    name: str
    key: ColumnElement[Any]
    tiebreak: ColumnElement[Any]
    descending: bool

    @classmethod
    def parse(cls, sort: str, known: dict[str, ColumnElement[Any]], tiebreak: ColumnElement[Any]) -> Order:
        name = sort.removeprefix("-")
        if name not in known:
            names = ", ".join(f"{each}, -{each}" for each in known)
            raise InvalidInput(
                f"Lists cannot be sorted by {sort[:40]!r}.", remedy=f"Use one of: {names}.", field="sort"
            )
        return cls(name=sort, key=known[name], tiebreak=tiebreak, descending=sort.startswith("-"))

    def apply(self, query: Select[Any], cursor: str | None, limit: int) -> Select[Any]:
        """Adds the order's key as the column `_key`; one row more than `limit`, to know whether a page follows."""
        query = query.add_columns(self.key.label("_key"), self.tiebreak.label("_tie"))
        if cursor is not None:
            key, identifier = self._decode(cursor)
            after = self.key < key if self.descending else self.key > key
            same = self.tiebreak < identifier if self.descending else self.tiebreak > identifier
            query = query.where(or_(after, and_(self.key == key, same)))
        if self.descending:
            query = query.order_by(self.key.desc(), self.tiebreak.desc())
        else:
            query = query.order_by(self.key, self.tiebreak)
        return query.limit(limit + 1)

    def encode(self, last: Row[Any]) -> str:
        """The cursor of the page that follows `last`."""
        key, identifier = last._mapping["_key"], last._mapping["_tie"]
        plain = key.astimezone(UTC).isoformat() if isinstance(key, datetime) else key
        return base64.urlsafe_b64encode(json.dumps([self.name, plain, identifier]).encode()).decode().rstrip("=")

    def _decode(self, cursor: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        try:
            name, key, identifier = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if name != self.name:
                raise ValueError(name)
            value = datetime.fromisoformat(key).astimezone(UTC) if self.name.endswith("_at") else key
            _check(value, self.key)
            _check(identifier, self.tiebreak)
        except (ValueError, TypeError, OverflowError, binascii.Error) as error:
            raise InvalidInput(
                "The cursor does not belong to this list.",
                remedy="Take next_cursor from the page before, with the same sort; leave it out for the first page.",
                field="cursor",
            ) from error
        return literal(value, self.key.type), literal(identifier, self.tiebreak.type)


def _check(value: object, column: ColumnElement[Any]) -> None:
    """Raises a ValueError where a driver could not send this: a forged cursor may hold half a character, a number
    without end, or a word for a number."""
    if not isinstance(value, datetime) and type(value) is not column.type.python_type:
        raise ValueError(value)
    if isinstance(value, str):
        value.encode()
    if isinstance(value, int) and not abs(value) < (2**63 if isinstance(column.type, BigInteger) else 2**31):
        raise ValueError(value)
