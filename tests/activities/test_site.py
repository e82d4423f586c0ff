"""The desk between the work and a site's workflow, with a real Temporal: what the site hears, and when."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from reelin.activities import FetchActivity, Places, RecordActivities, Scratch, SiteDesk
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.sites import Ask, Done, Lease, Words, site_workflow_id
from reelin.contracts.work import NO_PLACE, Attempt, FailureReport, FetchResult, JobRequest, WaitingRecord
from reelin.errors import MediaFailure, PlaylistFound, Unavailable
from reelin.library import JobRecord, Library, ask_of
from reelin.progress import MemoryBus
from reelin.temporal import connect
from tests.activities.test_courier import signals_to, words_to
from tests.activities.test_fetch import ScriptedEngine, Silence
from tests.library.samples import failure, new_job
from tests.media import THREADS, adopted, media_folder
from tests.waiting import PATIENCE

LIMITED = MediaFailure("rate_limited", "Slow down.", retry_after_seconds=7)
LEASE = 7


class Counter:
    """One site, a fetch activity, and what the site's workflow was told: no worker runs, so nothing is answered."""

    def __init__(self, library: Library, client: Client, folder: Path, *, unlimited: bool) -> None:
        self.library = library
        self.client = client
        self.site = f"{uuid.uuid4().hex[:8]}.org"
        self.engine = ScriptedEngine()
        self.places = Places(1)
        bus, scratch = MemoryBus(), Scratch(folder / "scratch", THREADS)
        listed = [self.site] if unlimited else []
        self.desk = SiteDesk(client=client, library=library, unlimited=listed, max_at_once=4)
        self.activity = FetchActivity(
            engine=self.engine,
            library=library,
            bus=bus,
            scratch=scratch,
            media=media_folder(library, folder, scratch="scratch"),
            bell=Silence(),
            desk=self.desk,
            places=self.places,
        )
        self.record = RecordActivities(library=library, bus=bus, scratch=scratch, bell=Silence(), desk=self.desk)
        self.environment = ActivityEnvironment()

    async def submit(self, name: str = "one") -> JobRequest:
        new = dataclasses.replace(new_job(name), site=self.site)
        return (await self.library.jobs.submit(new)).job.request()

    async def let_in(self, name: str = "one", number: int = LEASE) -> JobRequest:
        """A job that has waited, and has a lease now."""
        job = await self.submit(name)
        await self.library.waiters.line_up([job.job_id])
        await self.grant(job, number)
        return job

    async def grant(self, job: JobRequest, number: int = LEASE) -> None:
        lease = Lease(job_id=job.job_id, run=job.run, number=number, owner=job.owner, since=0)
        assert await self.library.waiters.grant([lease])

    async def row(self, name: str = "one") -> JobRecord:
        return await self.library.jobs.get(f"video-{name}")

    async def fetch(self, job: JobRequest, *, leased: bool = True, number: int = 1) -> FetchResult:
        return await self.environment.run(self.activity.fetch, Attempt(job=job, number=number, leased=leased))

    async def fails(self, job: JobRequest, *, leased: bool = True) -> FailureReport:
        with pytest.raises(ApplicationError) as raised:
            await self.fetch(job, leased=leased)
        return FailureReport.model_validate(raised.value.details[0])

    async def heard(self) -> list[Ask | Done]:
        """Once all that was said has arrived."""
        await self.desk.close()
        try:
            return await words_to(self.client, self.site)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return []


def done(**said: Any) -> Done:
    return Done(job_id="video-one", lease=LEASE, **said)


@pytest.fixture
async def opened(library: Library, tmp_path: Path, temporal: Client) -> AsyncIterator[tuple[Library, Client, Path]]:
    await adopted(library, tmp_path / "media", scratch="scratch")
    yield library, temporal, tmp_path / "media"


@pytest.fixture
def limited(opened: tuple[Library, Client, Path]) -> Counter:
    return Counter(*opened, unlimited=False)


@pytest.fixture
def unlimited(opened: tuple[Library, Client, Path]) -> Counter:
    return Counter(*opened, unlimited=True)


# Without a lease.


async def test_without_a_lease_nothing_is_fetched_and_the_job_stands_in_its_sites_line(limited: Counter) -> None:
    job = await limited.submit()
    result = await limited.fetch(job, leased=False)
    assert (result.state, result.lease_wanted) == (State.WAITING, True)
    assert not limited.engine.tasks
    row = await limited.row()
    assert (row.state, row.failure, row.attempt, row.lease) == (State.WAITING, None, 0, None)
    assert await limited.heard() == [ask_of(row)]
    assert (await limited.library.waiters.front(limited.site, at_most=9)).front == (ask_of(row),)


async def test_who_stands_in_line_takes_no_place_in_the_worker(limited: Counter) -> None:
    with limited.places.taken(limited.site):
        assert (await limited.fetch(await limited.submit(), leased=False)).lease_wanted
        other = await limited.let_in("two")
        with pytest.raises(ApplicationError) as refused:
            await limited.fetch(other)
    assert refused.value.type == NO_PLACE
    assert (await limited.row("two")).lease == LEASE, "it comes again with it"


async def test_who_asks_twice_keeps_its_place_in_line(limited: Counter) -> None:
    job = await limited.submit()
    await limited.fetch(job, leased=False)
    first = await limited.row()
    await limited.fetch(job, leased=False)
    assert await limited.row() == first
    assert await limited.heard() == [ask_of(first)] * 2


async def test_a_lease_that_stands_in_the_row_is_used_whoever_knows_of_it(limited: Counter) -> None:
    job = await limited.let_in()
    assert (await limited.fetch(job, leased=False)).state is State.COMPLETED
    assert await limited.heard() == [done(success=True)]


async def test_a_lease_that_was_taken_away_meanwhile_is_not_used(limited: Counter) -> None:
    job = await limited.let_in()
    lease = Lease(job_id=job.job_id, run=1, number=LEASE, owner="local", since=0)
    await limited.library.waiters.check([lease], [LEASE])
    since = (await limited.row()).awaiting_lease_since
    result = await limited.fetch(job)
    assert (result.state, result.lease_wanted) == (State.WAITING, True)
    assert not limited.engine.tasks
    row = await limited.row()
    assert (row.state, row.lease, row.awaiting_lease_since) == (State.WAITING, None, since)
    assert [type(word) for word in await limited.heard()] == [Ask], "it has no lease to give back"


async def test_of_a_lease_that_comes_in_the_very_moment_in_which_it_is_missed_the_workflow_hears(
    limited: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await limited.submit()
    await limited.library.waiters.line_up([job.job_id])
    begin = limited.library.jobs.begin

    async def overtaken(*args: Any, **options: Any) -> JobRecord | None:
        found = await begin(*args, **options)
        await limited.grant(job, 8)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(limited.library.jobs, "begin", overtaken)
        result = await limited.fetch(job)
    assert (result.state, result.lease_wanted) == (State.WAITING, True)
    assert (await limited.row()).lease == 8
    assert (await limited.fetch(job)).state is State.COMPLETED


@pytest.mark.parametrize("wish", ["cancel", "pause"])
async def test_who_is_to_end_or_to_stand_still_asks_for_nothing(limited: Counter, wish: str) -> None:
    job = await limited.submit()
    await limited.library.jobs.mark_dispatched([(job.job_id, job.run)])
    if wish == "cancel":
        await limited.library.jobs.request_cancel(job.job_id, keep_partial=False)
    else:
        await limited.library.jobs.request_pause(job.job_id)
    result = await limited.fetch(job, leased=False)
    assert result.state is (State.CANCELLED if wish == "cancel" else State.PAUSED)
    assert await limited.heard() == []


# The lease's end.


async def test_success_ends_a_lease_in_the_row_and_the_site_hears_of_it(limited: Counter) -> None:
    job = await limited.let_in()
    assert (await limited.fetch(job)).state is State.COMPLETED
    assert (await limited.row()).lease is None
    assert await limited.heard() == [done(success=True)]


async def test_a_complaint_goes_with_the_lease_and_the_workflow_learns_that_the_site_waits(limited: Counter) -> None:
    limited.engine.error = LIMITED
    job = await limited.let_in()
    report = await limited.fails(job)
    assert (report.kind, report.site_waits) == (FailureKind.RATE_LIMITED, True)
    [said] = await limited.heard()
    assert isinstance(said, Done)
    assert (said.lease, said.kind, said.retry_after_seconds) == (LEASE, FailureKind.RATE_LIMITED, 7)
    assert not said.success


async def test_another_failure_gives_the_lease_back_and_is_no_complaint(limited: Counter) -> None:
    limited.engine.error = MediaFailure("network", "The line went dead.")
    job = await limited.let_in()
    assert not (await limited.fails(job)).site_waits
    assert await limited.heard() == [done(kind=FailureKind.NETWORK)]


@pytest.mark.parametrize("end", ["network", "rate_limited", "playlist", "success", "cancel"])
async def test_a_lease_has_ended_in_the_row_before_the_site_hears_of_it(
    limited: Counter, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Else the site could let somebody else in while the row still says that this one may fetch."""
    courier = limited.desk._courier
    say, rows = courier.say, []

    async def looking(*args: Any, **options: Any) -> None:
        rows.append(await limited.row())
        await say(*args, **options)

    monkeypatch.setattr(courier, "say", looking)
    job = await limited.let_in()
    match end:
        case "network" | "rate_limited":
            limited.engine.error = MediaFailure(end, "It went wrong.")
            await limited.fails(job)
        case "playlist":
            limited.engine.error = PlaylistFound("A list", 3)
            assert (await limited.fetch(job)).playlist
        case "success":
            await limited.fetch(job)
        case "cancel":
            await stopped(limited, job, ActivityCancellationDetails(cancel_requested=True))
    assert len(await limited.heard()) == 1
    assert [row.lease for row in rows] == [None]


async def test_a_lease_that_cannot_end_in_the_row_now_is_not_told_to_be_free(
    limited: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(job_id: str, lease: int) -> None:
        raise Unavailable("The database", "it is being restarted")

    monkeypatch.setattr(limited.library.waiters, "give_back", away)
    limited.engine.error = LIMITED
    job = await limited.let_in()
    assert not (await limited.fails(job)).site_waits, "its own wait goes before the line"
    assert await limited.heard() == []


@pytest.mark.parametrize("wish", ["cancel", "pause"])
async def test_a_lease_that_comes_too_late_is_given_back_unused(limited: Counter, wish: str) -> None:
    job = await limited.let_in()
    if wish == "cancel":
        await limited.library.jobs.request_cancel(job.job_id, keep_partial=False)
    else:
        await limited.library.jobs.request_pause(job.job_id)
    assert (await limited.fetch(job)).state is (State.CANCELLED if wish == "cancel" else State.PAUSED)
    assert not limited.engine.tasks
    assert await limited.heard() == [done()], "and nothing good is said of the site"
    assert (await limited.row()).lease is None


async def test_an_older_run_that_comes_late_leaves_the_newer_ones_lease_alone(limited: Counter) -> None:
    older = await limited.submit()
    await limited.library.jobs.fail(older.job_id, 1, failure=failure())
    newer = await limited.let_in()
    assert newer.run == 2
    assert (await limited.fetch(older)).state is State.CANCELLED
    assert await limited.heard() == []
    assert (await limited.row()).lease == LEASE


async def test_a_cancel_gives_the_lease_back(limited: Counter) -> None:
    job = await limited.let_in()
    await stopped(limited, job, ActivityCancellationDetails(cancel_requested=True))
    assert await limited.heard() == [done()]


@pytest.mark.parametrize("why", ["worker_shutdown", "timed_out", "not_found"])
async def test_what_temporal_runs_again_keeps_its_lease(limited: Counter, why: str) -> None:
    job = await limited.let_in()
    await stopped(limited, job, ActivityCancellationDetails(**{why: True}))
    assert await limited.heard() == []
    assert (await limited.row()).lease == LEASE
    limited.engine.gate = None
    limited.environment = ActivityEnvironment()
    assert (await limited.fetch(job)).state is State.COMPLETED
    assert await limited.heard() == [done(success=True)]


async def stopped(counter: Counter, job: JobRequest, why: ActivityCancellationDetails) -> None:
    counter.engine.gate = asyncio.Event()
    fetching = asyncio.ensure_future(counter.fetch(job))
    while not counter.engine.tasks:
        await asyncio.sleep(0.01)
    counter.environment.cancel(why)
    with pytest.raises(asyncio.CancelledError):
        await fetching


async def test_the_site_hears_early_that_it_serves_a_long_download(
    limited: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelin.activities.site.FLOWS_AFTER_SECONDS", 0.05)
    limited.engine.first_bytes, limited.engine.gate = asyncio.Event(), asyncio.Event()
    job = await limited.let_in()
    fetching = asyncio.ensure_future(limited.fetch(job))
    while not limited.engine.tasks:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert await limited.heard() == [], "no byte has come yet"
    limited.engine.first_bytes.set()
    async with asyncio.timeout(PATIENCE):
        while not await limited.heard():
            await asyncio.sleep(0.02)
    assert (await limited.row()).lease == LEASE
    limited.engine.gate.set()
    await fetching
    assert await limited.heard() == [done(success=True, goes_on=True), done(success=True)]


# What the workflow has recorded.


async def test_a_job_whose_site_waits_is_recorded_in_line_and_the_site_is_asked(limited: Counter) -> None:
    limited.engine.error = LIMITED
    job = await limited.let_in()
    await limited.fails(job)
    until = datetime.now(UTC) + timedelta(minutes=5)
    record = WaitingRecord(
        job=job, failure=failure(FailureKind.RATE_LIMITED), attempt=1, next_attempt_at=until, awaits_lease=True
    )
    for _ in range(2):
        await limited.environment.run(limited.record.record_waiting, record)
    row = await limited.row()
    assert (row.state, row.attempt, row.failure_kind) == (State.WAITING, 1, "rate_limited")
    assert [type(word) for word in await limited.heard()] == [Done, Ask, Ask]
    assert (await limited.heard())[1:] == [ask_of(row)] * 2


async def test_a_job_that_waits_by_itself_is_recorded_in_no_line(limited: Counter) -> None:
    job = await limited.submit()
    until = datetime.now(UTC) + timedelta(minutes=5)
    record = WaitingRecord(job=job, failure=failure(), attempt=1, next_attempt_at=until)
    await limited.environment.run(limited.record.record_waiting, record)
    row = await limited.row()
    assert (row.state, row.next_attempt_at, row.awaiting_lease_since) == (State.WAITING, until, None)
    assert await limited.heard() == []


@pytest.mark.parametrize("end", ["paused", "cancelled"])
async def test_a_lease_that_no_worker_used_ends_with_what_is_recorded(limited: Counter, end: str) -> None:
    job = await limited.let_in()
    if end == "paused":
        await limited.library.jobs.request_pause(job.job_id)
        assert await limited.environment.run(limited.record.record_paused, job)
    else:
        await limited.environment.run(limited.record.record_cancelled, job)
    row = await limited.row()
    assert (row.state, row.lease) == (State.PAUSED if end == "paused" else State.CANCELLED, None)
    assert await limited.heard() == [done()]


async def test_a_pause_that_was_taken_back_meanwhile_is_not_recorded_and_the_lease_stays(limited: Counter) -> None:
    job = await limited.let_in()
    await limited.library.jobs.request_pause(job.job_id)
    await limited.library.jobs.request_resume(job.job_id)
    before = await limited.row()
    assert await limited.environment.run(limited.record.record_paused, job) is False
    assert await limited.row() == before
    assert before.lease == LEASE
    assert await limited.heard() == []


# Unlimited sites.


async def test_an_unlimited_site_is_not_asked_and_hears_nothing_of_success(unlimited: Counter) -> None:
    job = await unlimited.submit()
    assert (await unlimited.fetch(job, leased=False)).state is State.COMPLETED
    await unlimited.desk.close()
    description = unlimited.client.get_workflow_handle(site_workflow_id(unlimited.site)).describe()
    with pytest.raises(RPCError, match="not found"):
        await description


async def test_an_unlimited_site_that_complains_has_a_limit_at_once(unlimited: Counter) -> None:
    unlimited.engine.error = LIMITED
    first, second = await unlimited.submit("one"), await unlimited.submit("two")
    assert not await unlimited.desk.needs_lease(unlimited.site)
    assert (await unlimited.fails(first, leased=False)).site_waits
    assert (await unlimited.fetch(second, leased=False)).lease_wanted
    row = await unlimited.library.sites.get(unlimited.site)
    assert row.limited and row.cooldown_until is not None
    assert (await unlimited.row("two")).next_attempt_at == row.cooldown_until
    complaint, asked = await unlimited.heard()
    assert isinstance(complaint, Done) and complaint.began_at is not None and complaint.lease is None
    assert isinstance(asked, Ask)


async def test_another_worker_learns_of_the_limit_within_a_second(unlimited: Counter) -> None:
    assert not await unlimited.desk.needs_lease(unlimited.site)
    until = datetime.now(UTC) + timedelta(seconds=30)
    await unlimited.library.sites.complained(unlimited.site, FailureKind.BOT_CHECK, until)
    async with asyncio.timeout(PATIENCE):
        while not await unlimited.desk.needs_lease(unlimited.site):
            await asyncio.sleep(0.05)


# The desk itself.


async def test_with_temporal_away_asking_is_left_to_temporals_own_retry_and_the_line_stands(limited: Counter) -> None:
    away = await connect("127.0.0.1:1", lazy=True)
    limited.activity._desk = SiteDesk(client=away, library=limited.library, unlimited=[], max_at_once=4)
    with pytest.raises(Unavailable):
        await limited.fetch(await limited.submit(), leased=False)
    assert (await limited.row()).awaiting_lease_since is not None


async def test_sites_are_asked_for_all_at_once_and_told_to_read_who_waits(limited: Counter) -> None:
    other = f"other-{limited.site}"
    asks = [Ask(job_id=name, run=1, owner="local") for name in "abc"]
    await limited.desk.ask([(limited.site, asks[0]), (other, asks[1]), (limited.site, asks[2])])
    assert await signals_to(limited.client, limited.site) == [Words(asks=(asks[0], asks[2]))]
    assert await signals_to(limited.client, other) == [Words(asks=(asks[1],))]
    await limited.desk.reread(other)
    assert (await signals_to(limited.client, other))[1:] == [Words(reread=True)]
    await limited.desk.close()
