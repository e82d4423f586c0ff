"""The outbox is emptied into a real Temporal server."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from reelin.activities import SiteDesk, Starter
from reelin.api.dispatcher import Dispatcher
from reelin.contracts.jobs import State
from reelin.contracts.work import JobRequest
from reelin.embedded.ports import choose_port
from reelin.library import JobRecord
from reelin.process import in_background
from reelin.temporal import connect
from tests.activities.test_courier import signals_to, words_to
from tests.dispatch.conftest import Desk
from tests.library.samples import failure, new_job


async def _dispatched(desk: Desk, job_id: str, *, run: int = 1) -> None:
    async with asyncio.timeout(10):
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
    starter = Starter(desk.client)
    assert await starter.start(job)
    await desk.library.jobs.mark_dispatched([(job.id, job.run)])
    await desk.library.jobs.request_cancel(job.id, keep_partial=False)  # and nobody passes it on
    again = (await desk.library.jobs.submit(new_job(name))).job
    assert (again.run, await starter.start(again)) == (2, False)
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
        async with asyncio.timeout(5):
            while not (await handle.describe()).raw_description.workflow_extended_info.cancel_requested:
                await asyncio.sleep(0.02)
    await handle.terminate()


@dataclass
class Limited:
    """A dispatcher that knows what sites want, and two jobs of one site."""

    dispatcher: Dispatcher
    starter: Starter
    site: str
    jobs: list[JobRecord]


async def limited(desk: Desk, *, unlimited: bool = False) -> Limited:
    site = f"{uuid.uuid4().hex[:8]}.org"
    sites = SiteDesk(client=desk.client, library=desk.library, unlimited=[site] if unlimited else [], max_at_once=4)
    new = [replace(new_job(uuid.uuid4().hex), site=site) for _ in range(2)]
    jobs = [(await desk.library.jobs.submit(each)).job for each in new]
    dispatcher = Dispatcher(desk.library, desk.client, sites)
    return Limited(dispatcher, Starter(desk.client, sites), site, jobs)


async def started_with(desk: Desk, job: JobRecord) -> JobRequest:
    async for event in desk.client.get_workflow_handle(job.id).fetch_history_events():
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        return (await desk.client.data_converter.decode(payloads, [JobRequest]))[0]  # type: ignore[no-any-return]
    raise AssertionError("a history begins with the start")


async def ended(desk: Desk, jobs: list[JobRecord]) -> None:
    for job in jobs:
        await desk.client.get_workflow_handle(job.id).terminate()


async def test_downloads_of_a_limited_site_start_in_line_and_their_site_is_asked_once_for_all(desk: Desk) -> None:
    scene = await limited(desk)
    async with in_background(scene.dispatcher.run):
        for job in scene.jobs:
            await _dispatched(desk, job.id)
    [words] = await signals_to(desk.client, scene.site)
    assert {ask.job_id for ask in words.asks} == {job.id for job in scene.jobs}
    assert [(await started_with(desk, job)).in_line for job in scene.jobs] == [True, True]
    rows = await desk.library.jobs.many(job.id for job in scene.jobs)
    assert [row.state for row in rows] == [State.WAITING] * 2, "in line"
    await ended(desk, scene.jobs)


async def test_downloads_of_an_unlimited_site_stand_in_no_line(desk: Desk) -> None:
    scene = await limited(desk, unlimited=True)
    async with in_background(scene.dispatcher.run):
        for job in scene.jobs:
            await _dispatched(desk, job.id)
    assert [(await started_with(desk, job)).in_line for job in scene.jobs] == [False, False]
    rows = await desk.library.jobs.many(job.id for job in scene.jobs)
    assert [row.state for row in rows] == [State.QUEUED] * 2
    await ended(desk, scene.jobs)


async def test_after_a_crash_between_start_and_asking_the_site_is_asked(desk: Desk) -> None:
    scene = await limited(desk)
    job = scene.jobs[0]
    assert await scene.starter.start(job, in_line=True)  # and then everything was killed
    async with in_background(scene.dispatcher.run):
        await _dispatched(desk, job.id)
    assert job.id in {word.job_id for word in await words_to(desk.client, scene.site)}
    await ended(desk, scene.jobs)


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
