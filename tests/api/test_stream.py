"""Server-Sent Events, over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from reelin.contracts.jobs import State
from tests.api.batches import Worker
from tests.api.service import Api, progress, until
from tests.library.samples import new_job
from tests.waiting import PATIENCE, promised


class Stream:
    """A client's end of a stream."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], response: httpx.Response) -> None:
        self._events = events
        self.response = response

    async def next(self) -> tuple[str, dict[str, Any], int]:
        event = await asyncio.wait_for(anext(self._events), PATIENCE)
        return event.event, json.loads(event.data), int(event.id)

    async def ended(self) -> bool:
        return await asyncio.wait_for(anext(self._events, None), PATIENCE) is None


@contextlib.asynccontextmanager
async def stream(api: Api, path: str, last_event_id: int | str | None = None) -> AsyncIterator[Stream]:
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    async with aconnect_sse(api.client, "GET", path, headers=headers) as source:
        yield Stream(source.aiter_sse(), source.response)


async def test_a_job_is_told_from_its_present_state_to_its_end(served: Api) -> None:
    job = await served.submit()
    async with stream(served, job.links.events) as events:
        kind, data, version = await events.next()
        assert (kind, data["id"], data["state"], version) == ("job", job.id, "queued", job.version)
        await served.begin(job.id)
        kind, data, _ = await events.next()
        assert (kind, data["state"]) == ("job", "running")
        sent = served.report(job.id, 41.5)
        kind, data, version = await events.next()
        assert (kind, data["phase"], data["progress"]["percent"], version) == (
            "job",
            "downloading",
            41.5,
            sent.version,
        )
        assert data["result"] is None
        await served.finish(job.id)
        kind, data, last = await events.next()
        assert (kind, data["state"], data["result"]["skipped"]) == ("job", "completed", False)
        assert await events.next() == ("end", {"id": job.id, "state": "completed"}, last)
        assert await events.ended()


async def test_a_stream_may_not_be_stored_or_buffered(served: Api) -> None:
    job = await served.submit()
    async with stream(served, job.links.events) as events:
        headers = events.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


async def test_a_finished_job_ends_its_stream_at_once(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id)
    await served.fail(job.id)
    async with stream(served, job.links.events) as events:
        kind, data, version = await events.next()
        assert (kind, data["failure"]["kind"]) == ("job", "network")
        assert (await events.next())[:2] == ("end", {"id": job.id, "state": "failed"})
    async with stream(served, job.links.events, version) as events:
        assert (await events.next())[0] == "end"


async def test_a_reconnecting_client_is_not_told_again_what_it_knows(served: Api) -> None:
    job = await served.submit()
    async with stream(served, job.links.events) as events:
        _, _, version = await events.next()
    async with stream(served, job.links.events, version) as events:
        await served.begin(job.id)
        kind, data, newer = await events.next()
        assert (kind, data["state"]) == ("job", "running") and newer > version


@pytest.mark.parametrize("last_event_id", ["", "nonsense", "-5", "9" * 40, "٣"])
async def test_an_id_that_is_not_ours_means_everything(served: Api, last_event_id: str) -> None:
    job = await served.submit()
    headers = {"Last-Event-ID": last_event_id.encode()}
    async with aconnect_sse(served.client, "GET", job.links.events, headers=headers) as source:  # type: ignore[arg-type]
        assert (await asyncio.wait_for(anext(source.aiter_sse()), PATIENCE)).event == "job"


async def test_a_final_state_reaches_a_stream_although_the_bus_lost_it(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id, quietly=True)
    async with stream(served, job.links.events) as events:
        await events.next()
        await served.finish(job.id, quietly=True)
        assert (await events.next())[1]["state"] == "completed"
        assert (await events.next())[0] == "end"


async def test_a_deleted_job_ends_its_stream(served: Api) -> None:
    job = await served.submit()
    async with stream(served, job.links.events) as one, stream(served, "/api/events") as everything:
        await one.next()
        assert [(await everything.next())[0] for _ in range(2)] == ["job", "ready"]
        await served.client.delete(job.links.self)
        seen = [await one.next()]
        while seen[-1][0] == "job":  # the cancel that goes before
            seen.append(await one.next())
        if seen[-1][0] == "deleted":
            assert seen[-1][1] == {"id": job.id}
            assert (await one.next())[:2] == ("end", {"id": job.id, "state": "deleted"})
        kinds = []
        while not kinds or kinds[-1] != "deleted":
            kind, data, _ = await everything.next()
            kinds.append(kind)
        assert data == {"id": job.id}


@pytest.mark.usefixtures("no_patrol")
async def test_all_jobs_are_told_unfinished_ones_first_then_ready_then_changes(served: Api) -> None:
    first = await served.submit(url="https://example.org/first")
    done = await served.submit(url="https://example.org/done")
    await served.begin(done.id)
    await served.finish(done.id)
    async with stream(served, "/api/events") as events:
        kind, data, _ = await events.next()
        assert (kind, data["id"]) == ("job", first.id)
        kind, data, version = await events.next()
        assert (kind, data) == ("ready", {}) and version > done.version
        second = await served.submit(url="https://example.org/second")
        kind, data, _ = await events.next()
        assert (kind, data["id"]) == ("job", second.id)
        await served.begin(first.id)
        await served.finish(first.id)
        states = []
        while "completed" not in states:
            _, data, _ = await events.next()
            states.append(data["state"])


async def test_a_client_that_was_away_hears_of_what_ended_meanwhile(served: Api) -> None:
    quiet = await served.submit(url="https://example.org/quiet")
    ends = await served.submit(url="https://example.org/ends")
    await served.begin(ends.id)
    async with stream(served, "/api/events") as events:
        while (seen := await events.next())[0] != "ready":
            pass
    await served.finish(ends.id)
    async with stream(served, "/api/events", seen[2]) as events:
        told = []
        while (event := await events.next())[0] != "ready":
            told.append((event[1]["id"], event[1]["state"]))
    assert told == [(ends.id, "completed")]
    assert quiet.id not in {job_id for job_id, _ in told}


async def test_a_client_that_goes_leaves_nothing_behind(served: Api) -> None:
    job = await served.submit()
    async with stream(served, job.links.events) as one, stream(served, "/api/events") as everything:
        await one.next()
        await everything.next()
        assert served.hub.clients()["sse"] == 2
    await until(lambda: served.hub.clients()["sse"] == 0)
    assert not served.hub._audience.attentive


async def test_streams_end_when_the_server_stops(served: Api) -> None:
    job = await served.submit()
    async with stream(served, job.links.events) as one, stream(served, "/api/events") as everything:
        await one.next()
        await everything.next()
        with promised(1):
            await served.hub.close()
            assert await one.ended()
            while not await everything.ended():
                pass


async def test_a_client_that_does_not_read_holds_nobody_up(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(f"GET {job.links.events} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await writer.drain()
    await until(lambda: served.hub.clients()["sse"] == 1)
    async with stream(served, job.links.events) as events:
        await events.next()
        for percent in range(100):
            for _ in range(100):  # far more than the socket's buffers hold
                served.report(job.id, percent)
            while (await events.next())[1]["progress"]["percent"] != percent:
                pass
    assert all(len(each) <= 1 for each in served.hub._audience)
    writer.close()
    await writer.wait_closed()
    assert reader is not None


async def test_a_batch_streams_its_items_up_to_their_ends_and_its_own(served: Api) -> None:
    worker = await Worker.of(served.library, 3)
    flying = await worker.release(2)
    async with stream(served, f"/api/jobs/{worker.batch_id}/events?items=true") as events:
        _, batch, _ = await events.next()
        assert (batch["id"], batch["counts"]["queued"]) == (worker.batch_id, 3)
        assert {(await events.next())[1]["id"] for _ in flying} == {job.id for job in flying}
        for job in (*flying, *await worker.release()):
            await worker.begin(job)
            served.bus.publish(progress(job.id, 50))
            await worker.complete(job)
        assert await worker.finish() is State.COMPLETED
        served.hub.touch(worker.batch_id)
        ended, kind = {}, "job"
        while kind == "job":
            kind, data, _ = await events.next()
            if kind == "job" and data["state"] == "completed":
                ended[data["id"]] = data
        assert kind == "end" and data == {"id": worker.batch_id, "state": "completed"}
        assert await events.ended()
    assert ended[worker.batch_id]["counts"]["completed"] == 3
    assert sorted(data["position"] for job_id, data in ended.items() if job_id != worker.batch_id) == [1, 2, 3]


async def test_a_client_that_lost_its_connection_hears_of_the_items_that_ended_meanwhile(served: Api) -> None:
    worker = await Worker.of(served.library, 400)
    path = f"/api/jobs/{worker.batch_id}/events?items=true"
    async with stream(served, path) as events:
        _, _, version = await events.next()
    await served.library.window.call_off(worker.batch_id)
    await served.library.window.finish(worker.batch_id, 1, cancelled=True)
    async with stream(served, path, version) as events:
        told, kind = [], "job"
        while kind == "job":
            kind, data, _ = await events.next()
            told.append(data["id"])
    assert len(set(told)) == 401


@pytest.mark.usefixtures("no_patrol")
async def test_everything_begins_with_thousands_of_jobs_a_page_at_a_time(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = served.library
    await asyncio.gather(*(library.jobs.submit(new_job(f"n{number}")) for number in range(1000)))
    pages: list[int] = []
    many = library.jobs.many

    async def counted(job_ids: Any) -> Any:
        pages.append(len(job_ids))
        return await many(job_ids)

    monkeypatch.setattr(library.jobs, "many", counted)
    for _ in range(2):
        with served.hub.subscription("sse") as subscription:
            await served.hub.watch_all(subscription)
            versions = [letter.position for letter in iter(subscription.take, None)]
        assert len(versions) == 1000 and versions == sorted(versions)
    assert pages[:4] == [250] * 4 and not any(pages[4:]), "what is known is not read again for the next client"
