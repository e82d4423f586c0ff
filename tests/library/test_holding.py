"""No job is held by nobody: whatever takes a batch or its items away hands on what stood in line, or ends it."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import update

from reelin.contracts.jobs import Counts, Kind, State
from reelin.contracts.sites import Lease
from reelin.library import JobFilter, Library, Wish
from reelin.library.tables import items, jobs
from tests.library.samples import (
    begun,
    expanded,
    fail,
    failure,
    item_id,
    let_go,
    listed,
    new_job,
    new_list,
    publish,
    states,
)


async def _failed_by_itself(library: Library, name: str) -> str:
    """A job that somebody submitted, and that failed."""
    job_id = item_id(name)
    await library.jobs.submit(replace(new_job(name), id=job_id))
    await fail(library, job_id)
    return job_id


async def _cancel(library: Library, batch_id: str) -> list[str]:
    """As its workflow does; the jobs that Temporal has to be told of."""
    await library.jobs.request_cancel(batch_id, keep_partial=False)
    told = await library.window.call_off(batch_id)
    if not told:
        assert await library.window.finish(batch_id, 1, cancelled=True) is State.CANCELLED
    return told


async def _counts(library: Library, batch_id: str) -> Counts:
    return (await library.batches.count(batch_id))[0]


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


async def test_two_lists_do_not_wait_for_each_other(library: Library) -> None:
    await expanded(library, "x", "y", job_id="bulk-one")
    await let_go(library, "bulk-one", at_once=1)
    await fail(library, item_id("x"))
    await expanded(library, "y", "x", job_id="bulk-two")
    assert await let_go(library, "bulk-two", at_once=1) == [item_id("y")]
    await fail(library, item_id("y"))
    await library.wishes.one(Wish.RETRY, item_id("y"))
    assert await let_go(library, "bulk-one", at_once=1) == [item_id("x")]
    assert await let_go(library, "bulk-two", at_once=2) == [item_id("y")]


async def test_a_list_that_is_deleted_leaves_nothing_in_line_behind(library: Library) -> None:
    alone = await _failed_by_itself(library, "alone")
    await expanded(library, "shared", "over", "alone", job_id="bulk-one")
    await expanded(library, "shared", job_id="bulk-two")
    await let_go(library, "bulk-two")
    await fail(library, item_id("shared"))
    assert await library.window.finish("bulk-two", 1) is State.FAILED
    await library.wishes.one(Wish.RETRY, item_id("shared"))  # it stands in line of the first list
    await library.jobs.forget("bulk-one")
    assert (await library.jobs.get(item_id("shared"))).state is State.CANCELLED
    assert (await library.jobs.get(alone)).state is State.CANCELLED
    assert await _counts(library, "bulk-two") == Counts(total=1, cancelled=1)


async def test_a_playlist_in_line_of_a_cancelled_list_ends_with_what_it_has_in_line(library: Library) -> None:
    await _list_with_a_playlist(library)
    await _cancel(library, "playlist-outer")
    assert (await library.jobs.get("playlist-inner")).state is State.CANCELLED
    assert await states(library, "playlist-inner") == ["cancelled", "cancelled"]
    assert (await library.jobs.tally())[State.QUEUED] == 0


async def _list_with_a_playlist(library: Library) -> None:
    """The playlist failed, and stands in line again with its two items."""
    inner = replace(new_job("inner"), id="playlist-inner", kind=Kind.PLAYLIST)
    outer = replace(new_job("outer"), id="playlist-outer", kind=Kind.PLAYLIST)
    await library.jobs.submit(outer)
    for batch, entries in ((outer, [inner, listed("other")]), (inner, [listed("bad"), listed("worse")])):
        await library.batches.open(batch.id, 1)
        await library.batches.store_page(batch.id, 1, entries, start=0)
        await library.batches.expanded(batch.id, 1, total=len(entries))
        await begun(library, batch.id)
        await let_go(library, batch.id, at_once=1)
    await fail(library, "video-bad")
    assert await let_go(library, "playlist-inner") == ["video-worse"]
    await fail(library, "video-worse")
    assert await library.window.finish("playlist-inner", 1) is State.FAILED
    await library.wishes.one(Wish.RETRY, "playlist-inner")
    assert await states(library, "playlist-inner") == ["queued", "queued"]


async def test_a_batch_whose_workflow_failed_takes_what_it_has_in_line_with_it_until_it_is_retried(
    library: Library,
) -> None:
    await expanded(library, "flies", "line", "shared", job_id="bulk-one")
    await expanded(library, "shared", job_id="bulk-two")
    await let_go(library, "bulk-one", at_once=1)
    await library.jobs.fail("bulk-one", 1, failure=failure())
    assert await states(library, "bulk-one") == ["queued", "failed", "queued"]
    assert await let_go(library, "bulk-two") == [item_id("shared")]
    for name in ("flies", "shared"):
        await publish(library, item_id(name))
    batch = await library.jobs.get("bulk-one")
    assert (batch.state, batch.result) == (
        State.PARTIAL,
        {**Counts(total=3, completed=2, failed=1).model_dump(), "truncated": False},
    )
    await library.wishes.one(Wish.RETRY, "bulk-one")
    assert await let_go(library, "bulk-one") == [item_id("line")]


async def test_what_a_preview_does_not_choose_stays_where_it_stands_twice_and_is_chosen_once(library: Library) -> None:
    await expanded(library, "x", "y", "x")
    await library.window.choose("bulk-one", [1])
    assert await states(library) == ["queued", "cancelled", "cancelled"]
    assert await let_go(library) == [item_id("x")]
    await publish(library, item_id("x"))
    assert await library.window.finish("bulk-one", 1) is State.COMPLETED


async def test_what_runs_is_cancelled_with_the_last_list_that_wants_it_though_another_one_let_it_go(
    library: Library,
) -> None:
    await expanded(library, "x", job_id="bulk-one")
    await let_go(library, "bulk-one")
    await begun(library, item_id("x"))
    await expanded(library, "x", job_id="bulk-two")
    assert await _cancel(library, "bulk-one") == []
    assert await _cancel(library, "bulk-two") == [item_id("x")]
    await library.jobs.cancel(item_id("x"), 1)
    assert await library.window.finish("bulk-two", 1, cancelled=True) is State.CANCELLED


async def test_an_older_list_that_is_over_does_not_count_as_queued_what_a_cancelled_one_had_in_line(
    library: Library,
) -> None:
    await expanded(library, "x", job_id="bulk-old")
    await let_go(library, "bulk-old")
    await fail(library, item_id("x"))
    assert await library.window.finish("bulk-old", 1) is State.FAILED
    await expanded(library, "x", "y", job_id="bulk-new")
    assert await states(library, "bulk-old") == ["queued"]
    await _cancel(library, "bulk-new")
    assert await states(library, "bulk-old") == ["cancelled"]
    result = (await library.jobs.get("bulk-old")).result
    assert result == {**Counts(total=1, cancelled=1).model_dump(), "truncated": False}


async def test_a_cancelled_list_counts_what_is_tried_again_by_itself_and_stays_cancelled(library: Library) -> None:
    await expanded(library, "x", "y")
    await _cancel(library, "bulk-one")
    await library.wishes.one(Wish.RETRY, item_id("x"))
    await publish(library, item_id("x"))
    batch = await library.jobs.get("bulk-one")
    assert (batch.state, batch.result) == (
        State.CANCELLED,
        {**Counts(total=2, completed=1, cancelled=1).model_dump(), "truncated": False},
    )


async def test_a_retry_in_pages_begins_the_batch_first_and_takes_what_was_cancelled_to_the_end(
    library: Library,
) -> None:
    names = [f"n{number}" for number in range(600)]
    await library.batches.submit(new_list(*names))
    await library.batches.expand_list("bulk-one", 1)
    await library.jobs.request_cancel("bulk-one", keep_partial=False)
    await library.wishes.one(Wish.RETRY, "bulk-one")
    assert await _counts(library, "bulk-one") == Counts(total=600, queued=600)
    assert (await library.jobs.get("bulk-one")).run == 2
    assert await library.window.heal_held() == ([], "")


async def test_who_wants_a_job_that_is_being_cancelled_gets_a_new_run_of_it(library: Library) -> None:
    for name in "xy":
        await library.jobs.submit(replace(new_job(name), id=item_id(name)))
        await begun(library, item_id(name))
        await library.jobs.request_cancel(item_id(name), keep_partial=False)
    again = await library.jobs.submit(replace(new_job("x"), id=item_id("x")))
    assert (again.fresh, again.job.run, again.job.cancel_requested) == (True, 2, False)
    await expanded(library, "y")
    for name in "xy":
        await library.jobs.cancel(item_id(name), 1)  # the old run's end
    assert (await library.jobs.get(item_id("x"))).state is State.QUEUED
    assert await let_go(library) == [item_id("y")]


async def test_a_new_run_does_not_inherit_the_leave_that_the_site_gave_the_last_one(library: Library) -> None:
    await library.jobs.submit(new_job("x"))
    [ask] = await library.waiters.line_up_site("example.org", at_most=1)
    lease = Lease(job_id=ask.job_id, run=ask.run, number=7, owner=ask.owner, since=0)
    [granted] = await library.waiters.grant([lease])
    assert granted.lease == 7
    await library.jobs.request_cancel("video-x", keep_partial=False)
    again = (await library.jobs.submit(new_job("x"))).job
    assert (again.run, again.lease, again.dispatched_at) == (2, None, None)


# What stands still with a batch.


async def test_what_two_lists_want_stands_still_when_both_do_and_goes_on_with_either(library: Library) -> None:
    await expanded(library, "x", job_id="bulk-one")
    await let_go(library, "bulk-one")
    await begun(library, item_id("x"))
    await expanded(library, "x", job_id="bulk-two")
    await let_go(library, "bulk-two")
    for batch_id, stopped in (("bulk-one", []), ("bulk-two", [item_id("x")])):
        await library.jobs.request_pause(batch_id)
        assert await library.window.stop(batch_id) == stopped
    await library.jobs.pause(item_id("x"), 1)
    _, granted = await library.wishes.one(Wish.RESUME, "bulk-one")
    assert set(granted.told) == {"bulk-one", item_id("x")}
    assert await states(library, "bulk-two") == ["queued"]


async def test_what_stands_still_with_its_list_goes_on_when_somebody_else_wants_it(library: Library) -> None:
    await expanded(library, "x", "y", "z", job_id="bulk-one")
    await let_go(library, "bulk-one")
    await library.jobs.request_pause("bulk-one")
    await library.window.stop("bulk-one")
    assert await states(library, "bulk-one") == ["paused"] * 3
    await expanded(library, "x", job_id="bulk-two")
    await library.jobs.submit(replace(new_job("y"), id=item_id("y")))
    assert await states(library, "bulk-one") == ["queued", "queued", "paused"]
    assert {job.id for job in await library.jobs.undispatched()} == {item_id("x"), item_id("y")}


async def test_what_somebody_paused_by_itself_stays_so_when_another_list_wants_it(library: Library) -> None:
    await expanded(library, "x", job_id="bulk-one")
    await let_go(library, "bulk-one")
    await library.jobs.request_pause(item_id("x"))
    await expanded(library, "x", job_id="bulk-two")
    assert await states(library, "bulk-two") == ["paused"]


async def test_a_job_whose_workflow_stands_still_before_anybody_noted_its_start_is_told_to_go_on(
    library: Library,
) -> None:
    await library.jobs.submit(new_job("x"))
    await library.jobs.request_pause("video-x")
    assert await library.jobs.pause("video-x", 1)
    _, granted = await library.wishes.one(Wish.RESUME, "video-x")
    assert granted.told == ("video-x",)


# Healing.


async def _break(library: Library, name: str, **item: object) -> None:
    """As no path of ours leaves it."""
    async with library._database.writing() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == item_id(name)).values(held=True))
        await connection.execute(update(items).where(items.c.job_id == item_id(name)).values(**item))


async def test_a_job_that_nobody_holds_is_found_and_stands_in_line_again_or_is_over(library: Library) -> None:
    await expanded(library, "counted", "lost", "good")
    await let_go(library, at_once=1)
    await _break(library, "counted", released=True)
    await _break(library, "lost", released=True, settled=True, state=State.CANCELLED)
    healed, after = await library.window.heal_held()
    assert (set(healed), after) == ({item_id("counted"), item_id("lost")}, "")
    assert await states(library) == ["queued", "cancelled", "queued"]
    assert (await library.jobs.get(item_id("lost"))).state is State.CANCELLED
    assert await let_go(library) == [item_id("counted"), item_id("good")]
    assert await library.window.heal_held() == ([], "")


async def test_many_that_are_held_are_looked_at_some_at_a_time(library: Library) -> None:
    await expanded(library, *"abcde")
    await _break(library, "e", released=True)
    found, after, looks = [], "", 0
    while looks == 0 or after:
        healed, after = await library.window.heal_held(after, at_most=2)
        found += healed
        looks += 1
    assert (found, looks) == ([item_id("e")], 3)
    assert (await library.jobs.counts(JobFilter(parent="bulk-one")))[State.QUEUED] == 5
