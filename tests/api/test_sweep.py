"""A batch is told of as the sum of its items: in time, at little cost, and not at all while nobody watches."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace
from typing import Any

import pytest

from reelin.api import sweep as sweep_module
from reelin.api.hub import Hub
from reelin.api.mailbox import Subscription
from reelin.api.view import LinkMaker
from reelin.contracts.jobs import Counts, Job, Kind, State
from reelin.contracts.progress import JobTouched
from reelin.library import Library
from reelin.progress import MemoryBus
from tests.api.batches import Worker, new_batch
from tests.api.service import Api, progress, until
from tests.library.samples import new_job
from tests.waiting import PATIENCE


async def next_job(subscription: Subscription) -> Job:
    letter = await asyncio.wait_for(anext(subscription), PATIENCE)
    return Job.model_validate_json(letter.event.text)


async def watched(hub: Hub, subscription: Subscription, job_id: str) -> Job:
    return Job.model_validate_json((await hub.watch(subscription, job_id)).text)


async def test_a_batch_is_counted_from_the_first_event_on(hub: Hub, library: Library) -> None:
    worker = await Worker.of(library, 4)
    with hub.subscription("sse") as one, hub.subscription("sse") as everything:
        shown = await watched(hub, one, worker.batch_id)
        await hub.watch_all(everything)
        assert shown.counts == Counts(total=4, queued=4)
        assert (await next_job(everything)).counts == shown.counts
        assert len(everything) == 0, "items that the batch holds back are counted, not told"


async def test_figures_add_up_what_is_done_and_what_runs(hub: Hub, library: Library, bus: MemoryBus) -> None:
    worker = await Worker.of(library, 4)
    first, second, third, _ = await worker.release()
    with hub.subscription("sse") as subscription:
        before = await watched(hub, subscription, worker.batch_id)
        await worker.complete(first)
        await worker.fail(second)
        await worker.begin(third)
        report = progress(third.id, 50)
        moving = report.progress.model_copy(update={"bytes_per_second": 20.0, "total_bytes": 100})
        bus.publish(report.model_copy(update={"progress": moving}))
        job = await next_job(subscription)
        while job.counts != Counts(total=4, queued=1, running=1, completed=1, failed=1):
            job = await next_job(subscription)
    assert job.progress is not None and job.version > before.version
    assert (job.progress.percent, job.progress.downloaded_bytes) == (62.5, 60)
    assert (job.progress.bytes_per_second, job.progress.total_is_estimate) == (20.0, True)
    assert job.progress.total_bytes == 10 + 100 + 55, "one done, one running, and the mean for the one in line"


async def test_without_a_shared_bus_counts_are_found_by_looking(hub: Hub, library: Library) -> None:
    worker = await Worker.of(library, 3)
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, worker.batch_id)
        for job in await worker.release():
            await worker.begin(job)
            await worker.complete(job)
        await worker.finish()
        versions = []
        while True:
            shown = await next_job(subscription)
            versions.append(shown.version)
            if shown.state.final:
                break
    assert (shown.state, shown.counts) == (State.COMPLETED, Counts(total=3, completed=3))
    assert shown.result == {**Counts(total=3, completed=3).model_dump(), "truncated": False}
    assert versions == sorted(set(versions))


async def test_two_processes_tell_the_same_in_versions_that_fit(library: Library) -> None:
    worker = await Worker.of(library, 2)
    first, second = await worker.release()
    hubs = [Hub(library, MemoryBus(), LinkMaker()) for _ in range(2)]
    async with contextlib.AsyncExitStack() as stack:
        subscriptions = []
        for hub in hubs:
            await hub.start()
            stack.push_async_callback(hub.close)
            subscriptions.append(stack.enter_context(hub.subscription("sse")))
            await hub.watch(subscriptions[-1], worker.batch_id)
        await worker.complete(first)
        seen = [await next_job(subscription) for subscription in subscriptions]
        assert [job.counts for job in seen] == [Counts(total=2, queued=1, completed=1)] * 2
        await worker.complete(second)
        await worker.finish()
        for subscription in subscriptions:
            while not (final := await next_job(subscription)).state.final:
                seen.append(final)
            assert final.version > max(job.version for job in seen), "a client may ask one and then the other"


async def test_a_restarted_process_tells_of_a_batch_in_no_older_versions_than_before(library: Library) -> None:
    worker = await Worker.of(library, 2)
    first, second = await worker.release()
    told = []
    for done in (first, second):
        hub = Hub(library, MemoryBus(), LinkMaker())
        with hub.subscription("sse") as subscription:
            told.append(await watched(hub, subscription, worker.batch_id))
            await worker.complete(done)
            hub._sweep.wake(worker.batch_id)
            await hub._sweep.round()
            told.append(await next_job(subscription))
    before, first_done, again, both_done = (job.version for job in told)
    assert before < first_done <= again < both_done


async def test_nothing_is_counted_while_nobody_watches(
    hub: Hub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await Worker.of(library, 3)
    await worker.release()
    looks = 0
    standing = library.batches.standing

    async def counted(job_id: str) -> Any:
        nonlocal looks
        looks += 1
        return await standing(job_id)

    monkeypatch.setattr(library.batches, "standing", counted)
    monkeypatch.setattr(sweep_module, "QUIET_SECONDS", sweep_module.SWEEP_SECONDS)
    await asyncio.sleep(sweep_module.SWEEP_SECONDS * 2.5)
    assert looks == 0
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, worker.batch_id)
        await until(lambda: looks >= 3)
    await asyncio.sleep(sweep_module.SWEEP_SECONDS)
    left = looks
    await asyncio.sleep(sweep_module.SWEEP_SECONDS * 2.5)
    assert looks == left


async def test_a_batch_in_which_nothing_happens_is_looked_at_less_and_less(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await Worker.of(library, 3)
    hub, now, looks = Hub(library, MemoryBus(), LinkMaker()), 0.0, []
    standing = library.batches.standing

    async def counted(job_id: str) -> Any:
        looks.append(now)
        return await standing(job_id)

    monkeypatch.setattr(library.batches, "standing", counted)
    hub._sweep._clock = lambda: now
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, worker.batch_id)
        for tick in range(40):
            now = tick * sweep_module.SWEEP_SECONDS
            await hub._sweep.round()
        quiet = [later - earlier for earlier, later in itertools.pairwise(looks)]
        assert quiet[-1] == sweep_module.QUIET_SECONDS
        hub._touched(worker.batch_id)
        now += sweep_module.SWEEP_SECONDS
        await hub._sweep.round()
        assert looks[-1] == now


async def test_a_nested_playlist_counts_by_its_own_items(hub: Hub, library: Library, bus: MemoryBus) -> None:
    outer = await Worker.of(library, 2)
    (first, second) = await outer.release()
    await library.jobs.begin(first.id, 1, 1)
    async with library._database.writing() as connection:  # as `fetch` does when the URL turns out to be a playlist
        from reelin.library.rows import write
        from reelin.library.tables import jobs

        await write(connection, jobs.c.id == first.id, kind=Kind.PLAYLIST)
    await library.batches.open(first.id, 1)
    inner = Worker(library, first.id)
    page = [replace(new_job(name), url=f"https://example.org/{name}") for name in ("i1", "i2", "i3", "i4")]
    await library.batches.store_page(first.id, 1, page, start=0)
    await library.batches.expanded(first.id, 1, total=4)
    inside = await inner.release()
    await inner.complete(inside[0])
    with hub.subscription("sse") as subscription:
        shown = await watched(hub, subscription, outer.batch_id)
        assert shown.progress is not None
        assert (shown.progress.percent, shown.progress.downloaded_bytes) == (12.5, 10)
        for job in inside[1:]:
            await inner.complete(job)
        await inner.finish()
        await outer.complete(second)
        await outer.finish()
        while not (shown := await next_job(subscription)).state.final:
            pass
    assert shown.counts == Counts(total=2, completed=2)
    assert (await library.batches.count(outer.batch_id))[1] == 50, "the bytes of the playlist's items are its own"


async def test_a_deleted_batch_is_told_of_and_counted_no_more(hub: Hub, library: Library, bus: MemoryBus) -> None:
    worker = await Worker.of(library, 2)
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, worker.batch_id)
        await library.jobs.forget(worker.batch_id)
        hub.deleted(worker.batch_id)
        letter = await asyncio.wait_for(anext(subscription), PATIENCE)
        assert "deleted" in letter.event.sse.decode()
        await hub._sweep.round()
        assert not hub._sweep._watched and len(hub._board) == 0


async def test_paused_waiting_and_skipped_items_are_counted_as_such(hub: Hub, library: Library) -> None:
    earlier = await Worker.of(library, 1, name="earlier")
    (done,) = await earlier.release()
    await earlier.complete(done)
    worker = await Worker.of(library, 3)
    first, _ = await worker.release()
    await library.jobs.begin(first.id, 1, 1)
    await library.jobs.request_pause(worker.batch_id)
    await library.window.stop(worker.batch_id)
    await library.jobs.pause(first.id, 1)
    await library.jobs.pause(worker.batch_id, 1)
    with hub.subscription("sse") as subscription:
        shown = await watched(hub, subscription, worker.batch_id)
    assert (shown.state, shown.counts) == (State.PAUSED, Counts(total=3, queued=1, paused=1, skipped=1))
    assert shown.progress is not None and shown.progress.downloaded_bytes == 10


async def test_what_was_fetched_still_counts_while_a_batch_is_paused(
    hub: Hub, library: Library, bus: MemoryBus
) -> None:
    worker = await Worker.of(library, 2)
    first, _ = await worker.release(1) + await worker.release(2)
    await worker.begin(first)
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, worker.batch_id)
        report = progress(first.id, 80)
        bus.publish(
            report.model_copy(update={"progress": report.progress.model_copy(update={"bytes_per_second": 9.0})})
        )
        while (job := await next_job(subscription)).progress is None or job.progress.percent != 40:
            pass
        assert job.progress.bytes_per_second == 9.0
        await library.jobs.request_pause(first.id)
        await library.jobs.pause(first.id, 1)
        bus.publish(JobTouched(job_id=first.id))
        while (job := await next_job(subscription)).counts != Counts(total=2, queued=1, paused=1):
            pass
    assert job.progress is not None
    assert (job.progress.percent, job.progress.downloaded_bytes) == (40, 80)
    assert (job.progress.bytes_per_second, job.progress.eta_seconds) == (None, None)


async def test_what_was_submitted_counts_before_its_rows_are_there(hub: Hub, library: Library) -> None:
    await library.batches.submit(new_batch(1000))
    with hub.subscription("sse") as subscription:
        shown = await watched(hub, subscription, "bulk-list")
    assert shown.counts == Counts(total=1000, queued=1000)


async def test_rest_shows_counts_although_nobody_watches(api: Api) -> None:
    worker = await Worker.of(api.library, 4)
    await worker.complete((await worker.release())[0])
    one = Job.model_validate_json((await api.client.get(f"/api/jobs/{worker.batch_id}")).content)
    listed = (await api.client.get("/api/jobs")).json()["items"]
    assert one.counts == Counts(total=4, queued=3, completed=1)
    assert one.progress is not None and one.progress.percent == 25
    assert [job["counts"]["completed"] for job in listed] == [1]
    api.bus.publish(JobTouched(job_id=worker.batch_id))
    assert len(api.hub._board) == 0
