"""Lists: what they are filtered and sorted by stands in the rows that are looked through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.library import JobFilter, JobRecord, Library, Wish
from reelin.library.database import Database
from reelin.library.following import TAKEN_OVER
from reelin.library.pace import Pace
from tests.library.samples import begun, expanded, fail, failure, item_id, let_go, listed, new_job, new_list, publish

_SORTS = [sign + name for name in ("submitted_at", "finished_at", "title", "size", "position") for sign in ("", "-")]


async def _all(library: Library, wanted: JobFilter, sort: str, limit: int) -> list[JobRecord]:
    found: list[JobRecord] = []
    cursor: str | None = None
    while True:
        page = await library.jobs.page(wanted, sort=sort, limit=limit, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _some_of_each(library: Library) -> None:
    """A batch with items in several states, a job beside it, and one that both want."""
    await library.jobs.submit(new_job("alone"))
    await fail(library, "video-alone", FailureKind.NOT_FOUND)
    await expanded(library, "a", "b", "c", "d", "a")
    first, second, third = (await let_go(library))[:3]
    await publish(library, first)
    await fail(library, second, FailureKind.RATE_LIMITED)
    job = await begun(library, third)
    await library.jobs.note_video(third, job.run, "A title")


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url)
    yield opened
    await opened.close()


async def _not_taken_over(database: Database) -> list[object]:
    names = " OR ".join(f"items.{name} IS DISTINCT FROM jobs.{name}" for name in TAKEN_OVER)
    query = f"SELECT jobs.id, jobs.state FROM items JOIN jobs ON jobs.id = items.job_id WHERE {names}"
    async with database.reading() as connection:
        return list((await connection.execute(text(query))).all())


async def test_items_have_what_lists_need_of_their_jobs_whatever_happens(library: Library, database: Database) -> None:
    await _some_of_each(library)
    assert await _not_taken_over(database) == []
    await library.batches.submit(new_list("a", "c", job_id="bulk-two"))  # `a` is there already: skipped
    assert await _not_taken_over(database) == []
    for wish in (Wish.PAUSE, Wish.RESUME, Wish.CANCEL, Wish.RETRY):
        for parent in ("bulk-one", "bulk-two", None):
            async for _ in library.wishes.all(wish, JobFilter(parent=parent, with_items=True)):
                assert await _not_taken_over(database) == []
    await library.jobs.submit(replace(new_job("again"), id=item_id("a"), force=True))
    assert await _not_taken_over(database) == []
    await fail(library, item_id("a"), FailureKind.DRM)
    await library.window.call_off("bulk-one")
    assert await _not_taken_over(database) == []


@pytest.mark.parametrize("wanted", [JobFilter(parent="bulk-one"), JobFilter(), JobFilter(with_items=True)])
@pytest.mark.parametrize("sort", _SORTS)
async def test_pages_of_every_sort_have_each_job_once(library: Library, wanted: JobFilter, sort: str) -> None:
    await _some_of_each(library)
    whole = await _all(library, wanted, sort, 500)
    assert len(whole) == sum((await library.jobs.counts(wanted)).values())
    assert await _all(library, wanted, sort, 2) == whole


async def test_every_filter_finds_the_same_in_a_batch_as_among_all_jobs(library: Library) -> None:
    await _some_of_each(library)
    for narrower in (
        {"state": (State.FAILED,)},
        {"kind": (Kind.VIDEO,)},
        {"failure": "rate_limited"},
        {"failure": "drm"},
        {"site": "example.org"},
        {"q": "a TITLE"},
        {"q": "ORG/b"},
        {"q": "100%"},
        {"q": item_id("c")[:12]},
    ):
        inside = await _all(library, JobFilter(parent="bulk-one", **narrower), "position", 500)  # type: ignore[arg-type]
        everywhere = await _all(library, JobFilter(with_items=True, **narrower), "title", 500)  # type: ignore[arg-type]
        assert {job.id for job in inside} == {job.id for job in everywhere} - {"video-alone", "bulk-one"}, narrower


async def test_a_batch_in_which_very_many_failed_is_retried_whole(library: Library) -> None:
    playlist = replace(new_job("list"), id="playlist-one", kind=Kind.PLAYLIST)
    await library.jobs.submit(playlist)
    await library.batches.open(playlist.id, 1)
    entries = [listed(f"n{number}", failure=failure()) for number in range(600)]
    await library.batches.store_page(playlist.id, 1, entries, start=0)
    await library.batches.expanded(playlist.id, 1, total=600)
    await begun(library, playlist.id)
    assert await library.window.finish(playlist.id, 1) is State.FAILED
    job, _ = await library.wishes.one(Wish.RETRY, playlist.id)
    counts, _ = await library.batches.count(playlist.id)
    assert (job.state, job.run, counts.queued) == (State.QUEUED, 2, 600)


async def test_deleting_that_was_broken_off_is_finished_by_repeating_it(library: Library) -> None:
    names = [f"n{number}" for number in range(600)]
    await expanded(library, *names)
    await library.jobs.submit(replace(new_job("n7"), id=item_id("n7")))
    forgetting = library.jobs._forgetting._forget_items("bulk-one", 0, Pace())
    await forgetting  # and then the process was killed
    assert await library.jobs.find(item_id("n0")) is None
    await library.jobs.forget("bulk-one")
    left = await _all(library, JobFilter(with_items=True), "submitted_at", 500)
    assert [job.id for job in left] == [item_id("n7")]
