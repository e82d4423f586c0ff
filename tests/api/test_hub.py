"""The hub: everyone hears of everything once, nobody waits for anyone, and a final state always arrives."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from reelin.api import board as board_module
from reelin.api import hub as hub_module
from reelin.api import reader
from reelin.api.events import JobEvent
from reelin.api.hub import Hub
from reelin.api.mailbox import Letter
from reelin.api.view import LinkMaker
from reelin.contracts.jobs import Job, Phase, State
from reelin.contracts.progress import JobDeleted, JobTouched
from reelin.errors import NotFound
from reelin.library import Library
from reelin.progress import MemoryBus
from tests.api.service import Api, heard, progress, running_job, until
from tests.library.samples import failure, new_job, publication
from tests.waiting import PATIENCE, promised


def _job(letter: Letter) -> Job:
    return Job.model_validate_json(letter.event.text)


async def _next(subscription: Any) -> Letter:
    letter = await asyncio.wait_for(anext(subscription), PATIENCE)
    assert isinstance(letter, Letter)
    return letter


async def test_progress_reaches_a_watcher_at_once(hub: Hub, library: Library, bus: MemoryBus) -> None:
    row = await running_job(library, "one")
    with hub.subscription("sse") as subscription:
        present = await hub.watch(subscription, row.id)
        assert (present.version, len(subscription)) == (row.version, 0)
        bus.publish(progress(row.id, 41.5))
        job = _job(await _next(subscription))
    assert (job.state, job.phase, job.progress and job.progress.percent) == (State.RUNNING, Phase.DOWNLOADING, 41.5)


async def test_a_thousand_clients_share_one_serialisation(
    hub: Hub, library: Library, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await running_job(library, "one")
    built = 0

    class Counting(JobEvent):
        @classmethod
        def of(cls, job: Job) -> JobEvent:
            nonlocal built
            built += 1
            return JobEvent.of(job)

    monkeypatch.setattr(board_module, "JobEvent", Counting)
    with contextlib.ExitStack() as stack:
        subscriptions = [stack.enter_context(hub.subscription("sse")) for _ in range(1000)]
        for subscription in subscriptions:
            await hub.watch(subscription, row.id)
        built = 0
        begun = time.thread_time()
        for percent in range(20):
            bus.publish(progress(row.id, percent, version=row.version + percent + 1))
            await heard(hub)
        took = time.thread_time() - begun
        assert built == 20
        letters = [subscription.take() for subscription in subscriptions]
        assert len({id(letter.event.sse) for letter in letters if letter is not None}) == 1
        assert all(letter is not None and letter.event.version == row.version + 20 for letter in letters)
    assert took / 20 / 1000 < 50e-6, f"{took / 20 / 1000 * 1e6:.1f} µs for each client"
    assert len(hub._audience) == 0


async def test_the_progress_of_a_job_that_nobody_watches_is_remembered_and_no_more(
    hub: Hub, library: Library, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await running_job(library, "one")

    async def unexpected(*_: object) -> None:
        raise AssertionError("nobody watches")

    monkeypatch.setattr(library.jobs, "many", unexpected)
    bus.publish(progress(row.id, 30))
    await asyncio.sleep(0.05)
    shown = hub.view(row).progress
    assert shown is not None and shown.percent == 30


async def test_progress_of_ended_jobs_does_not_pile_up(hub: Hub, library: Library, bus: MemoryBus) -> None:
    for name in ("one", "two", "three"):
        row = await running_job(library, name)
        bus.publish(progress(row.id, 99))
        await library.videos.publish(publication(name, paths=(f"{name}.mp4",)))
        bus.publish(JobTouched(job_id=row.id))
    await until(lambda: not any(hub._board.has_progress(f"video-{name}") for name in ("one", "two", "three")))


@pytest.mark.usefixtures("no_patrol")
async def test_many_touches_are_one_query(
    hub: Hub, library: Library, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    many = library.jobs.many

    async def counted(job_ids: Any) -> Any:
        asked.append(set(job_ids))
        return await many(job_ids)

    monkeypatch.setattr(library.jobs, "many", counted)
    with hub.subscription("sse") as subscription:
        await hub.watch_all(subscription)
        names = [f"n{number}" for number in range(50)]
        await asyncio.gather(*(library.jobs.submit(new_job(name)) for name in names))
        for name in names:
            bus.publish(JobTouched(job_id=f"video-{name}"))
        seen = {(await _next(subscription)).event.job_id for _ in names}
    assert seen == {f"video-{name}" for name in names}
    assert len(asked) <= 2


async def test_a_final_state_arrives_although_the_bus_lost_it(hub: Hub, library: Library) -> None:
    row = await running_job(library, "one")
    with hub.subscription("sse") as one, hub.subscription("sse") as everything:
        await hub.watch(one, row.id)
        await hub.watch_all(everything)
        everything.take()
        await library.jobs.fail(row.id, 1, failure=failure())
        for subscription in (one, everything):
            assert (await _next(subscription)).event.final
        await asyncio.sleep(hub_module.PATROL_SECONDS * 2.2)
        assert len(one) == len(everything) == 0, "the patrol told it twice"


async def test_a_job_that_was_submitted_elsewhere_appears(hub: Hub, library: Library) -> None:
    with hub.subscription("sse") as subscription:
        await hub.watch_all(subscription)
        await library.jobs.submit(new_job())
        assert (await _next(subscription)).event.job_id == "video-one"


async def test_versions_of_a_job_only_grow(hub: Hub, library: Library, bus: MemoryBus) -> None:
    row = await running_job(library, "one")
    with hub.subscription("sse") as subscription:
        versions = [(await hub.watch(subscription, row.id)).version]
        for version in (row.version + 5_000_000, row.version + 3, row.version + 5_000_001):
            bus.publish(progress(row.id, 1, version=version))
            await heard(hub)
            if (letter := subscription.take()) is not None:
                versions.append(letter.event.version)
        await library.jobs.fail(row.id, 1, failure=failure())
        bus.publish(JobTouched(job_id=row.id))
        versions.append((await _next(subscription)).event.version)
    assert versions == sorted(set(versions)) and len(versions) == 4


async def test_a_deleted_job_is_told_of_even_if_the_word_was_lost(
    hub: Hub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ROLL_CALL", 1)
    row = await running_job(library, "one")
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, row.id)
        await library.jobs.forget(row.id)
        assert "deleted" in (await _next(subscription)).event.sse.decode()


async def test_an_unknown_job_cannot_be_watched(hub: Hub) -> None:
    with hub.subscription("sse") as subscription:
        with pytest.raises(NotFound):
            await hub.watch(subscription, "video-nothing")
        with pytest.raises(NotFound):
            await hub.wait_final("video-nothing", 1)
        assert not hub._audience.attentive


async def test_a_database_that_fails_for_a_while_delays_and_loses_nothing(
    hub: Hub, library: Library, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await running_job(library, "one")
    many, failures = library.jobs.many, 0

    async def failing(job_ids: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise OSError("disk gone")
        return await many(job_ids)

    monkeypatch.setattr(library.jobs, "many", failing)
    monkeypatch.setattr(reader, "RETRY_SECONDS", 0.01)
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, row.id)
        await library.jobs.fail(row.id, 1, failure=failure())
        bus.publish(JobTouched(job_id=row.id))
        assert (await _next(subscription)).event.final
    assert failures >= 2


async def test_closing_ends_every_subscription_and_new_ones_end_at_once(hub: Hub, library: Library) -> None:
    row = await running_job(library, "one")
    with hub.subscription("sse") as subscription:
        await hub.watch(subscription, row.id)
        waiting = asyncio.create_task(anext(subscription, None))
        await asyncio.sleep(0)
        await hub.close()
        await hub.close()
        assert await asyncio.wait_for(waiting, PATIENCE) is None
    with hub.subscription("sse") as late:
        assert late.closed


async def test_a_hub_that_closes_answers_those_who_wait(api: Api) -> None:
    job = await api.submit()
    waiting = asyncio.create_task(api.client.get(f"/api/jobs/{job.id}", params={"wait": 60}))
    await until(lambda: api.hub.clients()["wait"] == 1)
    with promised(2):
        await api.hub.close()
        answer = await waiting
    assert answer.json()["state"] == "queued"


async def test_what_is_idle_is_looked_up_and_dropped(
    library: Library, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ROLL_CALL", 1)
    monkeypatch.setattr(hub_module, "PATROL_SECONDS", 0.02)
    monkeypatch.setattr(hub_module, "IDLE_SECONDS", 0.05)
    hub = Hub(library, bus, LinkMaker())
    await hub.start()
    runs, ended = await running_job(library, "runs"), await running_job(library, "ended")
    bus.publish(progress(runs.id, 10))
    bus.publish(progress(ended.id, 10))
    await library.jobs.fail(ended.id, 1, failure=failure())  # and the bus lost the word of it
    await until(lambda: not hub._board.has_progress(ended.id))
    await asyncio.sleep(0.2)
    assert hub._board.has_progress(runs.id)
    await until(lambda: len(hub._board) == 1)
    await hub.close()


async def test_publishing_costs_the_worker_the_same_whoever_watches(hub: Hub, library: Library, bus: MemoryBus) -> None:
    row = await running_job(library, "one")

    def best() -> float:
        """Seconds for each of a hundred reports in a row; the hub has no chance to run meanwhile."""
        times = []
        for attempt in range(20):
            begun = time.perf_counter()
            for number in range(100):
                bus.publish(progress(row.id, 1, version=row.version + attempt * 100 + number + 1))
            times.append((time.perf_counter() - begun) / 100)
        return min(times)

    alone = best()
    with contextlib.ExitStack() as stack:
        for _ in range(2000):
            subscription = stack.enter_context(hub.subscription("sse"))
            hub._audience.watch_all(subscription)
            hub._audience.watch(subscription, row.id)
        watched = best()
        assert len(hub._heard) == 1, "one slot for the job, whatever was said of it"
        assert len(subscription) == 0, "nobody was told in the publisher's call"
        await heard(hub)
        await until(lambda: len(subscription) == 1)
    assert watched < 2 * alone, f"{alone * 1e6:.1f} µs alone, {watched * 1e6:.1f} µs with 2,000 who watch"


async def test_an_end_and_a_deletion_arrive_however_much_is_said_before_the_hub_listens(
    hub: Hub, library: Library, bus: MemoryBus
) -> None:
    ends, goes = await running_job(library, "ends"), await running_job(library, "goes")
    with hub.subscription("sse") as subscription:
        await hub.watch_all(subscription)
        while subscription.take() is not None:
            pass
        await library.jobs.fail(ends.id, 1, failure=failure())
        await library.jobs.forget(goes.id)
        for row in (ends, goes):
            for percent in range(50):
                bus.publish(progress(row.id, percent, version=row.version + percent + 1))
        bus.publish(JobTouched(job_id=ends.id))
        bus.publish(JobDeleted(job_id=goes.id))
        last: dict[str, Letter] = {}
        while len(last) < 2 or not all(letter.event.final for letter in last.values()):
            letter = await _next(subscription)
            last[letter.event.job_id] = letter
    assert _job(last[ends.id]).state is State.FAILED
    assert "deleted" in last[goes.id].event.sse.decode()
