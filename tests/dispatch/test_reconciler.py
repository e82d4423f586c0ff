"""Rows and Temporal disagree: who is right, and what is done."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from reelin.activities import SiteDesk
from reelin.api import reconciler
from reelin.contracts.jobs import Kind, State
from reelin.contracts.progress import JobTouched
from reelin.contracts.sites import Lease, Words
from reelin.contracts.work import BULK_WORKFLOW, DOWNLOAD_WORKFLOW, WORKFLOW_QUEUE
from reelin.embedded.server import TemporalServer
from reelin.library import JobFilter, JobRecord, Library, NewBatch
from reelin.library.tables import items
from reelin.process import in_background
from tests.activities.test_courier import signals_to
from tests.dispatch.conftest import LONGEST_HISTORY, Desk
from tests.library.samples import failure, new_job


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "SETTLING", timedelta(0))


async def _started(desk: Desk) -> tuple[JobRecord, WorkflowHandle[object, object]]:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    return job, await _start(desk, job, DOWNLOAD_WORKFLOW)


async def _start(desk: Desk, job: JobRecord, workflow: str) -> WorkflowHandle[object, object]:
    handle = await desk.client.start_workflow(
        workflow, job.request(), id=job.id, task_queue=WORKFLOW_QUEUE, memo={"run": job.run}
    )
    await desk.library.jobs.mark_dispatched([(job.id, job.run)])
    return handle


async def test_a_workflow_that_runs_is_left_alone(desk: Desk) -> None:
    job, handle = await _started(desk)
    before = await desk.library.jobs.get(job.id)
    assert await desk.reconciler.sweep() == 0
    assert await desk.library.jobs.get(job.id) == before
    await handle.terminate()


async def test_a_workflow_that_was_terminated_in_temporals_ui_becomes_cancelled_here(desk: Desk) -> None:
    job, handle = await _started(desk)
    await handle.terminate("by hand")
    assert await desk.reconciler.sweep() == 1
    assert (await desk.library.jobs.get(job.id)).state is State.CANCELLED
    assert desk.events == [JobTouched(job_id=job.id)]


async def test_a_batch_that_was_terminated_in_temporals_ui_ends_with_its_items(desk: Desk) -> None:
    name = uuid.uuid4().hex
    urls = tuple(f"https://example.org/{name}/{number}" for number in range(3))
    list_ = replace(new_job(name), id=f"bulk-{name}", kind=Kind.BULK, url="", site="")
    batch = (await desk.library.batches.submit(NewBatch(list_, urls))).job
    handle = await _start(desk, batch, BULK_WORKFLOW)
    [flying] = (await desk.library.window.release(batch.id, at_once=1, limit_of=lambda _: None)).jobs
    item = await _start(desk, flying, DOWNLOAD_WORKFLOW)
    await handle.terminate("by hand")

    assert await desk.reconciler.sweep() == 1
    assert (await item.describe()).raw_description.workflow_extended_info.cancel_requested
    counts, _ = await desk.library.batches.count(batch.id)
    assert (counts.queued, counts.cancelled) == (1, 2), "what is in line ends at once"

    await item.terminate("as its workflow would")
    while not (await desk.library.jobs.get(batch.id)).state.final:
        assert await desk.reconciler.sweep() > 0
    ended = await desk.library.jobs.get(batch.id)
    assert ended.state is State.CANCELLED
    assert ended.result is not None
    assert ended.result["cancelled"] == 3
    assert await desk.library.jobs.unfinished_versions() == []
    assert await desk.reconciler.sweep() == 0


async def test_a_job_that_no_batch_has_in_line_any_more_is_ended_and_told_of(desk: Desk) -> None:
    name = uuid.uuid4().hex
    list_ = replace(new_job(name), id=f"bulk-{name}", kind=Kind.BULK, url="", site="")
    batch = (await desk.library.batches.submit(NewBatch(list_, (f"https://example.org/{name}",)))).job
    page = await desk.library.jobs.page(JobFilter(parent=batch.id), sort="position", limit=5, cursor=None)
    async with desk.library._database.writing() as connection:  # as no path of ours leaves it
        gone = {"released": True, "settled": True, "state": State.CANCELLED}
        await connection.execute(update(items).where(items.c.batch_id == batch.id).values(gone))
    assert await desk.reconciler.sweep() == 1
    assert (await desk.library.jobs.get(page.items[0].id)).state is State.CANCELLED
    assert desk.events == [JobTouched(job_id=page.items[0].id)]


async def test_a_workflow_that_temporal_does_not_know_is_put_back_into_the_outbox(desk: Desk) -> None:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    await desk.library.jobs.mark_dispatched([(job.id, job.run)])
    assert await desk.reconciler.sweep() == 1
    healed = await desk.library.jobs.get(job.id)
    assert (healed.state, healed.dispatched_at) == (State.QUEUED, None)


async def test_the_end_of_an_older_run_says_nothing_about_a_newer_one(desk: Desk) -> None:
    job, handle = await _started(desk)
    await handle.terminate("by hand")
    await desk.library.jobs.cancel(job.id, 1)
    await desk.library.jobs.retry(job.id)
    await desk.library.jobs.mark_dispatched([(job.id, 2)])  # and then everything was killed
    assert await desk.reconciler.sweep() == 1
    healed = await desk.library.jobs.get(job.id)
    assert (healed.state, healed.run, healed.dispatched_at) == (State.QUEUED, 2, None)


async def test_a_cancel_that_temporal_has_not_heard_of_is_passed_on(desk: Desk) -> None:
    job, handle = await _started(desk)
    await desk.library.jobs.request_cancel(job.id, keep_partial=False)
    await desk.reconciler.sweep()
    description = await handle.describe()
    assert description.raw_description.workflow_extended_info.cancel_requested
    await handle.terminate()


async def _signals(handle: WorkflowHandle[object, object]) -> list[str]:
    history = await handle.fetch_history()
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]


async def test_a_pause_that_temporal_has_not_heard_of_is_passed_on_until_the_job_stands_still(desk: Desk) -> None:
    job, handle = await _started(desk)
    await desk.library.jobs.request_pause(job.id)
    await desk.reconciler.sweep()
    assert await _signals(handle) == ["pause"]
    await desk.library.jobs.pause(job.id, job.run)
    await desk.reconciler.sweep()
    assert await _signals(handle) == ["pause"]
    await handle.terminate()


async def test_a_resume_that_temporal_has_not_heard_of_is_passed_on_once(desk: Desk) -> None:
    job, handle = await _started(desk)
    await desk.library.jobs.request_pause(job.id)
    await desk.library.jobs.pause(job.id, job.run)
    await desk.library.jobs.request_resume(job.id)
    await desk.reconciler.sweep()
    await desk.reconciler.sweep()
    assert await _signals(handle) == ["resume"]
    await handle.terminate()


async def test_all_jobs_that_temporal_was_told_of_are_compared_however_many_there_are(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = desk.library.jobs.dispatched_pages
    monkeypatch.setattr(desk.library.jobs, "dispatched_pages", lambda: pages(size=2))
    jobs = [(await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job for _ in range(5)]
    await desk.library.jobs.mark_dispatched([(job.id, job.run) for job in jobs])
    assert await desk.reconciler.sweep() == 5
    assert len(await desk.library.jobs.undispatched()) == 5


async def test_who_waits_to_be_let_in_is_left_alone_and_its_site_is_told(desk: Desk) -> None:
    site = f"{uuid.uuid4().hex[:8]}.org"
    sites = SiteDesk(client=desk.client, library=desk.library, unlimited=[], max_at_once=4)
    strict = Desk(desk.library, desk.client, sites)
    job = (await desk.library.jobs.submit(replace(new_job(uuid.uuid4().hex), site=site))).job
    await desk.library.waiters.line_up_site(site, at_most=9)
    waiting = await desk.library.jobs.get(job.id)
    assert await strict.reconciler.sweep() == 0
    assert await desk.library.jobs.get(job.id) == waiting
    assert await signals_to(desk.client, site) == [Words(reread=True)]


# Ended by somebody, or by Temporal itself.


async def test_a_workflow_whose_history_grew_too_long_for_temporal_is_done_again(
    library: Library, own_server: TemporalServer
) -> None:
    desk = Desk(library, await own_server.start())
    job, handle = await _started(desk)
    await library.jobs.begin(job.id, job.run, 3)
    with pytest.raises(RPCError, match="history"):
        for _ in range(2 * LONGEST_HISTORY):
            await handle.signal("resume")
    assert (await handle.describe()).status is WorkflowExecutionStatus.TERMINATED
    assert await desk.reconciler.sweep() == 1
    healed = await library.jobs.get(job.id)
    assert (healed.state, healed.dispatched_at, healed.attempt) == (State.QUEUED, None, 0)
    assert desk.events == [JobTouched(job_id=job.id)]
    async with in_background(desk.dispatcher.run):
        async with asyncio.timeout(10):
            while (await library.jobs.get(job.id)).dispatched_at is None:
                await asyncio.sleep(0.01)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert await desk.reconciler.sweep() == 0


async def test_a_workflow_that_ended_as_cancelled_becomes_cancelled_here(desk: Desk) -> None:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    queue = uuid.uuid4().hex
    async with Worker(desk.client, task_queue=queue, workflows=[Asking], workflow_runner=UnsandboxedWorkflowRunner()):
        handle = await desk.client.start_workflow(Asking.run, queue, id=job.id, task_queue=queue, memo={"run": job.run})
        await desk.library.jobs.mark_dispatched([(job.id, job.run)])
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert await desk.reconciler.sweep() == 1
    assert (await desk.library.jobs.get(job.id)).state is State.CANCELLED


async def test_a_lease_of_a_workflow_that_was_ended_does_not_outlive_it(desk: Desk) -> None:
    job, handle = await _started(desk)
    await desk.library.jobs.wait_for_lease(job.id, job.run)
    await desk.library.waiters.grant([Lease(job_id=job.id, run=job.run, number=7, owner=job.owner, since=0)])
    await handle.terminate("by hand")
    assert await desk.reconciler.sweep() == 1
    ended = await desk.library.jobs.get(job.id)
    assert (ended.state, ended.lease) == (State.CANCELLED, None)


# What stands still.


@workflow.defn
class Asking:
    """Waits for an activity that nobody does, as a job does that waits for a place in a worker."""

    @workflow.run
    async def run(self, queue: str) -> None:
        await workflow.execute_activity(
            "nobody", task_queue=f"{queue}-nobody", start_to_close_timeout=timedelta(hours=1)
        )


@workflow.defn
class Idle:
    """Waits for a word, as a job does that was told too little."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def _idle(desk: Desk) -> tuple[JobRecord, WorkflowHandle[Any, Any]]:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    queue = uuid.uuid4().hex
    async with Worker(desk.client, task_queue=queue, workflows=[Idle], workflow_runner=UnsandboxedWorkflowRunner()):
        handle = await desk.client.start_workflow(Idle.run, id=job.id, task_queue=queue, memo={"run": job.run})
        async with asyncio.timeout(20):
            while (await handle.describe()).raw_description.HasField("pending_workflow_task"):
                await asyncio.sleep(0.02)
    await desk.library.jobs.mark_dispatched([(job.id, job.run)])
    return job, handle


@pytest.fixture
def old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "STANDS_STILL", timedelta(0))


@pytest.mark.usefixtures("old_at_once")
async def test_a_job_that_stands_still_looks_at_its_row_again(desk: Desk) -> None:
    job, handle = await _idle(desk)
    before = await desk.library.jobs.get(job.id)
    assert await desk.reconciler.sweep() == 0, "nothing was wrong with the row"
    assert await _signals(handle) == ["resume"]
    assert await desk.library.jobs.get(job.id) == before
    await handle.terminate()


async def test_a_job_that_came_just_now_is_not_woken(desk: Desk) -> None:
    _, handle = await _idle(desk)
    await desk.reconciler.sweep()
    assert await _signals(handle) == []
    await handle.terminate()


@pytest.mark.usefixtures("old_at_once")
async def test_with_all_workers_away_a_job_is_woken_once_however_long_that_is(desk: Desk) -> None:
    _, unheard = await _started(desk)
    _, idle = await _idle(desk)
    for _ in range(3):
        await desk.reconciler.sweep()
    assert (await _signals(unheard), await _signals(idle)) == ([], ["resume"])
    for handle in (unheard, idle):
        await handle.terminate()


@pytest.mark.usefixtures("old_at_once")
async def test_a_job_that_a_worker_is_to_take_is_not_woken(desk: Desk) -> None:
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    queue = uuid.uuid4().hex
    async with Worker(desk.client, task_queue=queue, workflows=[Asking], workflow_runner=UnsandboxedWorkflowRunner()):
        handle = await desk.client.start_workflow(Asking.run, queue, id=job.id, task_queue=queue, memo={"run": job.run})
        async with asyncio.timeout(20):
            while not (await handle.describe()).raw_description.pending_activities:
                await asyncio.sleep(0.02)
    await desk.library.jobs.mark_dispatched([(job.id, job.run)])
    await desk.reconciler.sweep()
    assert await _signals(handle) == []
    await handle.terminate()


@pytest.mark.usefixtures("old_at_once")
@pytest.mark.parametrize("state", ["running", "waiting", "in line", "paused"])
async def test_a_job_that_runs_or_waits_for_something_is_not_woken(desk: Desk, state: str) -> None:
    job, handle = await _idle(desk)
    await desk.library.jobs.begin(job.id, job.run, 1)
    match state:
        case "waiting":
            later = datetime.now(UTC) + timedelta(hours=1)
            await desk.library.jobs.wait(job.id, job.run, failure=failure(), attempt=1, until=later)
        case "in line":
            await desk.library.jobs.wait_for_lease(job.id, job.run)
        case "paused":
            await desk.library.jobs.request_pause(job.id)
            await desk.library.jobs.pause(job.id, job.run)
    await desk.reconciler.sweep()
    assert await _signals(handle) == []
    await handle.terminate()


@pytest.mark.usefixtures("old_at_once")
async def test_the_workflow_of_an_older_run_is_not_woken_for_a_newer_one(desk: Desk) -> None:
    job, handle = await _idle(desk)
    await desk.library.jobs.cancel(job.id, 1)
    await desk.library.jobs.retry(job.id)
    await desk.library.jobs.mark_dispatched([(job.id, 2)])
    await desk.reconciler.sweep()
    assert await _signals(handle) == []
    await handle.terminate()


@pytest.mark.usefixtures("old_at_once")
async def test_some_at_a_time_are_woken_however_many_stand_still(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOKED_AT", 1)
    handles = [(await _idle(desk))[1] for _ in range(3)]
    await desk.reconciler.sweep()
    assert sum([len(await _signals(handle)) for handle in handles]) == 1
    for handle in handles:
        await handle.terminate()
