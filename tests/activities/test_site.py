"""The desk between the work and a site's workflow, with a real Temporal: what the site hears, and when."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from reelin.activities import FetchActivity, Places, Scratch, SiteActivities, SiteDesk
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.sites import Ask, Done, Holder, Holders, site_workflow_id
from reelin.contracts.work import Attempt, FailureReport, FetchResult, JobRequest
from reelin.errors import MediaFailure, Unavailable
from reelin.library import Library
from reelin.progress import MemoryBus
from reelin.temporal import connect
from tests.activities.test_courier import words_to
from tests.activities.test_fetch import ScriptedEngine, Silence
from tests.library.samples import failure, new_job
from tests.media import THREADS, adopted, media_folder

LIMITED = MediaFailure("rate_limited", "Slow down.", retry_after_seconds=7)


class Counter:
    """One site, a fetch activity, and what the site's workflow was told: no worker runs, so nothing is answered."""

    def __init__(self, library: Library, client: Client, folder: Path, *, unlimited: bool) -> None:
        self.library = library
        self.client = client
        self.site = f"{uuid.uuid4().hex[:8]}.org"
        self.engine = ScriptedEngine()
        listed = [self.site] if unlimited else []
        self.desk = SiteDesk(client=client, library=library, unlimited=listed, max_at_once=4)
        self.activity = FetchActivity(
            engine=self.engine,
            library=library,
            bus=MemoryBus(),
            scratch=Scratch(folder / "scratch", THREADS),
            media=media_folder(library, folder, scratch="scratch"),
            bell=Silence(),
            desk=self.desk,
            places=Places(16),
        )
        self.environment = ActivityEnvironment()

    async def submit(self, name: str = "one") -> JobRequest:
        new = dataclasses.replace(new_job(name), site=self.site)
        return (await self.library.jobs.submit(new)).job.request()

    async def fetch(self, job: JobRequest, *, lease: bool = False) -> FetchResult:
        return await self.environment.run(self.activity.fetch, Attempt(job=job, number=1, lease=lease))

    async def fails(self, job: JobRequest, *, lease: bool) -> FailureReport:
        with pytest.raises(ApplicationError) as raised:
            await self.fetch(job, lease=lease)
        return FailureReport.model_validate(raised.value.details[0])

    async def heard(self) -> list[Ask | Done]:
        """Once all that was said has arrived."""
        await self.desk.close()
        return await words_to(self.client, self.site)


@pytest.fixture
async def opened(tmp_path: Path, temporal: Client) -> AsyncIterator[tuple[Library, Client, Path]]:
    library = Library(f"sqlite:///{tmp_path / 'reelin.db'}")
    await library.open()
    await adopted(library, tmp_path / "media", scratch="scratch")
    yield library, temporal, tmp_path / "media"
    await library.close()


@pytest.fixture
def limited(opened: tuple[Library, Client, Path]) -> Counter:
    return Counter(*opened, unlimited=False)


@pytest.fixture
def unlimited(opened: tuple[Library, Client, Path]) -> Counter:
    return Counter(*opened, unlimited=True)


async def test_without_a_lease_nothing_is_fetched_and_the_site_is_asked(limited: Counter) -> None:
    job = await limited.submit()
    result = await limited.fetch(job)
    assert (result.state, result.lease_wanted) == (State.WAITING, True)
    assert not limited.engine.tasks
    assert await limited.heard() == [Ask(job_id=job.job_id, run=1, owner="local", priority=3)]
    row = await limited.library.jobs.get(job.job_id)
    assert (row.state, row.failure, row.attempt) == (State.WAITING, None, 0)


async def test_a_lease_is_given_back_with_success(limited: Counter) -> None:
    job = await limited.submit()
    assert (await limited.fetch(job, lease=True)).state is State.COMPLETED
    assert await limited.heard() == [Done(job_id=job.job_id, run=1, success=True)]


async def test_a_complaint_goes_with_the_lease_and_the_workflow_learns_that_the_site_waits(limited: Counter) -> None:
    limited.engine.error = LIMITED
    job = await limited.submit()
    report = await limited.fails(job, lease=True)
    assert (report.kind, report.site_waits) == (FailureKind.RATE_LIMITED, True)
    [done] = await limited.heard()
    assert isinstance(done, Done)
    assert (done.kind, done.retry_after_seconds, done.success) == (FailureKind.RATE_LIMITED, 7, False)


async def test_another_failure_gives_the_lease_back_and_is_no_complaint(limited: Counter) -> None:
    limited.engine.error = MediaFailure("network", "The line went dead.")
    job = await limited.submit()
    assert not (await limited.fails(job, lease=True)).site_waits
    [done] = await limited.heard()
    assert isinstance(done, Done) and (done.kind, done.success) == (FailureKind.NETWORK, False)


async def test_a_job_that_was_cancelled_meanwhile_says_nothing_good_of_the_site(limited: Counter) -> None:
    job = await limited.submit()
    await limited.library.jobs.cancel(job.job_id, job.run)
    assert (await limited.fetch(job, lease=True)).state is State.CANCELLED
    assert await limited.heard() == [Done(job_id=job.job_id, run=1)]


async def test_a_cancel_gives_the_lease_back(limited: Counter) -> None:
    job = await limited.submit()
    await stopped(limited, job, ActivityCancellationDetails(cancel_requested=True))
    assert await limited.heard() == [Done(job_id=job.job_id, run=1)]


@pytest.mark.parametrize("why", ["worker_shutdown", "timed_out", "not_found"])
async def test_what_temporal_runs_again_keeps_its_lease(limited: Counter, why: str) -> None:
    job = await limited.submit()
    await limited.desk.ask(job)
    await stopped(limited, job, ActivityCancellationDetails(**{why: True}))
    assert [type(word) for word in await limited.heard()] == [Ask]


async def stopped(counter: Counter, job: JobRequest, why: ActivityCancellationDetails) -> None:
    counter.engine.gate = asyncio.Event()
    fetching = asyncio.ensure_future(counter.fetch(job, lease=True))
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
    job = await limited.submit()
    await limited.desk.ask(job)
    fetching = asyncio.ensure_future(limited.fetch(job, lease=True))
    await asyncio.sleep(0.3)
    assert len(await limited.heard()) == 1, "no byte has come yet"
    limited.engine.first_bytes.set()
    async with asyncio.timeout(5):
        while len(await limited.heard()) < 2:
            await asyncio.sleep(0.02)
    limited.engine.gate.set()
    await fetching
    [_, early, last] = await limited.heard()
    assert early == Done(job_id=job.job_id, run=1, success=True, goes_on=True)
    assert last == Done(job_id=job.job_id, run=1, success=True)


async def test_an_unlimited_site_is_not_asked_and_hears_nothing_of_success(unlimited: Counter) -> None:
    job = await unlimited.submit()
    assert (await unlimited.fetch(job)).state is State.COMPLETED
    description = unlimited.client.get_workflow_handle(site_workflow_id(unlimited.site)).describe()
    with pytest.raises(Exception, match="not found"):
        await description


async def test_an_unlimited_site_that_complains_has_a_limit_at_once(unlimited: Counter) -> None:
    unlimited.engine.error = LIMITED
    first, second = await unlimited.submit("one"), await unlimited.submit("two")
    assert not await unlimited.desk.needs_lease(unlimited.site)
    assert (await unlimited.fails(first, lease=False)).site_waits
    assert (await unlimited.fetch(second)).lease_wanted
    row = await unlimited.library.sites.get(unlimited.site)
    assert row.limited and row.cooldown_until is not None
    waiting = await unlimited.library.jobs.get(second.job_id)
    assert waiting.next_attempt_at == row.cooldown_until
    heard = await unlimited.heard()
    assert [type(word) for word in heard] == [Done, Ask]
    assert isinstance(heard[0], Done) and heard[0].began_at is not None


async def test_another_worker_learns_of_the_limit_within_a_second(unlimited: Counter) -> None:
    assert not await unlimited.desk.needs_lease(unlimited.site)
    until = datetime.now(UTC) + timedelta(seconds=30)
    await unlimited.library.sites.complained(unlimited.site, FailureKind.BOT_CHECK, until)
    async with asyncio.timeout(3):
        while not await unlimited.desk.needs_lease(unlimited.site):
            await asyncio.sleep(0.05)


async def test_with_temporal_away_asking_is_left_to_temporals_own_retry(limited: Counter) -> None:
    away = await connect("127.0.0.1:1", lazy=True)
    desk = SiteDesk(client=away, library=limited.library, unlimited=[], max_at_once=4)
    with pytest.raises(Unavailable):
        await desk.ask(await limited.submit())


async def test_holders_that_will_not_come_back_are_told_from_those_that_do_not_run_just_now(limited: Counter) -> None:
    jobs = limited.library.jobs
    requests = {name: await limited.submit(name) for name in ("running", "waiting", "final", "older", "queued")}
    for name in ("running", "waiting", "final", "older"):
        await jobs.begin(f"video-{name}", 1, 1)
    await jobs.wait("video-waiting", 1, failure=failure(), attempt=1, until=datetime.now(UTC))
    await jobs.cancel("video-final", 1)
    asked = [Holder(job_id=each.job_id, run=2 if name == "older" else 1) for name, each in requests.items()]
    question = Holders(holders=(*asked, Holder(job_id="video-forgotten", run=1)))
    seen = await ActivityEnvironment().run(SiteActivities(limited.library).check_holders, question)
    assert {holder.job_id for holder in seen.gone} == {"video-final", "video-older", "video-forgotten"}
    assert set(seen.missing) == {"video-waiting", "video-queued"}
