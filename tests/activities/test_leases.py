"""What a site's workflow has done: leases are written down and jobs let in, with a real Temporal. No worker runs."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from reelin.activities import LeaseActivities, SiteDesk, Starter
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.progress import BusEvent, JobTouched
from reelin.contracts.sites import (
    Configure,
    Learnt,
    Lease,
    Leases,
    LeasesGranted,
    LeasesSeen,
    SiteSituation,
    StoredSite,
    Waiters,
)
from reelin.contracts.work import DOWNLOAD_WORKFLOW, LEASE_GRANTED, WORKFLOW_QUEUE, JobRequest
from reelin.library import JobRecord, Library
from reelin.progress import MemoryBus
from reelin.temporal import connect
from tests.library.samples import failure, new_job


class Site:
    """A site, those who wait for it, and what its workflow may ask for."""

    def __init__(self, library: Library, client: Client) -> None:
        self.library = library
        self.client = client
        self.name = f"{uuid.uuid4().hex[:8]}.org"
        self.events: list[BusEvent] = []
        self.bus = MemoryBus()
        self.bus.subscribe(self.events.append)
        self.activities = self.with_client(client)

    def with_client(self, client: Client) -> LeaseActivities:
        desk = SiteDesk(client=client, library=self.library, unlimited=[], max_at_once=4)
        starter = Starter(client, self.library, desk)
        return LeaseActivities(client=client, library=self.library, bus=self.bus, starter=starter)

    async def line_up(self, number: int = 1) -> list[JobRecord]:
        new = [dataclasses.replace(new_job(uuid.uuid4().hex), site=self.name) for _ in range(number)]
        for each in new:
            await self.library.jobs.submit(each)
        await self.library.waiters.line_up_site(self.name, at_most=number)
        return [await self.library.jobs.get(each.id) for each in new]

    async def start(self, job: JobRecord) -> WorkflowHandle[Any, Any]:
        """As its workflow began when no site had to let it in."""
        return await self.client.start_workflow(
            DOWNLOAD_WORKFLOW, job.request(), id=job.id, task_queue=WORKFLOW_QUEUE, memo={"run": job.run}
        )

    async def grant(self, *leases: Lease) -> LeasesGranted:
        return await ActivityEnvironment().run(self.activities.grant_leases, Leases(leases=leases))

    async def row(self, job: JobRecord) -> JobRecord:
        return await self.library.jobs.get(job.id)

    async def signals(self, job: JobRecord) -> list[str]:
        history = await self.client.get_workflow_handle(job.id).fetch_history()
        return [
            event.workflow_execution_signaled_event_attributes.signal_name
            for event in history.events
            if event.HasField("workflow_execution_signaled_event_attributes")
        ]

    async def end(self, *jobs: JobRecord) -> None:
        for job in jobs:
            await self.client.get_workflow_handle(job.id).terminate()


def lease(job: JobRecord, number: int = 1) -> Lease:
    return Lease(job_id=job.id, run=job.run, number=number, owner=job.owner, since=0)


@pytest.fixture
def site(library: Library, temporal: Client) -> Site:
    return Site(library, temporal)


class Refusing:
    """A client that does with `bad` what it is told, and passes all else on."""

    def __init__(self, client: Client, bad: str, error: Exception) -> None:
        self._client = client
        self._bad = bad
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def start_workflow(self, *args: Any, **options: Any) -> Any:
        if options["id"] == self._bad:
            raise self._error
        return await self._client.start_workflow(*args, **options)


async def test_who_is_let_in_is_started_with_its_leave(site: Site) -> None:
    [job, waits] = await site.line_up(2)
    assert await site.grant(lease(job, 7)) == LeasesGranted()
    row = await site.row(job)
    assert (row.state, row.lease, row.awaiting_lease_since) == (State.QUEUED, 7, None)
    handle = site.client.get_workflow_handle(job.id)
    started = await anext(aiter(handle.fetch_history_events()))
    payloads = started.workflow_execution_started_event_attributes.input.payloads
    [request] = await site.client.data_converter.decode(payloads, [JobRequest])
    assert (request.leased, request.run) == (True, 1)
    assert await (await handle.describe()).memo_value("run") == 1
    assert site.events == [JobTouched(job_id=job.id)]
    assert (await site.row(waits)).awaiting_lease_since is not None
    await site.end(job)


async def test_a_job_is_started_once_though_it_is_let_in_twice(site: Site) -> None:
    [job] = await site.line_up()
    assert await site.grant(lease(job, 7)) == LeasesGranted()
    first = (await site.client.get_workflow_handle(job.id).describe()).run_id
    assert await site.grant(lease(job, 7)) == LeasesGranted()
    assert (await site.client.get_workflow_handle(job.id).describe()).run_id == first
    assert (await site.row(job)).lease == 7
    assert await site.signals(job) == [LEASE_GRANTED], "in case the first try got no further than the start"
    await site.end(job)


async def test_many_are_let_in_at_once(site: Site) -> None:
    jobs = await site.line_up(20)
    assert await site.grant(*(lease(job, number) for number, job in enumerate(jobs))) == LeasesGranted()
    described = [await site.client.get_workflow_handle(job.id).describe() for job in jobs]
    assert {each.status for each in described} == {WorkflowExecutionStatus.RUNNING}
    await site.end(*jobs)


async def test_a_job_whose_older_run_is_still_ending_stands_in_line_again(site: Site) -> None:
    [job, other] = await site.line_up(2)
    await site.start(job)
    await site.library.jobs.fail(job.id, 1, failure=failure())  # recorded, but its workflow has not closed yet
    await site.library.jobs.retry(job.id)
    await site.library.waiters.line_up([job.id])
    newer = await site.row(job)
    assert newer.run == 2
    assert await site.grant(lease(newer, 7), lease(other, 8)) == LeasesGranted(later=(7,))
    row = await site.row(job)
    assert (row.state, row.lease, row.dispatched_at) == (State.WAITING, None, None)
    assert (await site.row(other)).lease == 8
    assert await site.signals(job) == [], "the older run has nothing to do with it"
    await site.end(job)
    assert await site.grant(lease(newer, 9)) == LeasesGranted()
    description = await site.client.get_workflow_handle(job.id).describe()
    assert await description.memo_value("run") == 2
    await site.end(job, other)


async def test_a_job_whose_workflow_waits_already_is_woken(site: Site) -> None:
    asked, tried = await site.line_up(2)
    await site.start(asked)  # it was started when its site had no limit
    await site.start(tried)
    until = datetime.now(UTC)
    complaint = failure(FailureKind.RATE_LIMITED)
    await site.library.jobs.begin(tried.id, 1, 1)
    await site.library.jobs.wait(tried.id, 1, failure=complaint, attempt=1, until=until, for_lease=True)
    assert await site.grant(lease(asked, 7), lease(tried, 8)) == LeasesGranted()
    for job in (asked, tried):
        assert await site.signals(job) == [LEASE_GRANTED]
    assert [(await site.row(job)).lease for job in (asked, tried)] == [7, 8]
    await site.end(asked, tried)


async def test_a_job_whose_workflow_has_ended_is_refused_and_keeps_no_lease(site: Site) -> None:
    [job] = await site.line_up()
    handle = await site.start(job)
    await site.library.jobs.begin(job.id, 1, 1)
    await site.library.jobs.wait_for_lease(job.id, 1)
    await handle.terminate("by hand")
    assert await site.grant(lease(job, 7)) == LeasesGranted(refused=(7,))
    row = await site.row(job)
    assert (row.state, row.lease, row.awaiting_lease_since) == (State.QUEUED, None, None)
    assert row.dispatched_at is not None, "the reconciler asks how it ended"


async def test_who_waits_no_more_is_refused_and_not_started(site: Site) -> None:
    cancelled, gone, waits = await site.line_up(3)
    await site.library.jobs.request_cancel(cancelled.id, keep_partial=False)
    await site.library.jobs.forget(gone.id)
    answer = await site.grant(lease(cancelled, 1), lease(gone, 2), lease(waits, 3))
    assert answer == LeasesGranted(refused=(1, 2))
    for job in (cancelled, gone):
        with pytest.raises(RPCError) as unknown:
            await site.client.get_workflow_handle(job.id).describe()
        assert unknown.value.status is RPCStatusCode.NOT_FOUND
    await site.end(waits)


async def test_a_request_that_temporal_will_never_take_fails_its_job_and_no_other(site: Site) -> None:
    bad, good = await site.line_up(2)
    invalid = RPCError("the request is too large\nand so on", RPCStatusCode.INVALID_ARGUMENT, b"")
    site.activities = site.with_client(Refusing(site.client, bad.id, invalid))  # type: ignore[arg-type]
    assert await site.grant(lease(bad, 7), lease(good, 8)) == LeasesGranted(refused=(7,))
    failed = await site.row(bad)
    assert (failed.state, failed.failure_kind, failed.lease) == (State.FAILED, "internal", None)
    assert failed.failure is not None and "the request is too large" in failed.failure["message"]
    assert (await site.row(good)).lease == 8
    await site.end(good)


async def test_a_request_that_temporal_really_refuses_fails_its_job(site: Site) -> None:
    [job] = await site.line_up()
    too_long = dataclasses.replace(job, site="x" * 3000 + site.name)

    class Long(Starter):
        async def start(self, job: JobRecord, *, leased: bool = False) -> Any:
            return await super().start(too_long, leased=leased)

    site.activities._starter = Long(site.client, site.library)
    assert await site.grant(lease(job, 7)) == LeasesGranted(refused=(7,))
    assert (await site.row(job)).state is State.FAILED


async def test_with_temporal_away_the_lease_stays_and_the_next_try_lets_the_job_in(site: Site) -> None:
    [job] = await site.line_up()
    away = await connect("127.0.0.1:1", lazy=True)
    site.activities = site.with_client(away)
    with pytest.raises((RPCError, RuntimeError)):
        await site.grant(lease(job, 7))
    assert (await site.row(job)).lease == 7, "its site's workflow tries as often as it takes"
    site.activities = site.with_client(site.client)
    assert await site.grant(lease(job, 7)) == LeasesGranted()
    await site.end(job)


async def test_one_that_cannot_be_started_now_does_not_lose_the_others(site: Site) -> None:
    late, job = await site.line_up(2)
    unavailable = RPCError("try again", RPCStatusCode.UNAVAILABLE, b"")
    site.activities = site.with_client(Refusing(site.client, late.id, unavailable))  # type: ignore[arg-type]
    with pytest.raises(RPCError):
        await site.grant(lease(late, 7), lease(job, 8))
    async with asyncio.timeout(10):
        while not await is_running(site, job):
            await asyncio.sleep(0.02)
    site.activities = site.with_client(site.client)
    assert await site.grant(lease(late, 7), lease(job, 8)) == LeasesGranted()
    await site.end(late, job)


async def is_running(site: Site, job: JobRecord) -> bool:
    try:
        return (await site.client.get_workflow_handle(job.id).describe()).status is WorkflowExecutionStatus.RUNNING
    except RPCError:
        return False


async def test_a_site_begins_with_all_that_is_known_of_it(site: Site) -> None:
    environment, activities = ActivityEnvironment(), site.activities
    assert await environment.run(activities.load_site, site.name) == StoredSite()
    jobs = await site.line_up(3)
    await site.library.sites.configure(site.name, max_at_once=2)
    await environment.run(activities.record_site, situation(site, 5))
    assert await site.library.waiters.grant([lease(jobs[0], 7)])
    stored = await environment.run(activities.load_site, site.name)
    assert (stored.settings, stored.learnt, stored.recorded) == (Configure(max_at_once=2), Learnt(at_once=2.5), 5)
    assert [(held.job_id, held.number) for held in stored.leases] == [(jobs[0].id, 7)]
    assert ([ask.job_id for ask in stored.waiters.front], stored.waiters.total) == ([jobs[1].id, jobs[2].id], 2)


async def test_the_front_of_the_line_is_read_however_long_it_is(site: Site) -> None:
    jobs = await site.line_up(120)
    waiters: Waiters = await ActivityEnvironment().run(site.activities.read_waiters, site.name)
    assert ([ask.job_id for ask in waiters.front], waiters.total) == ([job.id for job in jobs[:100]], 120)


async def test_how_a_site_stands_is_written_down_and_answered_with_what_people_set(site: Site) -> None:
    await site.library.sites.configure(site.name, requests_per_hour=50)
    stored: StoredSite = await ActivityEnvironment().run(site.activities.record_site, situation(site, 1))
    assert (stored.settings, stored.recorded) == (Configure(requests_per_hour=50), 1)


async def test_leases_are_looked_at_in_the_rows(site: Site) -> None:
    used, unused, gone = await site.line_up(3)
    held = [lease(job, number) for number, job in enumerate((used, unused, gone), start=1)]
    await site.library.waiters.grant(held)
    await site.library.jobs.begin(used.id, 1, 1, with_lease=True)
    await site.library.jobs.cancel(gone.id, 1)
    question = Leases(leases=tuple(held))
    seen: LeasesSeen = await ActivityEnvironment().run(site.activities.check_leases, question)
    assert seen == LeasesSeen(gone=(3,), missing=(2,))
    question = Leases(leases=tuple(held), expired=(1, 2))
    assert await ActivityEnvironment().run(site.activities.check_leases, question) == LeasesSeen(gone=(2, 3))
    assert (await site.row(unused)).awaiting_lease_since is not None


def situation(site: Site, number: int) -> SiteSituation:
    learnt = Learnt(at_once=2.5)
    return SiteSituation(site=site.name, number=number, cooldown_until=None, reason=None, learnt=learnt)
