"""How each site is treated: what people set, and what its workflow says of it. A site that is no row has nothing
to say: neither was anything set, nor did anyone need a lease."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import SiteSituation
from reelin.errors import NotFound
from reelin.library.database import Database
from reelin.library.pages import Order, Page
from reelin.library.records import SiteRecord
from reelin.library.rows import now
from reelin.library.tables import jobs, sites
from reelin.library.unbroken import unbroken

_ORDERS: dict[str, ColumnElement[Any]] = {"site": sites.c.site}
_NEW: dict[str, Any] = {"limited": False, "recorded": 0}


def _jobs_with(*which: ColumnElement[bool]) -> ColumnElement[int]:
    mine = select(func.count()).select_from(jobs).where(jobs.c.site == sites.c.site, *which)
    return mine.correlate(sites).scalar_subquery()


#: With how many have its leave and how many wait for it: that stands in the jobs' rows.
_SHOWN = select(
    sites,
    _jobs_with(jobs.c.lease.is_not(None)).label("in_use"),
    _jobs_with(jobs.c.awaiting_lease_since.is_not(None)).label("waiting"),
)


class SiteStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def find(self, site: str) -> SiteRecord | None:
        async with self._database.reading() as connection:
            return await _find(connection, site)

    async def get(self, site: str) -> SiteRecord:
        """Raises NotFound."""
        found = await self.find(site)
        if found is None:
            raise NotFound("site", site)
        return found

    @unbroken
    async def page(self, *, limit: int, cursor: str | None) -> Page[SiteRecord]:
        """By name."""
        order = Order.parse("site", _ORDERS, sites.c.site)
        async with self._database.reading() as connection:
            rows = (await connection.execute(order.apply(_SHOWN, cursor, limit))).all()
        shown = rows[:limit]
        return Page(tuple(_record(row) for row in shown), order.encode(shown[-1]) if len(rows) > limit else None)

    @unbroken
    async def limited(self) -> list[SiteRecord]:
        """Those that need leases, whatever the settings say."""
        async with self._database.reading() as connection:
            rows = await connection.execute(_SHOWN.where(sites.c.limited))
            return [_record(row) for row in rows]

    @unbroken
    async def busy(self, *, limit: int = 1000) -> list[SiteRecord]:
        """Those that serve somebody, let somebody wait, or are shut; the newest word first."""
        mine = jobs.c.site == sites.c.site
        serves = exists().where(mine, jobs.c.lease.is_not(None))
        lets_wait = exists().where(mine, jobs.c.awaiting_lease_since.is_not(None))
        busy = _SHOWN.where(or_(serves, lets_wait, sites.c.cooldown_until > now()))
        async with self._database.reading() as connection:
            rows = await connection.execute(busy.order_by(sites.c.updated_at.desc()).limit(limit))
            return [_record(row) for row in rows]

    @unbroken
    async def configure(self, site: str, **settings: int | None) -> SiteRecord:
        """What people set: `max_at_once`, `requests_per_hour`. Whoever sets something wants it to apply: from then on
        the site needs leases."""
        async with self._database.writing() as connection:
            return await _write(connection, site, **settings, limited=True)

    @unbroken
    async def complained(self, site: str, reason: FailureKind, until: datetime) -> SiteRecord:
        """At once, before its workflow has heard of it: from now on the site needs leases."""
        async with self._database.writing() as connection:
            return await _write(connection, site, limited=True, reason=reason, cooldown_until=until)

    @unbroken
    async def record(self, situation: SiteSituation) -> SiteRecord:
        """What its workflow says. One that comes late, or a second time, changes nothing."""
        values = situation.model_dump(exclude={"site", "number", "learnt"})
        learnt = situation.learnt.model_dump(mode="json")
        async with self._database.writing() as connection:
            before = await _find(connection, situation.site)
            if before is not None and before.recorded >= situation.number:
                return before
            return await _write(connection, situation.site, **values, learnt=learnt, recorded=situation.number)


async def _find(connection: AsyncConnection, site: str) -> SiteRecord | None:
    row = (await connection.execute(_SHOWN.where(sites.c.site == site))).one_or_none()
    return None if row is None else _record(row)


async def _write(connection: AsyncConnection, site: str, **values: Any) -> SiteRecord:
    values["updated_at"] = now()
    if not await _update(connection, site, values):
        try:
            async with connection.begin_nested():
                await connection.execute(insert(sites).values(**{**_NEW, "site": site, **values}))
        except IntegrityError:  # another process was first
            await _update(connection, site, values)
    found = await _find(connection, site)
    if found is None:
        raise NotFound("site", site)
    return found


async def _update(connection: AsyncConnection, site: str, values: dict[str, Any]) -> int:
    return (await connection.execute(update(sites).where(sites.c.site == site).values(**values))).rowcount


def _record(row: Row[Any]) -> SiteRecord:
    return SiteRecord(**{name: value for name, value in row._mapping.items() if not name.startswith("_")})
