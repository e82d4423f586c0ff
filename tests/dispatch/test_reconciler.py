"""Rows and Temporal disagree: who is right, and what is done."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from temporalio.client import WorkflowHandle

from reelin.api import reconciler
from reelin.contracts.jobs import Kind, State
from reelin.contracts.progress import JobTouched
from reelin.contracts.work import BULK_WORKFLOW, DOWNLOAD_WORKFLOW, WORKFLOW_QUEUE
from reelin.library import JobFilter, JobRecord, NewBatch
from reelin.library.tables import items
from tests.dispatch.conftest import Desk
from tests.library.samples import new_job


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


async def test_all_unfinished_jobs_are_compared_however_many_there_are(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = desk.library.jobs.unfinished_pages
    monkeypatch.setattr(desk.library.jobs, "unfinished_pages", lambda: pages(size=2))
    jobs = [(await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job for _ in range(5)]
    await desk.library.jobs.mark_dispatched([(job.id, job.run) for job in jobs])
    assert await desk.reconciler.sweep() == 5
    assert len(await desk.library.jobs.undispatched()) == 5
