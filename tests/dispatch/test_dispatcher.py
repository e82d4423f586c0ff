"""The outbox is emptied into a real Temporal server."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from reelin.activities import SiteDesk, Start, Starter
from reelin.api.dispatcher import SECONDS_BEFORE_ANOTHER_TRY, Dispatcher
from reelin.api.temporal_control import TemporalControl
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.sites import Lease, Words, site_workflow_id
from reelin.contracts.work import JobRequest
from reelin.embedded.ports import choose_port
from reelin.embedded.server import TemporalServer
from reelin.library import JobRecord, Library
from reelin.process import Attention, in_background
from reelin.temporal import connect
from tests.activities.test_courier import signals_to
from tests.activities.test_leases import Refusing
from tests.dispatch.conftest import Desk
from tests.library.samples import failure, new_job
from tests.waiting import PATIENCE


async def _dispatched(desk: Desk, job_id: str, *, run: int = 1) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            job = await desk.library.jobs.get(job_id)
            if job.run == run and job.dispatched_at is not None:
                return
            await asyncio.sleep(0.01)


async def test_a_submitted_job_becomes_a_workflow_that_reads_well(desk: Desk) -> None:
    name = uuid.uuid4().hex
    async with in_background(desk.dispatcher.run):
        job = (await desk.library.jobs.submit(new_job(name, priority=2))).job
        desk.dispatcher.wake()
        await _dispatched(desk, job.id)
    handle = desk.client.get_workflow_handle(job.id)
    found = await handle.describe()
    assert (found.workflow_type, found.status) == ("DownloadWorkflow", WorkflowExecutionStatus.RUNNING)
    assert found.typed_search_attributes.get(SearchAttributeKey.for_keyword("ReelinSite")) == "example.org"
    assert found.typed_search_attributes.get(SearchAttributeKey.for_keyword("ReelinKind")) == "auto"
    assert found.typed_search_attributes.get(SearchAttributeKey.for_keyword("ReelinOwner")) == "local"
    assert "example.org" in (await found.static_summary() or "")
    assert job.url is not None and job.url in (await found.static_details() or "")
    assert found.raw_description.workflow_execution_info.priority.priority_key == 2
    await handle.terminate()


async def test_what_waits_from_before_a_crash_is_started_without_being_asked(desk: Desk) -> None:
    jobs = [(await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job for _ in range(3)]
    async with in_background(desk.dispatcher.run):
        for job in jobs:
            await _dispatched(desk, job.id)
    for job in jobs:
        await desk.client.get_workflow_handle(job.id).terminate()


async def test_a_crash_between_start_and_note_does_not_start_it_twice(desk: Desk) -> None:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    async with in_background(desk.dispatcher.run):
        await _dispatched(desk, job.id)
        handle = desk.client.get_workflow_handle(job.id)
        first = (await handle.describe()).run_id
        await desk.library.jobs.dispatch_again(job.id, job.run)  # as if the note had never been made
        desk.dispatcher.wake()
        await _dispatched(desk, job.id)
    assert (await handle.describe()).run_id == first
    await handle.terminate()


async def test_a_new_run_waits_until_the_old_one_has_ended(desk: Desk) -> None:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    async with in_background(desk.dispatcher.run):
        await _dispatched(desk, job.id)
        await desk.library.jobs.fail(job.id, 1, failure=failure())  # recorded, but its workflow has not closed yet
        await desk.library.jobs.retry(job.id)
        desk.dispatcher.wake()
        await asyncio.sleep(0.7)
        assert (await desk.library.jobs.get(job.id)).dispatched_at is None
        handle = desk.client.get_workflow_handle(job.id)
        await handle.terminate()
        await _dispatched(desk, job.id, run=2)
    description = await handle.describe()
    assert await description.memo_value("run") == 2
    await handle.terminate()


async def test_an_older_run_that_never_heard_of_its_cancel_is_told_so_that_the_new_one_can_begin(desk: Desk) -> None:
    name = uuid.uuid4().hex
    job = (await desk.library.jobs.submit(new_job(name))).job
    starter = Starter(desk.client, desk.library)
    assert await starter.start(job) is Start.STARTED
    await desk.library.jobs.mark_dispatched([(job.id, job.run)])
    await desk.library.jobs.request_cancel(job.id, keep_partial=False)  # and nobody passes it on
    again = (await desk.library.jobs.submit(new_job(name))).job
    assert (again.run, await starter.start(again)) == (2, Start.LATER)
    events = [event async for event in desk.client.get_workflow_handle(job.id).fetch_history_events()]
    assert any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in events)
    await desk.client.get_workflow_handle(job.id).terminate()


async def test_a_cancel_that_came_during_the_start_reaches_the_workflow(desk: Desk) -> None:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    await desk.library.jobs.mark_dispatched([(job.id, 1)])
    await desk.library.jobs.request_cancel(job.id, keep_partial=False)
    await desk.library.jobs.dispatch_again(job.id, 1)
    async with in_background(desk.dispatcher.run):
        await _dispatched(desk, job.id)
        handle = desk.client.get_workflow_handle(job.id)
        async with asyncio.timeout(PATIENCE):
            while not (await handle.describe()).raw_description.workflow_extended_info.cancel_requested:
                await asyncio.sleep(0.02)
    await handle.terminate()


# Sites that have to let jobs in.


@dataclass
class Scene:
    """A desk that knows what sites want, and jobs of one site."""

    desk: Desk
    sites: SiteDesk
    site: str
    jobs: list[JobRecord]

    async def rows(self) -> list[JobRecord]:
        return [await self.desk.library.jobs.get(job.id) for job in self.jobs]

    async def line(self) -> set[str]:
        return {ask.job_id for ask in (await self.desk.library.waiters.front(self.site, at_most=100)).front}

    async def until_all_stand_in_line(self) -> None:
        async with asyncio.timeout(10):
            while await self.line() != {job.id for job in self.jobs}:
                await asyncio.sleep(0.01)

    async def until_told(self, number: int = 1) -> list[Words]:
        """The site's, by then so many; then there is nothing more on the way."""
        async with asyncio.timeout(20):
            while len(await told(self.desk.client, self.site)) < number:
                await asyncio.sleep(0.02)
        await self.sites.close()
        return await told(self.desk.client, self.site)


async def told(client: Client, site: str) -> list[Words]:
    try:
        return await signals_to(client, site)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return []


async def scene_of(
    library: Library, client: Client, *, number: int = 3, unlimited: bool = False, kind: Kind = Kind.AUTO
) -> Scene:
    site = f"{uuid.uuid4().hex[:8]}.org"
    sites = SiteDesk(client=client, library=library, unlimited=[site] if unlimited else [], max_at_once=4)
    new = [replace(new_job(uuid.uuid4().hex), site=site, kind=kind) for _ in range(number)]
    jobs = [(await library.jobs.submit(each)).job for each in new]
    return Scene(Desk(library, client, sites), sites, site, jobs)


async def started_with(desk: Desk, job: JobRecord) -> JobRequest:
    async for event in desk.client.get_workflow_handle(job.id).fetch_history_events():
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        return (await desk.client.data_converter.decode(payloads, [JobRequest]))[0]  # type: ignore[no-any-return]
    raise AssertionError("a history begins with the start")


async def is_known(client: Client, job_id: str) -> bool:
    try:
        await client.get_workflow_handle(job_id).describe()
    except RPCError as error:
        assert error.status is RPCStatusCode.NOT_FOUND
        return False
    return True


async def ended(desk: Desk, jobs: list[JobRecord]) -> None:
    for job in jobs:
        await desk.client.get_workflow_handle(job.id).terminate()


async def test_downloads_of_a_limited_site_stand_in_its_line_and_it_is_told_once_for_all(
    library: Library, temporal: Client
) -> None:
    scene = await scene_of(library, temporal)
    async with in_background(scene.desk.dispatcher.run):
        await scene.until_all_stand_in_line()
        [words] = await scene.until_told()
    assert {ask.job_id for ask in words.asks} == {job.id for job in scene.jobs}
    assert [(row.state, row.dispatched_at, row.lease) for row in await scene.rows()] == [
        (State.WAITING, None, None)
    ] * 3
    assert [await is_known(temporal, job.id) for job in scene.jobs] == [False] * 3, "the site lets them in"
    assert await library.jobs.undispatched() == []


async def test_very_many_of_one_site_are_lined_up_some_at_a_time(
    library: Library, temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelin.api.dispatcher.LINED_UP_AT_ONCE", 2)
    scene = await scene_of(library, temporal, number=5)
    async with in_background(scene.desk.dispatcher.run):
        await scene.until_all_stand_in_line()
        words = await scene.until_told(3)
    assert [len(each.asks) for each in words] == [2, 2, 1]


async def test_downloads_of_an_unlimited_site_start_at_once_and_stand_in_no_line(
    library: Library, temporal: Client
) -> None:
    scene = await scene_of(library, temporal, unlimited=True)
    async with in_background(scene.desk.dispatcher.run):
        for job in scene.jobs:
            await _dispatched(scene.desk, job.id)
    assert [(await started_with(scene.desk, job)).leased for job in scene.jobs] == [False] * 3
    assert [row.state for row in await scene.rows()] == [State.QUEUED] * 3
    assert await told(temporal, scene.site) == []
    await ended(scene.desk, scene.jobs)


@pytest.mark.parametrize("kind", [Kind.INFO, Kind.PLAYLIST])
async def test_what_is_no_download_starts_at_once(library: Library, temporal: Client, kind: Kind) -> None:
    scene = await scene_of(library, temporal, number=1, kind=kind)
    async with in_background(scene.desk.dispatcher.run):
        await _dispatched(scene.desk, scene.jobs[0].id)
    assert await told(temporal, scene.site) == []
    await ended(scene.desk, scene.jobs)


async def test_a_site_that_complains_while_jobs_wait_for_temporal_lets_them_in_too(
    library: Library, temporal: Client
) -> None:
    scene = await scene_of(library, temporal, unlimited=True)
    await library.sites.complained(scene.site, FailureKind.BOT_CHECK, datetime.now(UTC) + timedelta(hours=1))
    async with in_background(scene.desk.dispatcher.run):
        await scene.until_all_stand_in_line()
        await scene.until_told()


async def test_after_a_crash_between_lining_up_and_telling_the_site_hears_of_its_line(
    library: Library, temporal: Client
) -> None:
    scene = await scene_of(library, temporal)
    await library.waiters.line_up_site(scene.site, at_most=9)  # and then everything was killed
    await scene.desk.dispatcher.tell_sites()
    assert await scene.until_told() == [Words(reread=True)]


async def test_a_site_whose_workflow_was_ended_is_told_as_long_as_somebody_has_its_leave(
    library: Library, temporal: Client
) -> None:
    scene = await scene_of(library, temporal, number=1)
    await library.waiters.line_up_site(scene.site, at_most=9)
    await scene.desk.dispatcher.tell_sites()
    await scene.until_told()
    await temporal.get_workflow_handle(site_workflow_id(scene.site)).terminate("by hand")
    [job] = scene.jobs
    lease = Lease(job_id=job.id, run=1, number=1, owner=job.owner, since=0)
    assert await library.waiters.grant([lease])
    await scene.desk.dispatcher.tell_sites()
    description = await temporal.get_workflow_handle(site_workflow_id(scene.site)).describe()
    assert description.status is WorkflowExecutionStatus.RUNNING


@pytest.mark.timeout(120)
async def test_with_temporal_away_jobs_stand_in_line_and_their_site_is_told_when_it_is_back(
    library: Library, own_server: TemporalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = await scene_of(library, await connect(own_server.plan.address, lazy=True))
    async with in_background(scene.desk.dispatcher.run):
        await scene.until_all_stand_in_line()
        async with asyncio.timeout(20):
            while "jobs wait in its line" not in capsys.readouterr().out:
                await asyncio.sleep(0.02)
        assert [row.state for row in await scene.rows()] == [State.WAITING] * 3
        scene.desk.client = await own_server.start()
        words = await scene.until_told()
    assert words[0] == Words(reread=True), "it reads who waits: nobody has to remember it meanwhile"


async def test_a_job_that_temporal_will_never_take_has_failed_and_holds_nothing_up(
    library: Library, temporal: Client
) -> None:
    scene = await scene_of(library, temporal, unlimited=True)
    bad, *good = scene.jobs
    invalid = RPCError("the request is too large", RPCStatusCode.INVALID_ARGUMENT, b"")
    refusing: Any = Refusing(temporal, bad.id, invalid)
    async with in_background(Dispatcher(library, refusing, scene.sites).run):
        for job in good:
            await _dispatched(scene.desk, job.id)
        async with asyncio.timeout(10):
            while (await library.jobs.get(bad.id)).state is not State.FAILED:
                await asyncio.sleep(0.01)
    assert await library.jobs.undispatched() == []
    await ended(scene.desk, good)


@pytest.mark.timeout(60)
async def test_with_temporal_away_jobs_wait_in_the_outbox_and_that_is_said_once(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = await connect(f"127.0.0.1:{choose_port(0).number}", lazy=True)
    away = Desk(desk.library, nobody)
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(in_background(away.dispatcher.run))
        await asyncio.sleep(1)
        waiting = await desk.library.jobs.get(job.id)
        assert (waiting.state, waiting.dispatched_at) == (State.QUEUED, None)
        assert capsys.readouterr().out.count("jobs wait in the outbox") == 1
        await stack.enter_async_context(in_background(desk.dispatcher.run))
        await _dispatched(desk, job.id)
    await desk.client.get_workflow_handle(job.id).terminate()


async def test_jobs_that_temporal_cannot_take_fail_and_hold_up_none_behind_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelin.api.dispatcher.BATCH", 3)
    too_much = "x" * 2_100_000
    bad = [replace(new_job(uuid.uuid4().hex, priority=1), entry={"title": too_much}) for _ in range(4)]
    for each in bad:
        await desk.library.jobs.submit(each)
    good = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex, priority=5))).job
    async with in_background(desk.dispatcher.run):
        await _dispatched(desk, good.id)
    rows = await desk.library.jobs.many(each.id for each in bad)
    assert [row.state for row in rows] == [State.FAILED] * 4
    assert all("exceeds limit" in str(row.failure) for row in rows)
    await desk.client.get_workflow_handle(good.id).terminate()


async def test_a_namespace_that_is_not_there_is_said_once_and_asked_for_less_and_less(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds < SECONDS_BEFORE_ANOTHER_TRY:  # somebody else's: the module is everybody's
            return await real(seconds)
        waits.append(seconds)
        return await real(0)

    config = desk.client.config()
    config["namespace"] = "nowhere"
    nowhere = Desk(desk.library, Client(**config))
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    control = TemporalControl(nowhere.client, nowhere.dispatcher, Attention())
    monkeypatch.setattr("reelin.api.dispatcher.asyncio.sleep", note)
    async with in_background(nowhere.dispatcher.run), asyncio.timeout(20):
        while len(waits) < 10:
            await real(0.01)
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(waits) == waits[9] == 60
    assert capsys.readouterr().out.count("operator namespace create") == 1
    assert "TEMPORAL_NAMESPACE" in str(await control.check()), "readyz says so too"
    assert (await desk.library.jobs.get(job.id)).state is State.QUEUED
    await desk.library.jobs.cancel(job.id, 1)
    await nowhere.dispatcher._empty_outbox()
    assert nowhere.dispatcher.trouble is None, "nothing waits for it any more"
    await desk.library.jobs.retry(job.id)
    monkeypatch.undo()
    async with in_background(desk.dispatcher.run):
        await _dispatched(desk, job.id, run=2)
    await desk.client.get_workflow_handle(job.id).terminate()
