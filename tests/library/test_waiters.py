"""The lines in which jobs wait for their sites, and the leases: who stands where, and who may fetch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.sites import Ask, Lease, LeasesSeen
from reelin.library import JobRecord, Library
from tests.library.samples import expanded, failure, let_go, new_job, publish, states

SITE = "example.org"


async def submit(library: Library, *names: str, **changed: object) -> None:
    for name in names:
        await library.jobs.submit(replace(new_job(name), **changed))  # type: ignore[arg-type]


async def stand_in_line(library: Library, *names: str, **changed: object) -> None:
    """One after the other."""
    for name in names:
        await submit(library, name, **changed)
        await library.waiters.line_up([f"video-{name}"])


async def line(library: Library, site: str = SITE, *, at_most: int = 100) -> list[str]:
    front = (await library.waiters.front(site, at_most=at_most)).front
    return [ask.job_id.removeprefix("video-") for ask in front]


def lease(name: str, number: int = 1, *, run: int = 1) -> Lease:
    return Lease(job_id=f"video-{name}", run=run, number=number, owner="local", since=0)


async def granted(library: Library, name: str = "one", number: int = 7) -> JobRecord:
    """The job has a lease, and no worker has it yet."""
    await stand_in_line(library, name)
    [job] = await library.waiters.grant([lease(name, number)])
    return job


async def row(library: Library, name: str = "one") -> JobRecord:
    return await library.jobs.get(f"video-{name}")


# Who stands in line, and in which order.


async def test_jobs_of_a_site_leave_the_outbox_for_its_line_the_most_urgent_first(library: Library) -> None:
    for name, priority in (("late", 5), ("usual", 3), ("first", 1)):
        await submit(library, name, priority=priority)
    await submit(library, "elsewhere", site="other.org")
    asks = await library.waiters.line_up_site(SITE, at_most=2)
    assert [ask.job_id for ask in asks] == ["video-first", "video-usual"]
    waiting = await row(library, "first")
    assert (waiting.state, waiting.dispatched_at, waiting.lease) == (State.WAITING, None, None)
    since = waiting.awaiting_lease_since
    assert since is not None
    assert asks[0] == Ask(job_id="video-first", run=1, owner="local", priority=1, since=since.timestamp())
    assert {job.id for job in await library.jobs.undispatched()} == {"video-late", "video-elsewhere"}
    assert [ask.job_id for ask in await library.waiters.line_up_site(SITE, at_most=2)] == ["video-late"]
    assert await library.waiters.line_up_site(SITE, at_most=2) == []


async def test_only_downloads_stand_in_line(library: Library) -> None:
    for kind in (Kind.INFO, Kind.PLAYLIST, Kind.AUTO, Kind.VIDEO):
        await submit(library, kind, kind=kind)
    assert {ask.job_id for ask in await library.waiters.line_up_site(SITE, at_most=9)} == {"video-auto", "video-video"}


async def test_a_line_is_ordered_by_priority_and_then_by_who_waits_longest(library: Library) -> None:
    await stand_in_line(library, "a", "b")
    await stand_in_line(library, "urgent", priority=1)
    await stand_in_line(library, "c")
    assert await line(library) == ["urgent", "a", "b", "c"]
    await library.wishes.prioritise("video-c", 2)
    assert await line(library) == ["urgent", "c", "a", "b"]


async def test_those_that_came_at_one_moment_stand_as_they_were_submitted(library: Library) -> None:
    await submit(library, "z", "y", "x")
    await library.waiters.line_up({"video-x", "video-y", "video-z"})
    assert await line(library) == ["z", "y", "x"]


async def test_every_owner_has_some_at_the_front_however_many_another_one_has(library: Library) -> None:
    await stand_in_line(library, *(f"many{number}" for number in range(6)), owner="many")
    await stand_in_line(library, "few", owner="few")
    waiters = await library.waiters.front(SITE, at_most=4)
    assert [ask.job_id for ask in waiters.front] == ["video-many0", "video-many1", "video-few"]
    assert [ask.owner for ask in waiters.front] == ["many", "many", "few"]
    assert waiters.total == 7


async def test_a_line_without_anybody_is_empty_and_lines_are_their_sites_own(library: Library) -> None:
    await stand_in_line(library, "here")
    await stand_in_line(library, "there", site="other.org")
    assert (await line(library), await line(library, "other.org")) == (["here"], ["there"])
    empty = await library.waiters.front("nowhere.org", at_most=9)
    assert (empty.front, empty.total) == ((), 0)


async def test_lining_up_twice_keeps_the_place(library: Library) -> None:
    await submit(library, "one", "two")
    [(site, first)] = await library.waiters.line_up(["video-one"])
    asks = {ask.job_id: ask for _, ask in await library.waiters.line_up(["video-one", "video-two"])}
    assert (site, asks["video-one"]) == (SITE, first)
    assert await line(library) == ["one", "two"]


async def test_who_is_further_already_or_is_not_to_run_stands_in_no_line(library: Library) -> None:
    names = ["runs", "known", "paused", "cancelled", "unlimited"]
    await submit(library, *names)
    await library.jobs.begin("video-runs", 1, attempt=1)
    await library.jobs.mark_dispatched([("video-known", 1)])
    await library.jobs.request_pause("video-paused")
    await library.jobs.request_cancel("video-cancelled", keep_partial=False)
    assert await library.waiters.line_up([f"video-{name}" for name in names[:-1]]) == []
    found = [(await row(library, name)).state for name in names]
    assert found == [State.RUNNING, State.QUEUED, State.PAUSED, State.CANCELLED, State.QUEUED]
    assert [ask.job_id for ask in await library.waiters.line_up_site(SITE, at_most=9)] == ["video-unlimited"]


async def test_a_wish_that_is_still_to_be_heard_keeps_a_job_out_of_the_line(library: Library) -> None:
    await submit(library, "paused", "cancelled")
    for name in ("paused", "cancelled"):
        await library.jobs.mark_dispatched([(f"video-{name}", 1)])
    await library.jobs.request_pause("video-paused")
    await library.jobs.request_cancel("video-cancelled", keep_partial=False)
    for name in ("paused", "cancelled"):
        await library.jobs.dispatch_again(f"video-{name}", 1)
    assert await library.waiters.line_up_site(SITE, at_most=9) == []
    assert await library.waiters.line_up(["video-paused", "video-cancelled"]) == []
    started = {job.id for job in await library.jobs.undispatched()}
    assert started == {"video-paused", "video-cancelled"}, "their workflows carry it out"


async def test_who_waits_for_a_site_that_is_shut_is_shown_until_when(library: Library) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    await library.sites.complained(SITE, FailureKind.RATE_LIMITED, soon)
    await stand_in_line(library, "one")
    assert ((await row(library)).next_attempt_at, (await row(library)).failure) == (soon, None)
    await library.sites.complained("other.org", FailureKind.RATE_LIMITED, datetime.now(UTC) - timedelta(minutes=5))
    await stand_in_line(library, "two", site="other.org")
    assert (await row(library, "two")).next_attempt_at is None


@pytest.mark.parametrize("end", ["cancel", "pause", "call off", "stop"])
async def test_what_ends_or_stands_still_in_line_is_shown_with_no_next_attempt(library: Library, end: str) -> None:
    await library.sites.complained(SITE, FailureKind.RATE_LIMITED, datetime.now(UTC) + timedelta(minutes=5))
    await expanded(library, "a")
    [job_id] = await let_go(library)
    await library.waiters.line_up([job_id])
    assert (await library.jobs.get(job_id)).next_attempt_at is not None
    match end:
        case "cancel":
            await library.jobs.request_cancel(job_id, keep_partial=False)
        case "pause":
            await library.jobs.request_pause(job_id)
        case "call off":
            assert await library.window.call_off("bulk-one") == [], "Temporal does not know it"
        case "stop":
            assert await library.window.stop("bulk-one") == []
    job = await library.jobs.get(job_id)
    ended = end in ("cancel", "call off")
    assert job.state is (State.CANCELLED if ended else State.PAUSED)
    assert (job.next_attempt_at, job.awaiting_lease_since) == (None, None)
    assert await states(library) == [str(job.state)]
    assert (await library.waiters.front(SITE, at_most=9)).total == 0


async def test_items_of_a_paused_batch_stand_in_line_again_when_it_goes_on(library: Library) -> None:
    await expanded(library, "a", "b")
    await library.waiters.line_up(await let_go(library))
    await library.jobs.request_pause("bulk-one")
    await library.window.stop("bulk-one")
    assert await states(library) == ["paused", "paused"]
    await library.jobs.request_resume("bulk-one")
    assert await states(library) == ["queued", "queued"]
    assert len(await library.waiters.line_up_site(SITE, at_most=9)) == 2


async def test_items_stand_in_line_as_their_jobs_do(library: Library) -> None:
    await expanded(library, "a", "b")
    [first, _] = await let_go(library)
    await library.waiters.line_up([first])
    assert await states(library) == ["waiting", "queued"]
    ask = (await library.waiters.front(SITE, at_most=9)).front[0]
    await library.waiters.grant([Lease(job_id=first, run=ask.run, number=1, owner=ask.owner, since=0)])
    assert await states(library) == ["queued", "queued"]


async def test_a_worker_puts_a_job_in_line_and_asking_again_changes_nothing(library: Library) -> None:
    await submit(library, "one")
    waiting = await library.jobs.wait_for_lease("video-one", 1)
    assert waiting is not None and waiting.awaiting_lease_since is not None
    assert (waiting.state, waiting.failure, waiting.attempt) == (State.WAITING, None, 0)
    assert await library.jobs.wait_for_lease("video-one", 1) == waiting
    begun = await library.jobs.begin("video-one", 1, 1)
    assert begun is not None and (begun.state, begun.awaiting_lease_since) == (State.RUNNING, None)


async def test_a_moment_that_has_passed_is_not_shown_as_the_next_attempt(library: Library) -> None:
    await submit(library, "one")
    past = datetime.now(UTC) - timedelta(seconds=1)
    await library.jobs.wait("video-one", 1, failure=failure(FailureKind.RATE_LIMITED), attempt=1, until=past)
    waiting = await library.jobs.wait_for_lease("video-one", 1)
    assert waiting is not None
    assert (waiting.next_attempt_at, waiting.failure_kind) == (None, "rate_limited")


async def test_a_job_that_is_over_or_has_a_lease_or_is_of_another_run_stands_in_no_line(library: Library) -> None:
    await submit(library, "over")
    await library.jobs.cancel("video-over", 1)
    over = await library.jobs.wait_for_lease("video-over", 1)
    assert over is not None and (over.state, over.awaiting_lease_since) == (State.CANCELLED, None)
    assert await library.jobs.wait_for_lease("video-unknown", 1) is None
    has = await granted(library)
    assert await library.jobs.wait_for_lease("video-one", 1) == has
    await submit(library, "newer")
    assert await library.jobs.wait_for_lease("video-newer", 2) == await row(library, "newer")


async def test_a_failure_for_which_the_site_waits_puts_the_job_in_line_with_its_failure(library: Library) -> None:
    await submit(library, "one", "two")
    until = datetime.now(UTC) + timedelta(minutes=5)
    for name, for_lease in (("one", True), ("two", False)):
        await library.jobs.begin(f"video-{name}", 1, 1)
        complaint = failure(FailureKind.RATE_LIMITED)
        await library.jobs.wait(f"video-{name}", 1, failure=complaint, attempt=1, until=until, for_lease=for_lease)
    one, two = await row(library, "one"), await row(library, "two")
    assert (one.state, one.attempt, one.failure_kind, one.next_attempt_at) == (State.WAITING, 1, "rate_limited", until)
    assert (two.state, two.attempt, two.failure_kind, two.next_attempt_at) == (State.WAITING, 1, "rate_limited", until)
    assert await line(library) == ["one"]


async def test_the_sites_that_somebody_waits_for_or_that_let_somebody_in_are_known(library: Library) -> None:
    assert await library.waiters.sites() == []
    await stand_in_line(library, "a1", "a2", site="a.org")
    await stand_in_line(library, "b", site="b.org")
    await library.waiters.grant([lease("b")])
    await submit(library, "c", site="c.org")
    assert await library.waiters.sites() == ["a.org", "b.org"]
    assert await library.waiters.sites_in_outbox() == ["c.org"]
    await library.waiters.give_back("video-b", 1)
    assert await library.waiters.sites() == ["a.org"]


async def test_a_site_is_shown_with_how_many_have_its_leave_and_how_many_wait(library: Library) -> None:
    await stand_in_line(library, "a", "b", "c")
    await stand_in_line(library, "elsewhere", site="other.org")
    await library.waiters.grant([lease("a")])
    shown = await library.sites.configure(SITE, max_at_once=2)
    assert (shown.in_use, shown.waiting) == (1, 2)
    other = await library.sites.complained("other.org", FailureKind.BOT_CHECK, datetime.now(UTC))
    assert (other.in_use, other.waiting) == (0, 1)
    page = await library.sites.page(limit=9, cursor=None)
    assert [(each.site, each.in_use, each.waiting) for each in page.items] == [(SITE, 1, 2), ("other.org", 0, 1)]


# Leases.


async def test_who_has_a_lease_stands_in_line_no_more_and_counts_as_known_to_temporal(library: Library) -> None:
    await stand_in_line(library, "one", "two")
    [job] = await library.waiters.grant([lease("one", 7)])
    assert (job.id, job.state, job.lease, job.awaiting_lease_since) == ("video-one", State.QUEUED, 7, None)
    assert job.dispatched_at is not None, "whoever grants starts it: the dispatcher must not"
    assert await line(library) == ["two"]
    [held] = await library.waiters.leases(SITE)
    assert (held.job_id, held.run, held.number, held.owner) == ("video-one", 1, 7, "local")


async def test_granting_twice_says_the_same_also_when_the_job_runs_already(library: Library) -> None:
    await stand_in_line(library, "one")
    once = await library.waiters.grant([lease("one", 7)])
    assert await library.waiters.grant([lease("one", 7)]) == once
    await library.jobs.begin("video-one", 1, 1, with_lease=True)
    [running] = await library.waiters.grant([lease("one", 7)])
    assert (running.state, running.lease) == (State.RUNNING, 7)
    assert await library.waiters.grant([lease("one", 8)]) == [], "one that has a lease gets no other"


async def test_a_lease_goes_to_nobody_who_waits_no_more(library: Library) -> None:
    names = ["cancelled", "asked", "paused", "pausing", "deleted", "newer", "begun", "queued", "waits"]
    await stand_in_line(library, *(name for name in names if name != "queued"))
    await submit(library, "queued")
    await library.jobs.request_cancel("video-cancelled", keep_partial=False)
    await library.jobs.request_pause("video-paused")
    for name in ("asked", "pausing"):
        await library.jobs.mark_dispatched([(f"video-{name}", 1)])
    await library.jobs.request_cancel("video-asked", keep_partial=False)
    await library.jobs.request_pause("video-pausing")
    await library.jobs.forget("video-deleted")
    await library.jobs.fail("video-newer", 1, failure=failure())
    await library.jobs.retry("video-newer")
    await library.waiters.line_up(["video-newer"])
    await library.jobs.begin("video-begun", 1, 1)
    leases = [lease(name, number) for number, name in enumerate(names, start=1)]
    assert [job.id for job in await library.waiters.grant(leases)] == ["video-waits"]
    left = {each.job_id for each in await library.waiters.leases(SITE)}
    assert left == {"video-waits"}
    assert await line(library) == ["newer"], "its newer run waits on"


@pytest.mark.parametrize("known", [False, True])
async def test_a_job_that_is_paused_in_line_has_its_place_again_when_it_goes_on(library: Library, known: bool) -> None:
    await stand_in_line(library, "one", "two")
    if known:
        await library.jobs.mark_dispatched([("video-one", 1)])
    await library.jobs.request_pause("video-one")
    assert await line(library) == ["two"]
    if known:  # its workflow has heard it
        await library.jobs.pause("video-one", 1)
    await library.jobs.request_resume("video-one")
    job = await row(library)
    assert (job.state, job.awaiting_lease_since) == (State.QUEUED, None)
    if known:
        await library.jobs.wait_for_lease("video-one", 1)
    else:
        await library.waiters.line_up_site(SITE, at_most=9)
    assert await line(library) == ["one", "two"]


@pytest.mark.parametrize("end", ["fail", "cancel", "publish", "pause", "wait", "wait in line", "dispatch again"])
async def test_what_ends_or_stands_still_has_no_lease_any_more(library: Library, end: str) -> None:
    job = await granted(library)
    await library.jobs.begin(job.id, job.run, 1, with_lease=True)
    until = datetime.now(UTC) + timedelta(minutes=5)
    match end:
        case "fail":
            await library.jobs.fail(job.id, job.run, failure=failure())
        case "cancel":
            await library.jobs.cancel(job.id, job.run)
        case "publish":
            await publish(library, job.id)
        case "pause":
            await library.jobs.request_pause(job.id)
            assert (await row(library)).lease == 7, "the worker that has it ends it"
            await library.jobs.pause(job.id, job.run)
        case "wait" | "wait in line":
            for_lease = end == "wait in line"
            await library.jobs.wait(job.id, job.run, failure=failure(), attempt=1, until=until, for_lease=for_lease)
        case "dispatch again":
            await library.jobs.dispatch_again(job.id, job.run)
    after = await row(library)
    assert after.lease is None
    assert (after.awaiting_lease_since is not None) == (end == "wait in line")
    assert await library.waiters.leases(SITE) == ()


@pytest.mark.parametrize("end", ["fail", "cancel", "pause", "dispatch again", "begin"])
async def test_what_ends_or_goes_on_stands_in_line_no_more(library: Library, end: str) -> None:
    await stand_in_line(library, "one")
    match end:
        case "fail":
            await library.jobs.fail("video-one", 1, failure=failure())
        case "cancel":
            await library.jobs.cancel("video-one", 1)
        case "pause":
            await library.jobs.request_pause("video-one")
        case "dispatch again":
            await library.jobs.dispatch_again("video-one", 1)
        case "begin":
            await library.jobs.begin("video-one", 1, 1)
    assert await line(library) == []
    assert (await library.waiters.front(SITE, at_most=9)).total == 0


async def test_a_worker_that_stops_leaves_the_lease_to_the_job(library: Library) -> None:
    job = await granted(library)
    await library.jobs.begin(job.id, job.run, 1, with_lease=True)
    await library.jobs.give_back(job.id, job.run)
    given = await row(library)
    assert (given.state, given.lease) == (State.QUEUED, 7)
    assert await library.jobs.begin(job.id, job.run, 1, with_lease=True) != given


async def test_a_lease_is_given_back_once_and_by_its_number(library: Library) -> None:
    job = await granted(library)
    await library.waiters.give_back(job.id, 6)
    assert (await row(library)).lease == 7
    await library.waiters.give_back(job.id, 7)
    given = await row(library)
    assert (given.lease, given.state) == (None, State.QUEUED)
    await library.waiters.give_back(job.id, 7)
    assert await row(library) == given


async def test_without_a_lease_in_its_row_a_job_that_needs_one_does_not_begin(library: Library) -> None:
    await submit(library, "one")
    job = await row(library)
    assert await library.jobs.begin("video-one", 1, 1, with_lease=True) == job
    await library.waiters.line_up(["video-one"])
    waiting = await row(library)
    assert await library.jobs.begin("video-one", 1, 1, with_lease=True) == waiting
    await library.waiters.grant([lease("one", 7)])
    begun = await library.jobs.begin("video-one", 1, 1, with_lease=True)
    assert begun is not None and (begun.state, begun.lease) == (State.RUNNING, 7)


async def test_who_cannot_be_started_yet_stands_in_line_again(library: Library) -> None:
    job = await granted(library, number=7)
    await library.waiters.put_back([lease("one", 6)])
    assert await row(library) == job, "of another lease"
    await library.waiters.put_back([lease("one", 7)])
    back = await row(library)
    assert (back.state, back.lease, back.dispatched_at) == (State.WAITING, None, None)
    assert await line(library) == ["one"]
    assert await library.jobs.undispatched() == [], "its site starts it, and not the dispatcher"
    await library.waiters.put_back([lease("one", 7)])
    assert await row(library) == back


async def test_who_runs_already_is_not_put_back(library: Library) -> None:
    job = await granted(library, number=7)
    begun = await library.jobs.begin(job.id, job.run, 1, with_lease=True)
    await library.waiters.put_back([lease("one", 7)])
    assert await row(library) == begun


@pytest.mark.parametrize("wish", ["cancel", "pause"])
async def test_who_is_to_end_or_to_stand_still_meanwhile_is_not_put_back_in_line(library: Library, wish: str) -> None:
    job = await granted(library, number=7)
    if wish == "cancel":
        await library.jobs.request_cancel(job.id, keep_partial=False)
    else:
        await library.jobs.request_pause(job.id)
    await library.waiters.put_back([lease("one", 7)])
    after = await row(library)
    assert (after.lease, after.awaiting_lease_since) == (None, None), "no site decides when a wish is heard"
    assert after.dispatched_at is not None, "the reconciler looks at it"


# Looking whether the leases are used.


async def test_leases_that_are_held_no_more_are_told_from_those_whose_holders_do_not_run_just_now(
    library: Library,
) -> None:
    names = ["running", "queued", "given back", "final", "deleted", "another"]
    await stand_in_line(library, *names)
    leases = [lease(name, number) for number, name in enumerate(names, start=1)]
    await library.waiters.grant(leases)
    await library.jobs.begin("video-running", 1, 1, with_lease=True)
    await library.waiters.give_back("video-given back", 3)
    await library.jobs.cancel("video-final", 1)
    await library.jobs.forget("video-deleted")
    await library.waiters.give_back("video-another", 6)
    await library.jobs.wait_for_lease("video-another", 1)
    await library.waiters.grant([lease("another", 16)])
    before = {name: await row(library, name) for name in names if name != "deleted"}
    assert await library.waiters.check(leases, []) == LeasesSeen(gone=(3, 4, 5, 6), missing=(2,))
    assert {name: await row(library, name) for name in before} == before, "to look changes nothing"


async def test_a_lease_that_nobody_uses_is_taken_back_and_its_holder_stands_in_line_again(library: Library) -> None:
    job = await granted(library, number=7)
    assert await library.waiters.check([lease("one", 7)], [7]) == LeasesSeen(gone=(7,))
    back = await row(library)
    assert (back.state, back.lease, back.dispatched_at) == (State.WAITING, None, job.dispatched_at)
    assert await line(library) == ["one"]
    assert await library.jobs.begin(job.id, job.run, 1, with_lease=True) == back, "nothing is fetched with it"
    assert await library.waiters.check([lease("one", 7)], [7]) == LeasesSeen(gone=(7,))
    assert await row(library) == back, "it does not lose its place"


async def test_a_lease_that_is_used_at_last_does_not_expire(library: Library) -> None:
    job = await granted(library, number=7)
    begun = await library.jobs.begin(job.id, job.run, 1, with_lease=True)
    assert await library.waiters.check([lease("one", 7)], [7]) == LeasesSeen()
    assert await row(library) == begun


@pytest.mark.parametrize("wish", ["cancel", "pause"])
async def test_who_is_to_end_or_to_stand_still_loses_an_unused_lease_and_stands_in_no_line(
    library: Library, wish: str
) -> None:
    job = await granted(library, number=7)
    if wish == "cancel":
        await library.jobs.request_cancel(job.id, keep_partial=False)
    else:
        await library.jobs.request_pause(job.id)
    assert await library.waiters.check([lease("one", 7)], [7]) == LeasesSeen(gone=(7,))
    after = await row(library)
    assert (after.lease, after.awaiting_lease_since) == (None, None)
