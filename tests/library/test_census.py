"""How a batch stands, and which of its items changed."""

from __future__ import annotations

import pytest

from reelin.contracts.jobs import Counts, State
from reelin.library import BegunItem, ItemRecord, Library
from tests.api.batches import Worker, new_batch


async def every_change(library: Library, batch_id: str, version: int, page: int) -> list[ItemRecord]:
    found: list[ItemRecord] = []
    position = 0
    while len(part := await library.batches.changed_since(batch_id, version, position, limit=page)) == page:
        found += part
        version, position = part[-1].job.version, part[-1].position
    return [*found, *part]


async def test_a_list_counts_whole_from_its_submission_on(library: Library) -> None:
    await library.batches.submit(new_batch(700))
    assert (await library.batches.standing("bulk-list")).counts == Counts(total=700, queued=700)
    await library.batches.expand_list("bulk-list", 1)
    assert (await library.batches.standing("bulk-list")).counts == Counts(total=700, queued=700)


async def test_a_job_that_stands_twice_in_a_list_runs_once_at_two_positions(library: Library) -> None:
    twice = new_batch(2)
    await library.batches.submit(type(twice)(twice.job, twice.urls * 2))
    worker = Worker(library, "bulk-list")
    first, second = {job.id: job for job in await worker.release()}.values()
    await worker.begin(first)
    await worker.complete(second)
    standing = await library.batches.standing("bulk-list")
    assert standing.counts == Counts(total=4, running=2, completed=2)
    assert standing.begun == (BegunItem(first.id, first.kind, State.RUNNING, 2),)


@pytest.mark.parametrize("page", [1, 3, 7, 100])
async def test_changes_are_read_page_by_page_without_one_missing_or_twice(library: Library, page: int) -> None:
    worker = await Worker.of(library, 12)
    before = (await library.jobs.get("bulk-list")).version
    assert await library.batches.changed_since("bulk-list", before) == [], "what stands in line is counted only"
    flying = await worker.release(4)
    for job in reversed(flying):
        await worker.begin(job)
    assert [item.job.id for item in await every_change(library, "bulk-list", before, page)] == [
        job.id for job in reversed(flying)
    ]
    await worker.complete(flying[0])
    await library.window.call_off("bulk-list")  # one statement, one version
    changes = await every_change(library, "bulk-list", before, page)
    assert sorted(item.position for item in changes) == list(range(1, 13))
    ended = [item.position for item in changes if item.state is State.CANCELLED and item.job.held]
    assert ended == list(range(5, 13))
    assert [(item.job.version, item.position) for item in changes] == sorted(
        (item.job.version, item.position) for item in changes
    )


async def test_only_what_a_batch_has_let_go_is_in_flight(library: Library) -> None:
    worker = await Worker.of(library, 5)
    first, second, third = await worker.release(3)
    await worker.begin(first)
    await worker.complete(second)
    assert [(item.position, item.state) for item in await library.batches.in_flight("bulk-list")] == [
        (1, State.RUNNING),
        (3, State.QUEUED),
    ]
    await worker.fail(third)
    assert [job_id for job_id, _ in await library.jobs.unfinished_versions()] == ["bulk-list", first.id]
    assert {job_id for job_id, _ in await library.jobs.ended_since(0)} == {second.id, third.id}
