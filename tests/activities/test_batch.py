"""Batches let their items go, with a real Temporal: some start, others wait until their site lets them in."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from reelin.activities import BatchActivities, SiteDesk, Starter
from reelin.contracts.jobs import Kind, State
from reelin.contracts.work import Advance, JobRequest
from reelin.errors import Unavailable
from reelin.library import JobFilter, JobRecord, Library, NewBatch
from reelin.progress import MemoryBus
from reelin.temporal import connect
from tests.activities.test_courier import signals_to
from tests.activities.test_fetch import Silence
from tests.library.samples import new_job


class Batch:
    """A list of URLs of a site that lets jobs in, and of one that needs no leave."""

    def __init__(self, library: Library, client: Client) -> None:
        self.library = library
        self.client = client
        name = uuid.uuid4().hex[:8]
        self.id = f"bulk-{name}"
        self.limited, self.free = f"{name}.org", f"{name}.com"
        self.desk = SiteDesk(client=client, library=library, unlimited=[self.free], max_at_once=4)

    def activities(self, client: Client | None = None) -> BatchActivities:
        desk = self.desk
        if client is not None:
            desk = SiteDesk(client=client, library=self.library, unlimited=[self.free], max_at_once=4)
        return BatchActivities(
            client=client or self.client,
            library=self.library,
            bus=MemoryBus(),
            at_once=20,
            site_limits=desk.limits,
            bell=Silence(),
            starter=Starter(client or self.client, self.library, desk),
        )

    async def submit(self) -> JobRequest:
        urls = tuple(f"https://{site}/{number}" for site in (self.limited, self.free) for number in range(2))
        job = replace(new_job(self.id), id=self.id, kind=Kind.BULK, url="", site="")
        await self.library.batches.submit(NewBatch(job, urls))
        await self.library.batches.expand_list(self.id, 1)
        await self.library.jobs.mark_dispatched([(self.id, 1)])
        return (await self.library.jobs.get(self.id)).request()

    async def let_go(self, job: JobRequest, client: Client | None = None) -> Advance:
        return await ActivityEnvironment().run(self.activities(client).let_go, job)

    async def items(self, site: str) -> list[JobRecord]:
        page = await self.library.jobs.page(JobFilter(parent=self.id), sort="position", limit=500, cursor=None)
        return [item for item in page.items if item.site == site]

    async def end(self) -> None:
        for item in await self.items(self.free):
            await self.client.get_workflow_handle(item.id).terminate()


@pytest.fixture
def batch(library: Library, temporal: Client) -> Batch:
    return Batch(library, temporal)


async def is_known(client: Client, job_id: str) -> bool:
    try:
        description = await client.get_workflow_handle(job_id).describe()
    except RPCError as error:
        assert error.status is RPCStatusCode.NOT_FOUND
        return False
    return description.status is WorkflowExecutionStatus.RUNNING


async def test_items_of_a_limited_site_stand_in_its_line_and_the_others_start(batch: Batch) -> None:
    job = await batch.submit()
    assert (await batch.let_go(job)).in_flight == 4
    waiting, started = await batch.items(batch.limited), await batch.items(batch.free)
    assert [(item.state, item.dispatched_at) for item in waiting] == [(State.WAITING, None)] * 2
    assert [item.state for item in started] == [State.QUEUED] * 2
    assert all(item.dispatched_at is not None for item in started)
    assert [await is_known(batch.client, item.id) for item in (*waiting, *started)] == [False, False, True, True]
    [words] = await signals_to(batch.client, batch.limited)
    assert {ask.job_id for ask in words.asks} == {item.id for item in waiting}
    await batch.end()


async def test_letting_go_twice_changes_nothing_of_who_waits(batch: Batch) -> None:
    job = await batch.submit()
    await batch.let_go(job)
    before = await batch.items(batch.limited)
    assert (await batch.let_go(job)).in_flight == 4
    assert await batch.items(batch.limited) == before
    assert len(await signals_to(batch.client, batch.limited)) == 1
    await batch.end()


async def test_what_waits_in_a_sites_line_ends_with_its_batch_at_once(batch: Batch) -> None:
    job = await batch.submit()
    await batch.let_go(job)
    await batch.library.jobs.request_cancel(batch.id, keep_partial=False)
    advance = await ActivityEnvironment().run(batch.activities().call_off, job)
    assert advance.in_flight == 2, "those that Temporal has"
    assert [item.state for item in await batch.items(batch.limited)] == [State.CANCELLED] * 2
    assert await batch.library.waiters.sites() == []
    for item in await batch.items(batch.free):
        await batch.library.jobs.cancel(item.id, item.run)
    assert (await ActivityEnvironment().run(batch.activities().call_off, job)).over is State.CANCELLED
    await batch.end()


async def test_what_waits_in_a_sites_line_stands_still_with_its_batch_at_once(batch: Batch) -> None:
    job = await batch.submit()
    await batch.let_go(job)
    await batch.library.jobs.request_pause(batch.id)
    assert (await batch.let_go(job)).paused
    assert [item.state for item in await batch.items(batch.limited)] == [State.PAUSED] * 2
    assert await batch.library.waiters.sites() == []
    await batch.end()


async def test_with_temporal_away_items_wait_in_rows_all_the_same(batch: Batch) -> None:
    job = await batch.submit()
    away = await connect("127.0.0.1:1", lazy=True)
    with pytest.raises(Unavailable):
        await batch.let_go(job, away)
    assert [item.state for item in await batch.items(batch.limited)] == [State.WAITING] * 2
    assert {item.id for item in await batch.library.jobs.undispatched()} == {
        item.id for item in await batch.items(batch.free)
    }, "the dispatcher starts them"
