"""How lists and playlists become items, and how a batch is looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Counts, Kind, State
from reelin.errors import Conflict
from reelin.library import PAGE, JobFilter, Library, NewJob, Wish
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


async def _playlist(library: Library, job_id: str, *entries: NewJob, run: int = 1, **options: object) -> None:
    """A playlist that has been taken apart."""
    new = replace(new_job(job_id), id=job_id, kind=Kind.PLAYLIST)
    new = replace(new, options=new.options.model_copy(update=options))
    await library.jobs.submit(new)
    await library.batches.open(job_id, run)
    await library.batches.store_page(job_id, run, entries, start=0)
    await library.batches.expanded(job_id, run, total=len(entries))


async def test_a_list_is_stored_whole_and_counted_whole_before_it_is_expanded(library: Library) -> None:
    names = [f"n{number}" for number in range(PAGE + 50)]
    submitted = await library.batches.submit(new_list(*names))
    assert submitted.fresh and submitted.job.title == f"{PAGE + 50} URLs"
    counts, _ = await library.batches.count("bulk-one")
    assert counts == Counts(total=PAGE + 50, queued=PAGE + 50)
    assert len(await states(library)) == PAGE
    batch = await library.batches.expand_list("bulk-one", 1)
    assert (batch.expanded, batch.total, batch.cursor) == (True, PAGE + 50, PAGE + 50)
    assert len(await states(library)) == PAGE + 50
    assert (await library.batches.count("bulk-one"))[0] == Counts(total=PAGE + 50, queued=PAGE + 50)


async def test_items_are_held_and_listed_only_with_their_batch(library: Library) -> None:
    await expanded(library, "a", "b")
    assert await library.jobs.undispatched() == []
    assert [page async for page in library.jobs.dispatched_pages()] == [[await library.jobs.get("bulk-one")]]
    page = await library.jobs.page(JobFilter(), sort="-submitted_at", limit=10, cursor=None)
    assert [job.id for job in page.items] == ["bulk-one"]
    everything = await library.jobs.page(JobFilter(with_items=True), sort="title", limit=10, cursor=None)
    assert len(everything.items) == 3


async def test_a_url_that_stands_twice_is_one_job_at_two_positions(library: Library) -> None:
    await expanded(library, "a", "b", "a")
    page = await library.jobs.page(JobFilter(parent="bulk-one"), sort="position", limit=10, cursor=None)
    assert [(job.position, job.id) for job in page.items] == [
        (1, item_id("a")),
        (2, item_id("b")),
        (3, item_id("a")),
    ]
    assert await let_go(library) == [item_id("a"), item_id("b")]
    await publish(library, item_id("a"))
    assert (await library.batches.count("bulk-one"))[0] == Counts(total=3, queued=1, completed=2)


async def test_what_runs_already_is_joined_and_not_started_twice(library: Library) -> None:
    alone = replace(new_job("a"), id=item_id("a"))
    await library.jobs.submit(alone)
    await begun(library, alone.id)
    await expanded(library, "a", "b")
    assert await states(library) == ["running", "queued"]
    assert await let_go(library) == [item_id("b")]
    await publish(library, alone.id)
    assert await states(library) == ["completed", "queued"]


async def test_what_the_library_has_is_skipped_unless_it_is_forced(library: Library) -> None:
    await library.jobs.submit(replace(new_job("a"), id=item_id("a")))
    await publish(library, item_id("a"))
    await expanded(library, "a", "b")
    page = await library.jobs.page(JobFilter(parent="bulk-one"), sort="position", limit=10, cursor=None)
    assert [(job.state, job.skipped) for job in page.items] == [(State.COMPLETED, True), (State.QUEUED, False)]
    assert (await library.batches.count("bulk-one"))[0] == Counts(total=2, queued=1, skipped=1)
    forced = new_list("a", job_id="bulk-forced")
    await library.batches.submit(replace(forced, job=replace(forced.job, force=True)))
    assert await states(library, "bulk-forced") == ["queued"]


async def test_a_page_that_is_stored_twice_is_stored_once(library: Library) -> None:
    await _playlist(library, "playlist-one", listed("a"), listed("b"))
    assert await library.batches.store_page("playlist-one", 1, [listed("a"), listed("b")], start=0) == 2
    assert await library.batches.store_page("playlist-one", 7, [listed("c")], start=2) == 2
    assert len(await states(library, "playlist-one")) == 2


async def test_a_playlist_that_holds_itself_does_not_run_for_ever(library: Library) -> None:
    inner = replace(new_job("inner"), id="playlist-inner", kind=Kind.PLAYLIST)
    await _playlist(library, "playlist-one", listed("a"), inner)
    await library.batches.open("playlist-inner", 1)
    outer = replace(new_job("outer"), id="playlist-one", kind=Kind.PLAYLIST)
    await library.batches.store_page("playlist-inner", 1, [outer, inner, listed("b")], start=0)
    assert await states(library, "playlist-inner") == ["queued"]
    assert (await library.jobs.get("video-b")).depth == 2


async def test_only_what_is_new_and_no_more_than_asked_for(library: Library) -> None:
    await library.jobs.submit(new_job("a"))
    await publish(library, "video-a")
    await _playlist(library, "playlist-new", listed("a"), listed("b"), listed("c"), only_new=True)
    assert [job.id for job in (await _items(library, "playlist-new"))] == ["video-b", "video-c"]
    await _playlist(library, "playlist-two", *(listed(name) for name in "defg"), max_items=2)
    assert [job.id for job in (await _items(library, "playlist-two"))] == ["video-d", "video-e"]


async def _items(library: Library, batch_id: str) -> tuple[object, ...]:
    page = await library.jobs.page(JobFilter(parent=batch_id), sort="position", limit=100, cursor=None)
    return page.items


async def test_the_same_key_is_the_same_list_and_no_other(library: Library) -> None:
    first = replace(new_list("a"), request_hash="1")
    await library.batches.submit(first)
    assert not (await library.batches.submit(first)).fresh
    with pytest.raises(Conflict, match="another request"):
        await library.batches.submit(replace(new_list("b"), request_hash="2"))


async def test_a_preview_stands_paused_once_its_items_are_listed(library: Library) -> None:
    new = replace(new_job("list"), id="playlist-one", kind=Kind.PLAYLIST, preview=True)
    await library.jobs.submit(new)
    batch = await library.batches.open("playlist-one", 1)
    assert batch.preview
    await library.batches.store_page("playlist-one", 1, [listed("a"), listed("b")], start=0)
    assert not (await library.jobs.get("playlist-one")).pause_requested
    await library.batches.expanded("playlist-one", 1, total=2, title="A list")
    job = await library.jobs.get("playlist-one")
    assert (job.pause_requested, job.title) == (True, "A list")


async def test_a_playlist_that_is_submitted_again_is_looked_at_again(library: Library) -> None:
    new = replace(new_job("list"), id="playlist-one", kind=Kind.PLAYLIST)
    await _playlist(library, "playlist-one", listed("a"))
    await begun(library, "playlist-one")
    await let_go(library, "playlist-one")
    await publish(library, "video-a")
    assert await library.window.finish("playlist-one", 1) is State.COMPLETED
    again = await library.jobs.submit(replace(new, preview=True))
    assert (again.fresh, again.job.run) == (True, 2)
    assert (await library.batches.open("playlist-one", 2)).preview
    assert await states(library, "playlist-one") == []


async def test_how_many_at_once_is_an_option(library: Library) -> None:
    await library.batches.submit(replace(new_list("a"), at_once=7))
    batch = await library.batches.find("bulk-one")
    assert batch is not None and batch.at_once == 7
    new = replace(new_job("list"), id="playlist-one", kind=Kind.PLAYLIST)
    await library.jobs.submit(replace(new, options=new.options.model_copy(update={"at_once": 3})))
    assert (await library.batches.open("playlist-one", 1)).at_once == 3


async def test_how_a_batch_ends_follows_from_its_items(library: Library) -> None:
    for batch_id, names, expected in (
        ("bulk-good", ("a", "b"), State.COMPLETED),
        ("bulk-mixed", ("a", "bad"), State.PARTIAL),
        ("bulk-bad", ("bad2", "bad3"), State.FAILED),
    ):
        await expanded(library, *names, job_id=batch_id)
        for job_id in await let_go(library, batch_id):
            bad = job_id in (item_id("bad"), item_id("bad2"), item_id("bad3"))
            await (fail if bad else publish)(library, job_id)
        assert await library.window.finish(batch_id, 1) is expected
    job = await library.jobs.get("bulk-bad")
    assert job.failure is not None and job.failure["kind"] == "network"
    assert job.result == {**Counts(total=2, failed=2).model_dump(), "truncated": False}


# While the items are still being listed.


async def _begin_listing(library: Library, *entries: NewJob, preview: bool = False, **options: object) -> None:
    """A playlist of which one page is stored, and whose workflow runs."""
    new = replace(new_job("list"), id="playlist-one", kind=Kind.PLAYLIST, preview=preview)
    await library.jobs.submit(replace(new, options=new.options.model_copy(update=options)))
    await library.batches.open("playlist-one", 1)
    await library.batches.store_page("playlist-one", 1, entries, start=0)
    await begun(library, "playlist-one")


async def _list_more(library: Library, *entries: NewJob, start: int) -> None:
    await library.batches.store_page("playlist-one", 1, entries, start=start)


async def test_what_is_listed_runs_and_the_batch_is_not_over_before_all_is_listed(library: Library) -> None:
    await _begin_listing(library, listed("a"))
    released = await library.window.release("playlist-one", at_once=5, limit_of=lambda site: None)
    assert ([job.id for job in released.jobs], released.listing) == (["video-a"], True)
    await publish(library, "video-a")
    assert await library.window.finish("playlist-one", 1) is None
    assert (await library.batches.count("playlist-one"))[0] == Counts(total=1, completed=1)
    await _list_more(library, listed("b"), start=1)
    await library.batches.expanded("playlist-one", 1, total=2)
    assert await library.window.finish("playlist-one", 1) is None
    assert await let_go(library, "playlist-one") == ["video-b"]
    await publish(library, "video-b")
    assert await library.window.finish("playlist-one", 1) is State.COMPLETED


async def test_nothing_of_a_preview_runs_while_it_is_listed_and_nobody_can_choose_yet(library: Library) -> None:
    await _begin_listing(library, listed("a"), preview=True)
    assert await let_go(library, "playlist-one") == []
    with pytest.raises(Conflict, match="still being listed"):
        await library.window.choose("playlist-one", [1])


async def test_items_of_an_earlier_run_do_not_go_before_the_playlist_is_looked_at_again(library: Library) -> None:
    await _begin_listing(library, listed("a"), listed("b"))
    await library.jobs.cancel("playlist-one", 1)
    await library.jobs.submit(replace(new_job("list"), id="playlist-one", kind=Kind.PLAYLIST))
    await begun(library, "playlist-one")
    released = await library.window.release("playlist-one", at_once=5, limit_of=lambda site: None)
    assert (released.jobs, released.listing) == ((), True)
    assert await library.window.finish("playlist-one", 2) is None


@pytest.mark.parametrize("options", [{}, {"only_new": True}], ids=["all", "only new"])
async def test_what_stands_twice_counts_twice_though_it_is_through_when_it_is_listed_again(
    library: Library, options: dict[str, object]
) -> None:
    await _begin_listing(library, listed("good"), listed("bad"), listed("line"), **options)
    await let_go(library, "playlist-one", at_once=2)
    await publish(library, "video-good")
    await fail(library, "video-bad")
    await _list_more(library, listed("good"), listed("bad"), listed("line"), start=3)
    assert await states(library, "playlist-one") == ["completed", "failed", "queued"] * 2
    counts, size_bytes = await library.batches.count("playlist-one")
    assert counts == Counts(total=6, completed=2, failed=2, queued=2)
    assert size_bytes == 20
    assert await let_go(library, "playlist-one") == ["video-line"]


async def test_what_is_listed_later_has_the_priority_that_the_batch_was_given_meanwhile(library: Library) -> None:
    await _begin_listing(library, listed("a"))
    await library.wishes.prioritise("playlist-one", 1)
    await _list_more(library, listed("b"), start=1)
    assert [(await library.jobs.get(f"video-{name}")).priority for name in "ab"] == [1, 1]


async def test_of_a_batch_that_is_to_end_nothing_more_is_listed(library: Library) -> None:
    await _begin_listing(library, listed("a"))
    await library.jobs.request_cancel("playlist-one", keep_partial=False)
    assert await library.batches.store_page("playlist-one", 1, [listed("b")], start=1) == 1


async def test_a_playlist_that_is_looked_at_again_keeps_what_has_run_at_its_position(library: Library) -> None:
    await _begin_listing(library, listed("a"), listed("b"), listed("a"))
    await let_go(library, "playlist-one", at_once=1)
    await publish(library, "video-a")
    batch = await library.batches.expand_anew("playlist-one", 1)
    assert (batch.cursor, batch.kept) == (0, 3)
    await _list_more(library, listed("new"), listed("a"), start=0)
    await _list_more(library, listed("b"), listed("a"), listed("new"), start=2)
    items = await library.jobs.page(JobFilter(parent="playlist-one"), sort="position", limit=10, cursor=None)
    assert [job.id for job in items.items] == [f"video-{name}" for name in ("a", "b", "a", "new", "new")]
    assert [str(job.state) for job in items.items] == ["completed", "queued", "completed", "queued", "queued"]


async def test_listing_that_is_given_up_without_any_item_fails_the_batch_at_once(library: Library) -> None:
    await _begin_listing(library)
    await library.batches.give_up("playlist-one", 1, failure=failure())
    job = await library.jobs.get("playlist-one")
    assert (job.state, job.failure_kind) == (State.FAILED, "network")


@pytest.mark.parametrize("good", [True, False])
async def test_listing_that_is_given_up_ends_the_batch_with_that_failure_when_its_items_are_through(
    library: Library, good: bool
) -> None:
    await _begin_listing(library, listed("a"))
    await library.batches.give_up("playlist-one", 1, failure=failure(FailureKind.DISK_FULL))
    job = await library.jobs.get("playlist-one")
    assert (job.state, job.failure_kind) == (State.RUNNING, "disk_full")
    assert await library.window.finish("playlist-one", 1) is None
    assert await let_go(library, "playlist-one") == ["video-a"]
    await (publish if good else fail)(library, "video-a")
    assert await library.window.finish("playlist-one", 1) is (State.PARTIAL if good else State.FAILED)
    job = await library.jobs.get("playlist-one")
    assert job.failure is not None and job.failure["kind"] == "disk_full"


async def test_a_retry_goes_on_with_the_list_and_with_what_failed(library: Library) -> None:
    names = [f"n{number}" for number in range(PAGE + 2)]
    await library.batches.submit(new_list(*names))
    await begun(library, "bulk-one")
    await library.batches.give_up("bulk-one", 1, failure=failure(FailureKind.DISK_FULL))
    assert (await library.batches.expand_list("bulk-one", 1)).cursor == PAGE, "it was given up"
    for job_id in await let_go(library, at_once=PAGE):
        await (fail if job_id == item_id("n7") else publish)(library, job_id)
    assert await library.window.finish("bulk-one", 1) is State.PARTIAL
    result = (await library.jobs.get("bulk-one")).result
    assert result == {**Counts(total=PAGE + 2, completed=PAGE - 1, failed=3).model_dump(), "truncated": False}
    job, _ = await library.wishes.one(Wish.RETRY, "bulk-one")
    assert (job.run, job.failure) == (2, None)
    assert (await library.batches.count("bulk-one"))[0] == Counts(total=PAGE + 2, completed=PAGE - 1, queued=3)
    await begun(library, "bulk-one")
    assert await let_go(library) == [item_id("n7")]
    await library.batches.expand_list("bulk-one", 2)
    assert await let_go(library) == [item_id(f"n{PAGE}"), item_id(f"n{PAGE + 1}")]
    for name in ("n7", f"n{PAGE}", f"n{PAGE + 1}"):
        await publish(library, item_id(name))
    assert await library.window.finish("bulk-one", 2) is State.COMPLETED
    assert (await library.jobs.get("bulk-one")).failure is None


async def test_a_list_is_no_level_of_the_playlists_that_it_holds(library: Library) -> None:
    await library.batches.submit(new_list("channel"))
    assert (await library.jobs.get(item_id("channel"))).depth == 0
