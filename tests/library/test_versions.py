"""The order of changes is that of the table, and not that of anybody's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from reelin.contracts.jobs import State
from reelin.library import Library, rows
from reelin.library.rows import ROOM
from tests.library.samples import failure, new_job


class Clock:
    """That of the process that writes next; `apart` says by how much it is wrong."""

    def __init__(self) -> None:
        self.apart = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.apart


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(rows, "now", clock)
    yield clock


@pytest.fixture
async def other(url: str, library: Library) -> AsyncIterator[Library]:
    """Another process with the same database."""
    opened = Library(url)
    await opened.open()
    yield opened
    await opened.close()


APART = [timedelta(seconds=seconds) for seconds in (-10, 10, -3600, 3600)]


@pytest.mark.parametrize("apart", APART, ids=str)
async def test_whoever_reads_on_from_a_version_misses_no_writer_whatever_its_clock_says(
    library: Library, other: Library, clock: Clock, apart: timedelta
) -> None:
    mark, seen = 0, []
    for number in range(8):
        writer, clock.apart = ((library, timedelta(0)), (other, apart))[number % 2]
        await writer.jobs.submit(new_job(f"n{number}"))
        if number:
            await writer.jobs.fail(f"video-n{number - 1}", 1, failure=failure())
        changed = await library.jobs.versions_since(mark)
        seen.append({job_id for job_id, _ in changed})
        mark = changed[-1][1]
    assert seen == [{"video-n0"}, *({f"video-n{number - 1}", f"video-n{number}"} for number in range(1, 8))]


async def test_a_clock_that_is_set_back_makes_no_version_older(library: Library, clock: Clock) -> None:
    versions = []
    for name, clock.apart in (("one", timedelta(hours=1)), ("two", timedelta(0)), ("three", timedelta(hours=-1))):
        versions.append((await library.jobs.submit(new_job(name))).job.version)
    assert versions == sorted(set(versions))
    assert await library.jobs.newest_version() == versions[-1]


async def test_what_is_told_of_a_running_job_has_room_below_its_next_change(library: Library, clock: Clock) -> None:
    clock.apart = timedelta(hours=1)
    await library.jobs.submit(new_job())
    await library.jobs.mark_dispatched([("video-one", 1)])
    begun = await library.jobs.begin("video-one", 1, 1)
    clock.apart = timedelta(0)
    await library.jobs.fail("video-one", 1, failure=failure())
    assert begun is not None and (await library.jobs.get("video-one")).version >= begun.version + ROOM


async def test_deleting_the_newest_job_takes_no_version_back(library: Library, clock: Clock) -> None:
    clock.apart = timedelta(hours=1)
    newest = (await library.jobs.submit(new_job())).job.version
    clock.apart = timedelta(0)
    await library.jobs.forget("video-one")
    again = (await library.jobs.submit(new_job())).job
    assert again.version > newest
    assert (await library.jobs.get("video-one")).version == again.version
    assert await library.jobs.versions_since(newest) == [("video-one", again.version)]


async def test_jobs_that_change_at_once_share_a_version_and_no_page_splits_them(library: Library) -> None:
    before = await library.jobs.newest_version()
    for number in range(5):
        await library.jobs.submit(new_job(f"n{number}"))
    async with library.jobs._database.writing() as connection:
        await rows.write(connection, rows.jobs.c.state == State.QUEUED, title="all of them")
    seen: list[tuple[str, int]] = []
    page = await library.jobs.versions_since(before, limit=2)
    while page:
        assert len(page) <= 2
        seen += page
        job_id, version = page[-1]
        page = await library.jobs.versions_since(version, job_id, limit=2)
    assert [job_id for job_id, _ in seen] == [f"video-n{number}" for number in range(5)]
    assert len({version for _, version in seen}) == 1
    assert await library.jobs.versions_since(seen[0][1]) == [], "a version that was read is read as a whole"
