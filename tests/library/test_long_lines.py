"""20,000 jobs of one site: whose turn is next is read from an index, however many wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from reelin.contracts.sites import Lease
from reelin.library import Library
from reelin.library.tables import jobs
from tests.library.samples import new_job

SITE = "example.org"
MANY = 20_000


async def many_more(library: Library, model: str, number: int = MANY) -> None:
    """So many more jobs like this one."""
    names = ", ".join(column.name for column in jobs.columns if column.name != "id")
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})"
    copies = f"SELECT 'video-copy' || i, {names} FROM jobs, n WHERE id = '{model}'"
    async with library._database.writing() as connection:
        await connection.exec_driver_sql(f"INSERT INTO jobs (id, {names}) {numbers} {copies}")


@asynccontextmanager
async def looked_up_by(library: Library) -> AsyncIterator[list[str]]:
    """How SQLite says that it finds the rows of `jobs` for all that is asked within."""
    asked: list[tuple[str, Any]] = []
    plan: list[str] = []
    engines = [engine.sync_engine for engine in (library._database._reader, library._database._writer)]

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield plan
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    async with library._database.reading() as connection:
        for statement, parameters in asked:
            if not statement.startswith("BEGIN"):
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plan += [row.detail for row in rows if "jobs" in row.detail or "ORDER BY" in row.detail]


def lease_of(job_id: str) -> Lease:
    return Lease(job_id=job_id, run=1, number=1, owner="local", since=0)


async def test_the_front_of_a_very_long_line_is_right(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.waiters.line_up(["video-one"])
    await many_more(library, "video-one")
    await library.wishes.prioritise(f"video-copy{MANY}", 1)
    waiters = await library.waiters.front(SITE, at_most=100)
    assert (len(waiters.front), waiters.total) == (100, MANY + 1)
    assert waiters.front[0].job_id == f"video-copy{MANY}"
    await library.waiters.grant([lease_of(f"video-copy{MANY}")])
    after = await library.waiters.front(SITE, at_most=100)
    assert (after.front[0].priority, after.total) == (3, MANY)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_whose_turn_is_next_and_a_lease_are_looked_up_and_not_searched_for(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.waiters.line_up(["video-one"])
    await many_more(library, "video-one")
    async with looked_up_by(library) as plan:
        await library.waiters.front(SITE, at_most=100)
        await library.waiters.sites()
    assert plan and all("jobs_awaiting_lease" in step or "jobs_with_lease" in step for step in plan), plan
    async with looked_up_by(library) as plan:
        await library.waiters.grant([lease_of("video-one")])
        await library.waiters.check([lease_of("video-one")], [])
        await library.waiters.put_back([lease_of("video-one")])
        await library.waiters.give_back("video-one", 1)
    # The newest version is looked up with each change.
    assert plan and all("(id=?)" in step or "jobs_by_version" in step for step in plan), plan
    async with looked_up_by(library) as plan:
        await library.sites.configure(SITE, max_at_once=2)
        await library.waiters.leases(SITE)
    assert plan and all("(site=?" in step for step in plan), plan


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_the_outbox_is_looked_up_site_by_site(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.submit(replace(new_job("other"), site="other.org"))
    await many_more(library, "video-one")
    async with looked_up_by(library) as plan:
        found = await library.jobs.undispatched(limit=40)
        await library.waiters.sites_in_outbox()
        await library.waiters.line_up_site(SITE, at_most=500)
    assert [job.site for job in found[:2]] == [SITE, "other.org"]
    searches = [step for step in plan if "ORDER BY" not in step]
    assert searches and all(
        any(name in step for name in ("jobs_by_state", "jobs_by_version", "(id=?)")) for step in searches
    ), plan
    assert not any("FOR ORDER BY" in step for step in plan), "each site's are read in their order"
