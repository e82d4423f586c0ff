"""Cancel, pause, resume, retry: of one job, of items, of everything that matches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Counts, Kind, State
from reelin.errors import Conflict, NotFound
from reelin.library import JobFilter, Library, Wish
from tests.library.samples import (
    begun,
    expanded,
    fail,
    item_id,
    let_go,
    new_job,
    new_list,
    publish,
    states,
)


async def _all(library: Library, wish: Wish, wanted: JobFilter) -> tuple[int, set[str], set[str]]:
    matched, told, batches = 0, set(), set()
    async for granted in library.wishes.all(wish, wanted):
        matched += granted.matched
        told |= set(granted.told)
        batches |= granted.batches
    return matched, told, batches


async def _over(library: Library, *names: str) -> None:
    """A batch in which `good` arrived and all else failed."""
    await expanded(library, *names)
    for job_id in await let_go(library):
        await (publish if job_id == item_id("good") else fail)(library, job_id)
    await library.window.finish("bulk-one", 1)


async def test_a_batch_that_never_began_ends_with_all_that_it_holds(library: Library) -> None:
    await library.batches.submit(new_list(*(f"n{number}" for number in range(300))))
    job = await library.jobs.request_cancel("bulk-one", keep_partial=False)
    assert job.state is State.CANCELLED
    assert job.result == {**Counts(total=300, cancelled=300).model_dump(), "truncated": False}
    assert set(await states(library)) == {"cancelled"}


async def test_an_item_is_retried_in_its_batch_while_that_runs(library: Library) -> None:
    await expanded(library, "bad", "next")
    await let_go(library, at_once=1)
    await fail(library, item_id("bad"))
    job, granted = await library.wishes.one(Wish.RETRY, item_id("bad"))
    assert (job.state, job.held, job.run) == (State.QUEUED, True, 2)
    assert granted.batches == {"bulk-one"}
    assert await library.jobs.undispatched() == []
    assert await let_go(library) == [item_id("bad"), item_id("next")]


async def test_an_item_is_retried_by_itself_once_its_batch_is_over_and_the_batch_follows(library: Library) -> None:
    await _over(library, "good", "bad")
    assert (await library.jobs.get("bulk-one")).state is State.PARTIAL
    job, _ = await library.wishes.one(Wish.RETRY, item_id("bad"))
    assert (job.held, job.standalone) == (False, False)
    assert [each.id for each in await library.jobs.undispatched()] == [item_id("bad")]
    await publish(library, item_id("bad"))
    batch = await library.jobs.get("bulk-one")
    assert (batch.state, batch.run) == (State.COMPLETED, 1)
    assert batch.result is not None and batch.result["completed"] == 2


async def test_a_batch_retries_only_what_failed_and_says_when_nothing_did(library: Library) -> None:
    await _over(library, "good", "bad")
    job, _ = await library.wishes.one(Wish.RETRY, "bulk-one")
    assert (job.state, job.run) == (State.QUEUED, 2)
    assert await states(library) == ["completed", "queued"]
    with pytest.raises(Conflict, match="nothing in it has failed"):
        await library.wishes.one(Wish.RETRY, "bulk-one")


async def test_a_cancelled_batch_is_taken_up_again(library: Library) -> None:
    await expanded(library, "a", "b")
    await library.window.call_off("bulk-one")
    await library.window.finish("bulk-one", 1, cancelled=True)
    await library.wishes.one(Wish.RETRY, "bulk-one")
    assert await states(library) == ["queued", "queued"]
    await begun(library, "bulk-one")
    assert await let_go(library) == [item_id("a"), item_id("b")]


async def test_a_playlist_inside_a_batch_waits_for_its_turn_there(library: Library) -> None:
    await _nested(library)
    job, granted = await library.wishes.one(Wish.RETRY, "playlist-inner")
    assert (job.state, job.held, job.run) == (State.QUEUED, True, 2)
    assert "playlist-outer" in granted.batches
    assert await states(library, "playlist-outer") == ["queued", "queued"]
    assert await states(library, "playlist-inner") == ["queued"]


async def _nested(library: Library) -> None:
    """A running batch in whose playlist everything failed; another item is still in line."""
    inner = replace(new_job("inner"), id="playlist-inner", kind=Kind.PLAYLIST)
    outer = replace(new_job("outer"), id="playlist-outer", kind=Kind.PLAYLIST)
    await library.jobs.submit(outer)
    for batch, entries in ((outer, [inner, new_job("other")]), (inner, [new_job("bad")])):
        await library.batches.open(batch.id, 1)
        await library.batches.store_page(batch.id, 1, entries, start=0)
        await library.batches.expanded(batch.id, 1, total=len(entries))
        await begun(library, batch.id)
        await let_go(library, batch.id, at_once=1)
    await fail(library, "video-bad")
    assert await library.window.finish("playlist-inner", 1) is State.FAILED


async def test_forgetting_a_batch_takes_what_nobody_else_wants_playlists_inside_included(library: Library) -> None:
    await _nested(library)
    await library.jobs.submit(new_job("other"))  # now someone wants it by itself
    assert await library.jobs.forgotten_with("playlist-outer") == ["playlist-inner"]
    await library.jobs.forget("playlist-outer")
    assert await library.jobs.find("playlist-inner") is None
    assert await library.jobs.find("video-bad") is None
    assert (await library.jobs.get("video-other")).standalone
    assert (await library.jobs.submit(new_job("bad"))).job.run == 2


async def test_an_item_that_is_forgotten_leaves_the_batch_able_to_end(library: Library) -> None:
    await expanded(library, "a", "b")
    await library.jobs.forget(item_id("a"))
    assert await let_go(library) == [item_id("b")]
    await publish(library, item_id("b"))
    assert await library.window.finish("bulk-one", 1) is State.COMPLETED
    with pytest.raises(NotFound):
        await library.jobs.forget(item_id("a"))


async def test_a_class_of_failures_is_retried_in_line_and_not_all_at_once(library: Library) -> None:
    await expanded(library, "slow", "gone", "good")
    await let_go(library)
    await fail(library, item_id("slow"), FailureKind.RATE_LIMITED)
    await fail(library, item_id("gone"), FailureKind.NOT_FOUND)
    await publish(library, item_id("good"))
    await library.window.finish("bulk-one", 1)
    await library.jobs.submit(new_job("alone"))
    await fail(library, "video-alone", FailureKind.RATE_LIMITED)
    matched, _, batches = await _all(library, Wish.RETRY, JobFilter(failure="rate_limited", with_items=True))
    assert (matched, batches) == (2, {"bulk-one"})
    assert {job.id for job in await library.jobs.undispatched()} == {"bulk-one", "video-alone"}
    assert await states(library) == ["queued", "failed", "completed"]
    assert (await library.jobs.get(item_id("slow"))).held


async def test_a_filter_by_parent_cancels_items_in_line_and_asks_for_the_end_of_those_that_fly(
    library: Library,
) -> None:
    await expanded(library, *(f"n{number}" for number in range(1200)))
    first, second = await let_go(library, at_once=2)
    await begun(library, first)
    matched, told, batches = await _all(library, Wish.CANCEL, JobFilter(parent="bulk-one"))
    assert (matched, told, batches) == (1200, {first}, {"bulk-one"})
    assert (await library.jobs.get(second)).state is State.CANCELLED  # Temporal did not know it yet
    counts, _ = await library.batches.count("bulk-one")
    assert (counts.running, counts.cancelled) == (1, 1199)
    assert await _all(library, Wish.CANCEL, JobFilter(parent="bulk-one")) == (0, set(), set())


async def test_everything_is_paused_and_resumed(library: Library) -> None:
    await expanded(library, "a", "b")
    await library.jobs.submit(new_job("alone"))
    await library.jobs.submit(replace(new_job("info"), id="info-one", kind=Kind.INFO))
    matched, told, _ = await _all(library, Wish.PAUSE, JobFilter(with_items=True))
    assert (matched, told) == (4, {"bulk-one"})
    assert (await library.jobs.get("info-one")).state is State.QUEUED
    assert await let_go(library) == []
    matched, told, _ = await _all(library, Wish.RESUME, JobFilter(with_items=True))
    assert (matched, told) == (4, {"bulk-one"})
    assert await states(library) == ["queued", "queued"]
    assert (await library.jobs.get("video-alone")).state is State.QUEUED


async def test_priorities_change_for_what_stands_in_line(library: Library) -> None:
    await expanded(library, "a", "b", "c")
    await library.wishes.prioritise(item_id("c"), 1)
    assert await let_go(library, at_once=1) == [item_id("c")]
    await library.wishes.prioritise("bulk-one", 5)
    rows = {name: (await library.jobs.get(item_id(name))).priority for name in "abc"}
    assert rows == {"a": 5, "b": 5, "c": 1}
    await begun(library, item_id("c"))
    with pytest.raises(Conflict, match="runs already"):
        await library.wishes.prioritise(item_id("c"), 2)
    await publish(library, item_id("c"))
    with pytest.raises(Conflict, match="completed already"):
        await library.wishes.prioritise(item_id("c"), 2)


async def test_a_state_that_does_not_allow_it_is_named(library: Library) -> None:
    await library.jobs.submit(new_job("one"))
    with pytest.raises(Conflict, match="queued, not paused"):
        await library.wishes.one(Wish.RESUME, "video-one")
    await library.jobs.submit(replace(new_job("info"), id="info-one", kind=Kind.INFO))
    with pytest.raises(Conflict, match="not paused"):
        await library.wishes.one(Wish.PAUSE, "info-one")
    await publish(library, "video-one")
    for wish in (Wish.CANCEL, Wish.PAUSE, Wish.RESUME):
        with pytest.raises(Conflict, match="completed already"):
            await library.wishes.one(wish, "video-one")
    with pytest.raises(Conflict, match="force=true"):
        await library.wishes.one(Wish.RETRY, "video-one")


async def test_an_item_shared_with_a_batch_that_is_forgotten_names_the_other_one(library: Library) -> None:
    await expanded(library, "a", "b")
    await expanded(library, "x", "a", job_id="bulk-two")
    await library.jobs.forget("bulk-one")
    shared = await library.jobs.get(item_id("a"))
    assert (shared.parent_id, shared.position) == ("bulk-two", 2)


async def test_an_item_of_a_paused_batch_is_not_resumed_by_itself(library: Library) -> None:
    await expanded(library, "a", "b")
    await let_go(library, at_once=1)
    await begun(library, item_id("a"))
    await library.jobs.request_pause("bulk-one")
    await library.window.stop("bulk-one")
    with pytest.raises(Conflict, match="bulk-one"):
        await library.jobs.request_resume(item_id("a"))
    await library.jobs.request_resume("bulk-one")
