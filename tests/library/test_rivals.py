"""Two processes' worth of libraries on one database: what one decides, the other does not undo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from reelin.contracts.jobs import State
from reelin.contracts.options import Options
from reelin.contracts.sites import Lease
from reelin.library import Library
from tests.library.samples import begun, expanded, fail, item_id, let_go, new_job, new_list, publish


@pytest.fixture
async def rival(library: Library, url: str) -> AsyncIterator[Library]:
    opened = Library(url)
    await opened.open()
    yield opened
    await opened.close()


async def test_what_both_submit_at_once_is_one(library: Library, rival: Library) -> None:
    for number in range(20):
        name = str(number)
        both = await asyncio.gather(*(each.jobs.submit(new_job(name)) for each in (library, rival)))
        assert sorted(submitted.fresh for submitted in both) == [False, True]
        new = new_list("a", "b", job_id=f"bulk-{name}")
        both = await asyncio.gather(*(each.batches.submit(new) for each in (library, rival)))
        assert sorted(submitted.fresh for submitted in both) == [False, True]
        wanted = {"owner": "local", "url": f"https://example.org/{name}", "preset": "best", "options": Options()}
        listed = await asyncio.gather(*(each.shelf.want(**wanted) for each in (library, rival)))  # type: ignore[arg-type]
        assert sorted(fresh for _, fresh in listed) == [False, True]
        await asyncio.gather(*(each.sites.configure(f"{name}.org", max_at_once=2) for each in (library, rival)))


async def test_a_playlist_that_both_expand_has_each_entry_once(library: Library, rival: Library) -> None:
    names = [str(number) for number in range(600)]
    await library.batches.submit(new_list(*names))
    await asyncio.gather(*(each.batches.expand_list("bulk-one", 1) for each in (library, rival)))
    counts, _ = await library.batches.count("bulk-one")
    assert (counts.total, counts.queued) == (600, 600)


async def test_an_item_is_let_go_once_and_no_more_than_may_fly(library: Library, rival: Library) -> None:
    await expanded(library, *(str(number) for number in range(60)))
    released = await asyncio.gather(*(let_go(each, at_once=10) for each in (library, rival) * 4))
    flying = [job_id for some in released for job_id in some]
    assert len(flying) == len(set(flying)) == 10


async def test_a_job_that_both_begin_and_end_ends_once(library: Library, rival: Library) -> None:
    await expanded(library, "a", "b")
    job_id, other = await let_go(library)
    await asyncio.gather(*(begun(each, job_id) for each in (library, rival)))
    await asyncio.gather(publish(library, job_id), rival.jobs.cancel(job_id, 1), return_exceptions=True)
    job = await library.jobs.get(job_id)
    assert (job.state is State.COMPLETED) == bool(await library.videos.files_of_job(job_id))
    counts, _ = await library.batches.count("bulk-one")
    assert (counts.completed, counts.cancelled) == ((1, 0) if job.state is State.COMPLETED else (0, 1))
    assert (await library.jobs.get(other)).state is State.QUEUED


async def test_items_that_end_at_once_are_all_counted(library: Library, rival: Library) -> None:
    names = [str(number) for number in range(16)]
    await expanded(library, *names)
    await let_go(library)
    await _publish_at_once(names, library, rival)
    assert await library.window.finish("bulk-one", 1) is State.COMPLETED
    result = (await library.jobs.get("bulk-one")).result or {}
    assert (result["total"], result["completed"]) == (16, 16)


async def test_items_that_correct_a_batch_at_once_are_all_in_its_outcome(library: Library, rival: Library) -> None:
    names = [str(number) for number in range(16)]
    await expanded(library, *names)
    for job_id in await let_go(library):
        await fail(library, job_id)
    assert await library.window.finish("bulk-one", 1) is State.FAILED
    for name in names:
        await library.jobs.retry(item_id(name))
    await _publish_at_once(names, library, rival)
    batch = await library.jobs.get("bulk-one")
    assert batch.state is State.COMPLETED
    assert batch.result is not None and batch.result["completed"] == 16


async def _publish_at_once(names: list[str], *libraries: Library) -> None:
    await asyncio.gather(
        *(publish(libraries[place % len(libraries)], item_id(name)) for place, name in enumerate(names))
    )


async def test_jobs_that_both_line_up_stand_in_line_once(library: Library, rival: Library) -> None:
    for number in range(20):
        await library.jobs.submit(new_job(str(number)))
    both = (library, rival)
    asks = await asyncio.gather(*(each.waiters.line_up_site("example.org", at_most=7) for each in both * 3))
    lined_up = [ask.job_id for some in asks for ask in some]
    assert len(lined_up) == len(set(lined_up)) == 20
    assert (await library.waiters.front("example.org", at_most=100)).total == 20


async def test_a_job_that_both_let_in_has_one_lease(library: Library, rival: Library) -> None:
    for number in range(10):
        name = f"video-{number}"
        await library.jobs.submit(new_job(str(number)))
        await library.waiters.line_up([name])
        leases = [Lease(job_id=name, run=1, number=lease, owner="local", since=0) for lease in (1, 2)]
        both = await asyncio.gather(library.waiters.grant(leases[:1]), rival.waiters.grant(leases[1:]))
        [job] = [job for some in both for job in some]
        assert (await library.jobs.get(name)).lease == job.lease


async def test_whoever_reads_by_version_misses_no_change(library: Library, rival: Library) -> None:
    names = [str(number) for number in range(40)]
    seen: dict[str, int] = {}
    writing = True

    async def live(each: Library, mine: list[str]) -> None:
        for name in mine:
            await each.jobs.submit(new_job(name))
            await begun(each, f"video-{name}")
            await each.jobs.cancel(f"video-{name}", 1)

    async def read() -> None:
        mark, more = 0, True
        while more:
            more = writing
            for job_id, version in await library.jobs.versions_since(mark):
                seen[job_id], mark, more = version, version, True
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    shares = [names[start::8] for start in range(8)]
    await asyncio.gather(*(live(each, share) for each, share in zip((library, rival) * 4, shares, strict=True)))
    writing = False
    await reading
    assert seen == {f"video-{name}": (await rival.jobs.get(f"video-{name}")).version for name in names}
