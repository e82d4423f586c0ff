"""No job is held by nobody: whatever takes a batch away hands on what it had in line."""

from __future__ import annotations

from dataclasses import replace

from reelin.contracts.jobs import State
from reelin.library import Library, Wish
from tests.library.samples import expanded, fail, item_id, let_go, new_job, publish


async def _failed_by_itself(library: Library, name: str) -> str:
    """A job that somebody submitted, and that failed."""
    job_id = item_id(name)
    await library.jobs.submit(replace(new_job(name), id=job_id))
    await fail(library, job_id)
    return job_id


async def _cancel(library: Library, batch_id: str) -> None:
    """As its workflow does."""
    await library.jobs.request_cancel(batch_id, keep_partial=False)
    await library.window.call_off(batch_id)
    assert await library.window.finish(batch_id, 1, cancelled=True) is State.CANCELLED


async def test_a_job_that_two_lists_have_in_line_is_let_go_by_the_one_that_is_left(library: Library) -> None:
    await expanded(library, "x", "y", job_id="bulk-one")
    await let_go(library, "bulk-one", at_once=1)
    await fail(library, item_id("x"))
    await expanded(library, "x", "z", job_id="bulk-two")
    await _cancel(library, "bulk-two")
    assert await let_go(library, "bulk-one") == [item_id("x"), item_id("y")]
    for name in "xy":
        await publish(library, item_id(name))
    assert await library.window.finish("bulk-one", 1) is State.COMPLETED


async def test_a_job_that_only_a_cancelled_list_wanted_again_ends_with_it_and_can_be_retried(library: Library) -> None:
    alone = await _failed_by_itself(library, "x")
    await expanded(library, "x", "y")
    await _cancel(library, "bulk-one")
    assert (await library.jobs.get(alone)).state is State.CANCELLED
    job, _ = await library.wishes.one(Wish.RETRY, alone)
    assert (job.state, job.held) == (State.QUEUED, False)
