"""A cancel never interrupts a transaction."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from reelin.contracts.jobs import State
from reelin.library import Library
from reelin.library.unbroken import to_its_end
from tests.library.samples import new_job, publication
from tests.waiting import PATIENCE


async def test_work_that_is_cancelled_ends_before_the_cancel_arrives() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await asyncio.sleep(0.05)
        steps.append("ended")

    caller = asyncio.create_task(to_its_end(work()))
    await asyncio.sleep(0.01)
    caller.cancel()
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert steps == ["begun", "ended"]


async def test_an_error_of_the_work_reaches_the_caller() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await to_its_end(work())


@pytest.mark.parametrize("seed", range(4))
async def test_writers_that_are_cancelled_at_any_moment_leave_the_database_writable(
    library: Library, seed: int
) -> None:
    random = Random(seed)
    for number in range(40):
        await library.jobs.submit(new_job(str(number)))
        writing = asyncio.create_task(library.jobs.begin(f"video-{number}", 1, attempt=1))
        reading = asyncio.create_task(library.jobs.get(f"video-{number}"))
        await asyncio.sleep(random.uniform(0, 0.003))
        writing.cancel()
        reading.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)
    async with asyncio.timeout(PATIENCE):
        await library.ping()
        assert (await library.jobs.submit(new_job("last"))).fresh


async def test_a_job_that_is_deleted_and_submitted_again_is_another_run(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.forget("video-one")
    again = await library.jobs.submit(new_job())
    assert (again.fresh, again.job.run) == (True, 2)
    await library.jobs.cancel("video-one", 1)  # the end of the first one's workflow
    assert (await library.jobs.get("video-one")).state is State.QUEUED
    await library.jobs.forget("video-one")
    assert (await library.jobs.submit(new_job())).job.run == 3


async def test_a_path_whose_file_was_removed_by_hand_can_be_another_jobs(library: Library) -> None:
    for name in ("one", "two"):
        await library.jobs.submit(new_job(name))
    assert await library.videos.publish(publication("one", paths=("same.mp4",))) is not None
    assert await library.videos.publish(publication("two", paths=("same.mp4",))) is not None
    assert await library.videos.files_of_job("video-one") == ()
    assert [file.path for file in await library.videos.files_of_job("video-two")] == ["same.mp4"]
