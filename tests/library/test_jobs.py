"""The outbox and the index: who may change a job, and what people find."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.errors import Conflict, InvalidInput, NotFound
from reelin.library import JobFilter, Library
from tests.library.samples import failure, new_job, publication


async def test_a_submission_is_queued_and_waits_in_the_outbox(library: Library) -> None:
    submitted = await library.jobs.submit(new_job())
    assert submitted.fresh
    assert (submitted.job.state, submitted.job.run, submitted.job.dispatched_at) == (State.QUEUED, 1, None)
    assert [job.id for job in await library.jobs.undispatched()] == ["video-one"]


async def test_the_outbox_is_emptied_most_urgent_first(library: Library) -> None:
    for name, priority in (("late", 5), ("usual", 3), ("first", 1)):
        await library.jobs.submit(new_job(name, priority=priority))
    assert [job.id for job in await library.jobs.undispatched()] == ["video-first", "video-usual", "video-late"]


async def test_sites_take_turns_in_the_outbox(library: Library) -> None:
    for name, site in (("a", "many.org"), ("b", "many.org"), ("c", "many.org"), ("d", "few.org"), ("e", "few.org")):
        await library.jobs.submit(replace(new_job(name), site=site))
    order = [job.id.removeprefix("video-") for job in await library.jobs.undispatched(limit=4)]
    assert order == ["a", "d", "b", "e"]


async def test_a_site_with_very_many_jobs_keeps_no_other_out_of_the_front_of_the_outbox(library: Library) -> None:
    for number in range(30):
        await library.jobs.submit(replace(new_job(f"many{number}"), site="many.org"))
    await library.jobs.submit(replace(new_job("nowhere"), site=None))
    for name in ("b", "a"):
        await library.jobs.submit(replace(new_job(name), site=f"{name}.org"))
    front = [job.id.removeprefix("video-") for job in await library.jobs.undispatched(limit=4)]
    assert front == ["many0", "nowhere", "b", "a"]
    assert len(await library.jobs.undispatched(limit=500)) == 33


async def test_more_sites_than_one_statement_looks_at_take_turns_all_the_same(library: Library) -> None:
    for number in range(120):
        await library.jobs.submit(replace(new_job(f"{number}"), site=f"{number:03}.org"))
    front = await library.jobs.undispatched(limit=500)
    assert {job.site for job in front} == {f"{number:03}.org" for number in range(120)}


async def test_submitting_a_job_again_joins_it_while_it_runs_and_answers_it_when_it_is_done(library: Library) -> None:
    first = await library.jobs.submit(new_job())
    joined = await library.jobs.submit(new_job(force=True))
    assert not joined.fresh and joined.job == first.job
    await library.videos.publish(publication())
    answered = await library.jobs.submit(new_job())
    assert not answered.fresh and answered.job.state is State.COMPLETED


async def test_force_and_a_failure_make_a_new_run(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.fail("video-one", 1, failure=failure())
    again = await library.jobs.submit(new_job())
    assert again.fresh and (again.job.run, again.job.state, again.job.failure) == (2, State.QUEUED, None)
    await library.videos.publish(publication(run=2))
    forced = await library.jobs.submit(new_job(force=True))
    assert forced.fresh and (forced.job.run, forced.job.force) == (3, True)


async def test_many_submissions_of_one_job_at_once_are_one_job(library: Library) -> None:
    submitted = await asyncio.gather(*(library.jobs.submit(new_job()) for _ in range(20)))
    assert sum(each.fresh for each in submitted) == 1
    assert len(await library.jobs.undispatched()) == 1


async def test_an_old_run_changes_nothing_of_a_newer_one(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.fail("video-one", 1, failure=failure())
    await library.jobs.retry("video-one")
    await library.jobs.fail("video-one", 1, failure=failure(FailureKind.NOT_FOUND))
    await library.jobs.cancel("video-one", 1)
    assert await library.videos.publish(publication(run=1)) is None
    begun = await library.jobs.begin("video-one", 1, attempt=4)
    assert begun is not None
    assert (begun.run, begun.state, begun.attempt) == (2, State.QUEUED, 0)


async def test_a_final_state_stays(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.videos.publish(publication())
    done = await library.jobs.get("video-one")
    await library.jobs.fail("video-one", 1, failure=failure())
    await library.jobs.cancel("video-one", 1)
    await library.jobs.wait("video-one", 1, failure=failure(), attempt=1, until=datetime.now(UTC))
    assert await library.jobs.get("video-one") == done


async def test_the_life_of_a_job_is_kept_with_its_times_and_its_latest_failure(library: Library) -> None:
    await library.jobs.submit(new_job())
    begun = await library.jobs.begin("video-one", 1, attempt=1)
    assert begun is not None and begun.started_at is not None
    until = datetime.now(UTC) + timedelta(minutes=5)
    await library.jobs.wait("video-one", 1, failure=failure(), attempt=1, until=until)
    waiting = await library.jobs.get("video-one")
    assert (waiting.state, waiting.next_attempt_at, waiting.failure_kind) == (State.WAITING, until, "network")
    again = await library.jobs.begin("video-one", 1, attempt=2)
    assert again is not None
    assert (again.state, again.attempt, again.next_attempt_at) == (State.RUNNING, 2, None)
    assert again.started_at == begun.started_at
    await library.videos.publish(publication())
    done = await library.jobs.get("video-one")
    assert (done.state, done.failure, done.title) == (State.COMPLETED, None, "Film one")
    assert done.finished_at is not None


async def test_a_job_is_given_back_by_its_own_run_and_only_while_it_runs(library: Library) -> None:
    await library.jobs.submit(new_job())
    begun = await library.jobs.begin("video-one", 1, attempt=1)
    await library.jobs.give_back("video-one", 0)
    assert await library.jobs.get("video-one") == begun
    await library.jobs.give_back("video-one", 1)
    given = await library.jobs.get("video-one")
    assert begun is not None and given.version > begun.version
    assert (given.state, given.attempt, given.started_at) == (State.QUEUED, 1, begun.started_at)
    assert given.dispatched_at == begun.dispatched_at, "Temporal has it: nobody is to dispatch it again"
    await library.jobs.wait("video-one", 1, failure=failure(), attempt=1, until=datetime.now(UTC))
    waiting = await library.jobs.get("video-one")
    await library.jobs.give_back("video-one", 1)
    assert await library.jobs.get("video-one") == waiting


async def test_every_change_makes_the_version_greater(library: Library) -> None:
    versions = [(await library.jobs.submit(new_job())).job.version]
    for attempt in range(1, 5):
        begun = await library.jobs.begin("video-one", 1, attempt=attempt)
        assert begun is not None
        versions.append(begun.version)
    assert versions == sorted(set(versions))
    assert await library.jobs.versions_since(versions[-2]) == [("video-one", versions[-1])]
    assert await library.jobs.versions_since(versions[-1]) == []


async def test_cancelling_a_job_that_temporal_does_not_know_ends_it_here(library: Library) -> None:
    await library.jobs.submit(new_job())
    cancelled = await library.jobs.request_cancel("video-one", keep_partial=False)
    assert cancelled.state is State.CANCELLED
    assert await library.jobs.undispatched() == []
    with pytest.raises(Conflict):
        await library.jobs.request_cancel("video-one", keep_partial=False)


async def test_a_cancel_that_overtakes_the_dispatch_is_reported_by_it(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.mark_dispatched([("video-one", 1)])
    asked = await library.jobs.request_cancel("video-one", keep_partial=True)
    assert (asked.state, asked.keep_partial) == (State.QUEUED, True)
    assert await library.jobs.mark_dispatched([("video-one", 1)]) == ["video-one"]
    begun = await library.jobs.begin("video-one", 1, attempt=1)
    assert begun is not None and begun.cancel_requested and begun.state is State.QUEUED


async def test_only_what_temporal_was_told_of_is_compared_with_it(library: Library) -> None:
    for name in ("outbox", "waits", "known", "over"):
        await library.jobs.submit(new_job(name))
    await library.jobs.mark_dispatched([("video-known", 1), ("video-over", 1)])
    await library.jobs.cancel("video-over", 1)
    await library.waiters.line_up(["video-waits"])
    assert [[job.id for job in page] async for page in library.jobs.dispatched_pages()] == [["video-known"]]


async def test_jobs_are_compared_page_by_page(library: Library) -> None:
    for number in range(5):
        await library.jobs.submit(new_job(str(number)))
    await library.jobs.mark_dispatched([(f"video-{number}", 1) for number in range(5)])
    pages = [[job.id for job in page] async for page in library.jobs.dispatched_pages(size=2)]
    assert pages == [["video-0", "video-1"], ["video-2", "video-3"], ["video-4"]]


async def test_a_job_that_is_dispatched_again_counts_its_attempts_anew(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.begin("video-one", 1, attempt=4)
    await library.jobs.dispatch_again("video-one", 1)
    job = await library.jobs.get("video-one")
    assert (job.state, job.attempt, job.dispatched_at, job.lease) == (State.QUEUED, 0, None, None)


async def test_a_pause_is_written_down_only_while_it_is_wanted(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.begin("video-one", 1, attempt=1)
    assert not await library.jobs.pause("video-one", 1), "nobody wants it, or not any more"
    assert (await library.jobs.get("video-one")).state is State.RUNNING
    await library.jobs.request_pause("video-one")
    assert not await library.jobs.pause("video-one", 2)
    assert [await library.jobs.pause("video-one", 1) for _ in range(2)] == [True, True]
    assert (await library.jobs.get("video-one")).state is State.PAUSED
    await library.jobs.cancel("video-one", 1)
    assert not await library.jobs.pause("video-one", 1)
    assert not await library.jobs.pause("video-none", 1)


async def test_only_what_ended_badly_can_be_retried(library: Library) -> None:
    await library.jobs.submit(new_job())
    with pytest.raises(Conflict):
        await library.jobs.retry("video-one")
    await library.videos.publish(publication())
    with pytest.raises(Conflict, match="force"):
        await library.jobs.retry("video-one")
    with pytest.raises(NotFound):
        await library.jobs.retry("video-none")


async def test_pages_follow_each_other_without_gap_or_overlap_in_every_order(library: Library) -> None:
    for number in range(7):
        await library.jobs.submit(new_job(f"n{number}"))
    await library.jobs.fail("video-n3", 1, failure=failure())
    names = sorted(f"video-n{number}" for number in range(7))
    for sort in ("submitted_at", "finished_at", "title", "size", "position"):
        seen: dict[str, list[str]] = {}
        for direction in (sort, f"-{sort}"):
            cursor, found = None, []
            while True:
                page = await library.jobs.page(JobFilter(), sort=direction, limit=3, cursor=cursor)
                found += [job.id for job in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            seen[direction] = found
            assert sorted(found) == names
        assert seen[sort] == seen[f"-{sort}"][::-1]


async def test_a_page_stays_where_it_was_when_new_jobs_arrive(library: Library) -> None:
    for number in range(4):
        await library.jobs.submit(new_job(f"n{number}"))
    first = await library.jobs.page(JobFilter(), sort="-submitted_at", limit=2, cursor=None)
    await library.jobs.submit(new_job("newer"))
    second = await library.jobs.page(JobFilter(), sort="-submitted_at", limit=2, cursor=first.next_cursor)
    assert [job.id for job in (*first.items, *second.items)] == ["video-n3", "video-n2", "video-n1", "video-n0"]


async def test_filters_find_by_state_failure_site_and_text_taken_literally(library: Library) -> None:
    for name in ("100%", "100x", "other"):
        await library.jobs.submit(new_job(name))
    await library.jobs.fail("video-other", 1, failure=failure(FailureKind.NOT_FOUND))

    async def found(wanted: JobFilter) -> set[str]:
        page = await library.jobs.page(wanted, sort="submitted_at", limit=10, cursor=None)
        return {job.id for job in page.items}

    assert await found(JobFilter(q="100%")) == {"video-100%"}
    assert await found(JobFilter(q="EXAMPLE.org/OTHER")) == {"video-other"}
    assert await found(JobFilter(state=(State.FAILED,))) == {"video-other"}
    assert await found(JobFilter(failure="not_found")) == {"video-other"}
    assert await found(JobFilter(site="example.com")) == set()
    counts = await library.jobs.counts(JobFilter(state=(State.FAILED,)))
    assert (counts[State.QUEUED], counts[State.FAILED], counts[State.RUNNING]) == (2, 1, 0)


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "WyJ0aXRsZSIsICJhIiwgImIiXQ"])
async def test_a_cursor_of_another_list_is_refused_with_its_remedy(library: Library, cursor: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await library.jobs.page(JobFilter(), sort="-submitted_at", limit=2, cursor=cursor)
    assert raised.value.field == "cursor"
    assert "next_cursor" in raised.value.remedy


async def test_an_unknown_order_is_refused_with_the_known_ones(library: Library) -> None:
    with pytest.raises(InvalidInput) as raised:
        await library.jobs.page(JobFilter(), sort="colour", limit=2, cursor=None)
    assert "-submitted_at" in raised.value.remedy


async def test_a_job_is_found_by_the_beginning_of_its_id_and_not_by_a_word_that_only_begins_ids(
    library: Library,
) -> None:
    for name in ("3f9c01", "3f9d02"):
        await library.jobs.submit(new_job(name))

    async def found(text: str) -> list[str]:
        page = await library.jobs.page(JobFilter(q=text), sort="submitted_at", limit=10, cursor=None)
        return [job.id for job in page.items]

    assert await found("video-3f9c") == ["video-3f9c01"]
    assert sorted(await found("video-3f9")) == ["video-3f9c01", "video-3f9d02"]
    assert await found("video-") == []


async def test_a_preview_that_was_submitted_as_auto_is_a_playlist_once_it_is_opened(library: Library) -> None:
    job = (await library.jobs.submit(replace(new_job(), preview=True))).job
    await library.batches.open(job.id, job.run)
    assert (await library.jobs.get(job.id)).kind is Kind.PLAYLIST
