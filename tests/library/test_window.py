"""Which items are let go, in which order, and what calling off leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reelin.contracts.jobs import Kind, State
from reelin.errors import InvalidInput
from reelin.library import Library, NewJob, Released, Wish
from tests.library.samples import begun, expanded, fail, item_id, let_go, new_job, publish, states


async def _release(library: Library, at_once: int, **limits: int) -> Released:
    return await library.window.release(
        "bulk-one", at_once=at_once, limit_of=lambda site: limits.get(site.partition(".")[0])
    )


def _of_site(site: str, number: int) -> NewJob:
    name = f"{site}{number}"
    return replace(new_job(name), id=f"video-{name}", url=f"https://{site}.org/{number}", site=f"{site}.org")


async def _mixed(library: Library, *entries: NewJob) -> None:
    new = replace(new_job("list"), id="bulk-one", kind=Kind.PLAYLIST)
    await library.jobs.submit(new)
    await library.batches.open("bulk-one", 1)
    await library.batches.store_page("bulk-one", 1, entries, start=0)
    await library.batches.expanded("bulk-one", 1, total=len(entries))
    await begun(library, "bulk-one")


async def test_as_many_fly_as_may_and_the_next_follows_when_one_has_ended(library: Library) -> None:
    await expanded(library, *"abcd")
    released = await _release(library, 2)
    assert [job.id for job in released.jobs] == [item_id("a"), item_id("b")]
    assert (released.in_flight, released.in_line) == (2, True)
    assert (await _release(library, 2)).jobs == ()
    await publish(library, item_id("a"))
    assert [job.id for job in (await _release(library, 2)).jobs] == [item_id("c")]


async def test_sites_take_turns_and_the_urgent_come_first(library: Library) -> None:
    many = [_of_site("big", number) for number in range(1, 6)]
    await _mixed(library, *many, _of_site("small", 1), _of_site("small", 2), _of_site("late", 1))
    await library.wishes.prioritise("video-late1", 1)
    released = await _release(library, 5)
    assert [job.id for job in released.jobs] == [
        "video-late1",
        "video-big1",
        "video-small1",
        "video-big2",
        "video-small2",
    ]


async def test_no_more_of_a_site_than_it_allows(library: Library) -> None:
    await _mixed(library, *(_of_site("big", number) for number in range(1, 6)), _of_site("small", 1))
    released = await _release(library, 50, big=2)
    assert [job.id for job in released.jobs] == ["video-big1", "video-small1", "video-big2"]
    assert (released.in_flight, released.in_line) == (3, True)
    assert (await _release(library, 50, big=2)).jobs == ()


async def test_an_item_that_was_paused_in_line_is_passed_over(library: Library) -> None:
    await expanded(library, *"abc")
    await library.jobs.request_pause(item_id("a"))
    assert await let_go(library, at_once=1) == [item_id("b")]
    await library.jobs.request_resume(item_id("a"))
    await publish(library, item_id("b"))
    assert await let_go(library, at_once=1) == [item_id("a")]


async def test_an_item_that_stands_still_takes_nobodys_place(library: Library) -> None:
    await expanded(library, *"abc")
    await let_go(library, at_once=1)
    await begun(library, item_id("a"))
    await library.jobs.request_pause(item_id("a"))
    await library.jobs.pause(item_id("a"), 1)
    released = await _release(library, 1)
    assert ([job.id for job in released.jobs], released.in_flight) == ([item_id("b")], 2)
    assert await library.window.finish("bulk-one", 1) is None


async def test_calling_off_leaves_alone_what_someone_else_wants(library: Library) -> None:
    await library.jobs.submit(replace(new_job("own"), id=item_id("own")))
    await expanded(library, "own", "shared", "line", "flies", job_id="bulk-one")
    await expanded(library, "shared", job_id="bulk-two")
    await let_go(library, at_once=3)
    await begun(library, item_id("shared"))
    flying = await library.window.call_off("bulk-one")
    assert flying == []
    assert (await library.jobs.get(item_id("own"))).state is State.QUEUED
    assert (await library.jobs.get(item_id("shared"))).state is State.RUNNING
    assert (await library.jobs.get(item_id("line"))).state is State.CANCELLED
    assert await states(library) == ["cancelled"] * 4
    assert await states(library, "bulk-two") == ["running"]
    assert await library.window.finish("bulk-one", 1, cancelled=True) is State.CANCELLED


async def test_what_flies_for_this_batch_only_is_cancelled_in_temporal(library: Library) -> None:
    await expanded(library, "a", "b")
    await let_go(library, at_once=1)
    await begun(library, item_id("a"))
    assert await library.window.call_off("bulk-one", keep_partial=True) == [item_id("a")]
    job = await library.jobs.get(item_id("a"))
    assert (job.cancel_requested, job.keep_partial, job.state) == (True, True, State.RUNNING)
    assert await library.window.finish("bulk-one", 1, cancelled=True) is None
    await library.jobs.cancel(item_id("a"), 1)
    assert await library.window.call_off("bulk-one") == []
    assert await library.window.finish("bulk-one", 1, cancelled=True) is State.CANCELLED


async def test_a_paused_batch_pauses_what_flies_and_goes_on_with_it(library: Library) -> None:
    await expanded(library, *"abc")
    await let_go(library, at_once=2)
    await begun(library, item_id("a"))
    await library.jobs.request_pause("bulk-one")
    assert await library.window.stop("bulk-one") == [item_id("a")]
    assert await states(library) == ["running", "paused", "queued"]
    await library.jobs.pause(item_id("a"), 1)
    _, granted = await library.wishes.one(Wish.RESUME, "bulk-one")
    assert set(granted.told) == {"bulk-one", item_id("a")}
    assert await states(library) == ["queued", "queued", "queued"]
    assert (await library.jobs.get(item_id("a"))).resumed
    await library.wishes.passed_on(granted.told)
    assert not (await library.jobs.get(item_id("a"))).resumed


async def test_of_a_preview_only_what_was_chosen_runs(library: Library) -> None:
    await expanded(library, *"abcd")
    with pytest.raises(InvalidInput, match="position 9"):
        await library.window.choose("bulk-one", [1, 9])
    assert await states(library) == ["queued"] * 4
    await library.window.choose("bulk-one", [2, 4])
    assert await states(library) == ["cancelled", "queued", "cancelled", "queued"]
    assert await let_go(library) == [item_id("b"), item_id("d")]


async def test_only_what_failed_stands_in_line_again(library: Library) -> None:
    await expanded(library, "good", "bad")
    await let_go(library)
    await publish(library, item_id("good"))
    await fail(library, item_id("bad"))
    assert await library.window.finish("bulk-one", 1) is State.PARTIAL
    assert await library.window.line_up_again("bulk-one") == 1
    job = await library.jobs.get("bulk-one")
    assert (job.state, job.run) == (State.QUEUED, 2)
    batch = await library.batches.open("bulk-one", 2)
    assert (batch.run, batch.expanded) == (2, True)
    await begun(library, "bulk-one")
    assert await let_go(library) == [item_id("bad")]
    await publish(library, item_id("bad"))
    assert await library.window.finish("bulk-one", 2) is State.COMPLETED


async def test_what_comes_later_of_another_site_does_not_wait_for_the_first_to_end(library: Library) -> None:
    await library.jobs.submit(replace(new_job("list"), id="bulk-one", kind=Kind.PLAYLIST))
    await library.batches.open("bulk-one", 1)
    await begun(library, "bulk-one")
    await library.batches.store_page("bulk-one", 1, [_of_site("big", number) for number in range(10)], start=0)
    assert len((await _release(library, 8)).jobs) == 8
    others = [_of_site("small", 1), _of_site("small", 2), _of_site("late", 1), _of_site("last", 1)]
    await library.batches.store_page("bulk-one", 1, others, start=10)
    guests = (await _release(library, 8)).jobs
    assert [job.id for job in guests] == ["video-small1", "video-late1"], "one each, a quarter more in all"
    assert (await _release(library, 8)).jobs == ()


async def test_nothing_is_let_go_that_somebody_wants_to_stand_still(library: Library) -> None:
    await expanded(library, *"ab")
    await library.jobs.request_pause("bulk-one")
    released = await _release(library, 2)
    assert (released.jobs, released.in_line) == ((), True)
