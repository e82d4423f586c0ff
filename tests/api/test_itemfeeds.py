"""The items of a batch: what is in flight as it happens, every end for certain, and never more than fits."""

from __future__ import annotations

import asyncio

import pytest

from reelin.api import itemfeeds
from reelin.api.hub import Hub
from reelin.api.mailbox import Subscription
from reelin.contracts.jobs import Job, State
from reelin.contracts.progress import JobTouched
from reelin.library import Library
from reelin.progress import MemoryBus
from tests.api.batches import Worker
from tests.api.service import heard, progress, until
from tests.library.samples import new_job
from tests.waiting import PATIENCE


def taken(subscription: Subscription) -> list[Job]:
    """What waits, without the batch's own events."""
    letters = iter(subscription.take, None)
    return [
        Job.model_validate_json(letter.event.text) for letter in letters if letter.event.job_id.startswith("video-")
    ]


async def ends(subscription: Subscription, number: int) -> dict[str, list[Job]]:
    """Every event of each item until so many have ended."""
    seen: dict[str, list[Job]] = {}
    async with asyncio.timeout(PATIENCE):
        while sum(jobs[-1].state.final for jobs in seen.values()) < number:
            letter = await anext(subscription)
            if letter.event.job_id.startswith("video-"):
                seen.setdefault(letter.event.job_id, []).append(Job.model_validate_json(letter.event.text))
    return seen


async def test_items_in_flight_are_told_first_and_then_as_they_go_on(
    hub: Hub, library: Library, bus: MemoryBus
) -> None:
    worker = await Worker.of(library, 5)
    first, second = await worker.release(2)
    await worker.begin(first)
    with hub.subscription("sse") as subscription:
        await hub.watch_items(subscription, worker.batch_id)
        present = taken(subscription)
        assert {job.id: job.state for job in present} == {first.id: State.RUNNING, second.id: State.QUEUED}
        assert {(job.parent_id, job.position) for job in present} == {(worker.batch_id, 1), (worker.batch_id, 2)}
        bus.publish(progress(first.id, 30))
        await heard(hub)
        (running,) = taken(subscription)
        assert running.progress is not None and running.progress.percent == 30
        await worker.complete(first)
        bus.publish(JobTouched(job_id=first.id))
        seen = await ends(subscription, 1)
        assert [job.state for job in seen[first.id]] == [State.COMPLETED]
        await asyncio.sleep(itemfeeds.FEED_SECONDS * 2.2)
        assert taken(subscription) == [], "what was told as it happened is not told again when it is read"


async def test_an_item_that_begins_and_ends_between_two_looks_is_told_of(hub: Hub, library: Library) -> None:
    worker = await Worker.of(library, 30)
    with hub.subscription("sse") as subscription:
        await hub.watch_items(subscription, worker.batch_id)
        for number in range(3):
            for job in await worker.release(10):
                await worker.begin(job)
                await (worker.complete if number else worker.fail)(job)
        seen = await ends(subscription, 30)
    assert sum(jobs[-1].state is State.FAILED for jobs in seen.values()) == 10
    assert all(len({job.version for job in jobs}) == len(jobs) for jobs in seen.values())
    assert not hub._feeds._in_flight and not hub._feeds._feeds


async def test_a_job_is_told_with_its_place_in_each_batch(hub: Hub, library: Library, bus: MemoryBus) -> None:
    one, other = await Worker.of(library, 3), await Worker.of(library, 3, name="other", first=1)
    await one.release()
    await other.release()
    shared = (await library.batches.in_flight(other.batch_id))[0].job
    with hub.subscription("sse") as of_one, hub.subscription("sse") as of_other:
        await hub.watch_items(of_one, one.batch_id)
        await hub.watch_items(of_other, other.batch_id)
        taken(of_one), taken(of_other)
        bus.publish(progress(shared.id, 10))
        await heard(hub)
        assert [(job.parent_id, job.position) for job in taken(of_one)] == [(one.batch_id, 2)]
        assert [(job.parent_id, job.position) for job in taken(of_other)] == [(other.batch_id, 1)]


async def test_a_batch_that_is_called_off_says_so_of_every_item_also_of_those_that_go_on_elsewhere(
    hub: Hub, library: Library, bus: MemoryBus
) -> None:
    one, other = await Worker.of(library, 300), await Worker.of(library, 2, name="other")
    shared = await one.release(2)
    for job in shared:
        await one.begin(job)
    with hub.subscription("sse") as of_one, hub.subscription("sse") as of_other:
        await hub.watch_items(of_one, one.batch_id)
        await hub.watch_items(of_other, other.batch_id)
        bus.publish(progress(shared[0].id, 10))
        await heard(hub)
        await library.window.call_off(one.batch_id)
        seen = await ends(of_one, 300)
        assert {jobs[-1].state for jobs in seen.values()} == {State.CANCELLED}
        assert seen[shared[0].id][-1].progress is None
        versions = [job.version for job in seen[shared[0].id]]
        assert versions == sorted(set(versions))
        assert not any(job.state.final for job in taken(of_other))
        await other.complete(shared[0])
        assert len(await ends(of_other, 1)) <= 2
    assert len(hub._board) <= 2


async def test_a_client_that_does_not_read_costs_a_page_and_gets_everything_later(
    hub: Hub, library: Library, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(itemfeeds, "PAGE", 30)
    monkeypatch.setattr(itemfeeds, "FULL", 60)
    worker = await Worker.of(library, 240)
    with hub.subscription("sse") as slow, hub.subscription("sse") as quick:
        await hub.watch_items(slow, worker.batch_id)
        await hub.watch_items(quick, worker.batch_id)
        reading = asyncio.create_task(ends(quick, 240))
        for number in range(240):
            for job in await worker.release(1):
                await worker.begin(job)
                bus.publish(progress(job.id, 10))
                await worker.fail(job)
                bus.publish(JobTouched(job_id=job.id))
            if number % 20 == 0:
                assert len(slow) <= itemfeeds.FULL + itemfeeds.PAGE
        assert len(await reading) == 240
        assert len(slow) <= itemfeeds.FULL + itemfeeds.PAGE
        assert len(hub._feeds._feeds[worker.batch_id][slow].told) <= 240
        seen = await ends(slow, 240)
        assert len(seen) == 240
        await until(lambda: not hub._feeds._in_flight)


async def test_what_is_left_when_a_batch_ends_is_read_to_the_end(hub: Hub, library: Library) -> None:
    worker = await Worker.of(library, 600)
    with hub.subscription("sse") as subscription:
        feed = await hub.watch_items(subscription, worker.batch_id)
        await library.window.call_off(worker.batch_id)
        seen = {letter.event.job_id async for letter in hub.rest(feed)}
        assert len(seen) == 600
        assert not hub._feeds._feeds


async def test_a_client_that_comes_back_hears_what_changed_meanwhile(hub: Hub, library: Library) -> None:
    worker = await Worker.of(library, 3)
    first, second, _ = await worker.release()
    await worker.complete(first)
    with hub.subscription("sse") as subscription:
        feed = await hub.watch_items(subscription, worker.batch_id)
        seen = feed.mark.told
    await worker.complete(second)
    with hub.subscription("sse") as subscription:
        await hub.watch_items(subscription, worker.batch_id, since=seen)
        assert list(await ends(subscription, 1)) == [second.id]


async def test_a_deleted_item_is_told_of_and_a_deleted_batch_forgotten(hub: Hub, library: Library) -> None:
    worker = await Worker.of(library, 2)
    first, _ = await worker.release()
    with hub.subscription("sse") as subscription:
        await hub.watch_items(subscription, worker.batch_id)
        taken(subscription)
        hub.deleted(first.id)
        await heard(hub)
        letter = subscription.take()
        assert letter is not None and "deleted" in letter.event.sse.decode()
        hub.deleted(worker.batch_id)
        await heard(hub)
        assert not hub._feeds._feeds and not hub._feeds._in_flight


async def test_what_is_no_batch_has_no_items(hub: Hub, library: Library) -> None:
    await library.jobs.submit(new_job())
    with hub.subscription("sse") as subscription:
        await hub.watch_items(subscription, "video-one")
        await hub._feeds.round()
        assert len(subscription) == 0
        hub.unwatch(subscription, "video-one")
        assert not hub._feeds._feeds
