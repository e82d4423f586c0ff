"""The WebSocket, over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from tests.api.batches import Worker
from tests.api.service import Api, progress, until
from tests.library.samples import new_job
from tests.waiting import PATIENCE


class Socket:
    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: object) -> None:
        await self.connection.send(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE))
        return message

    async def ask(self, **message: object) -> dict[str, Any]:
        await self.send(**message)
        return await self.next()


@contextlib.asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Socket]:
    async with websockets.connect(api.url.replace("http", "ws") + "/api/ws") as connection:
        socket = Socket(connection)
        assert await socket.next() == {"type": "connected"}
        yield socket


async def test_a_job_is_told_from_its_present_state_to_its_end(served: Api) -> None:
    job = await served.submit()
    async with connected(served) as socket:
        response = await socket.ask(type="subscribe_job", job_id=job.id, items=True)
        assert (response["type"], response["job_id"], response["success"]) == ("subscription_response", job.id, True)
        message = await socket.next()
        assert (message["type"], message["job"]["state"]) == ("job_status", "queued")
        await served.begin(job.id)
        message = await socket.next()
        assert (message["type"], message["job"]["state"]) == ("job_update", "running")
        served.report(job.id, 41.5)
        message = await socket.next()
        assert (message["type"], message["job"]["progress"]["percent"]) == ("job_update", 41.5)
        await served.finish(job.id)
        message = await socket.next()
        assert (message["type"], message["job"]["state"]) == ("job_status", "completed")
        assert message["job"]["result"]["files"]
        assert (await socket.ask(type="ping"))["type"] == "pong"


async def test_everything_can_be_watched(served: Api) -> None:
    first = await served.submit(url="https://example.org/first")
    async with connected(served) as socket:
        assert (await socket.ask(type="subscribe_job", job_id="*"))["success"] is True
        message = await socket.next()
        assert (message["type"], message["job"]["id"]) == ("job_status", first.id)
        second = await served.submit(url="https://example.org/second")
        message = await socket.next()
        assert (message["type"], message["job"]["id"]) == ("job_update", second.id)
        await served.client.delete(second.links.self)
        while message["type"] != "job_deleted":
            message = await socket.next()
        assert message == {"type": "job_deleted", "job_id": second.id}


async def test_an_unknown_job_cannot_be_subscribed(served: Api) -> None:
    async with connected(served) as socket:
        response = await socket.ask(type="subscribe_job", job_id="video-nothing")
        assert (response["success"], "video-nothing" in response["message"]) == (False, True)
        assert (await socket.ask(type="ping")) == {"type": "pong"}


async def test_after_unsubscribing_nothing_comes_any_more(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id)
    async with connected(served) as socket:
        for job_id in (job.id, "*"):
            await socket.ask(type="subscribe_job", job_id=job_id)
            assert (await socket.next())["type"] == "job_status"
            assert (await socket.ask(type="unsubscribe_job", job_id=job_id))["type"] == "unsubscription_response"
            served.report(job.id, 50)
            assert (await socket.ask(type="ping"))["type"] == "pong"


async def test_active_jobs_are_the_unfinished_ones(served: Api) -> None:
    job = await served.submit(url="https://example.org/active")
    done = await served.submit(url="https://example.org/done")
    await served.begin(done.id)
    await served.finish(done.id)
    async with connected(served) as socket:
        message = await socket.ask(type="get_active_jobs")
        assert (message["type"], [each["id"] for each in message["jobs"]]) == ("active_jobs", [job.id])


async def test_many_active_jobs_come_in_several_messages(served: Api) -> None:
    jobs = served.library.jobs
    await asyncio.gather(*(jobs.submit(new_job(f"n{number}")) for number in range(600)))
    async with connected(served) as socket:
        messages = [await socket.ask(type="get_active_jobs")]
        while messages[-1]["more"]:
            messages.append(await socket.next())
    assert [len(message["jobs"]) for message in messages] == [250, 250, 100]


async def test_a_subscription_with_items_hears_of_each_and_ends_with_it(served: Api) -> None:
    worker = await Worker.of(served.library, 2)
    first, second = await worker.release()
    async with connected(served) as socket:
        answer = await socket.ask(type="subscribe_job", job_id=worker.batch_id, items=True)
        assert answer["success"]
        present = [await socket.next() for _ in range(3)]
        assert {message["type"] for message in present} == {"job_status"}
        assert {message["job"]["id"] for message in present} == {worker.batch_id, first.id, second.id}
        served.bus.publish(progress(first.id, 20))
        message = await socket.next()
        assert (message["type"], message["job"]["id"], message["job"]["position"]) == ("job_update", first.id, 1)
        await worker.complete(first)
        while message["job"]["id"] != first.id or message["type"] != "job_status":
            message = await socket.next()
        assert message["job"]["state"] == "completed"
        await socket.send(type="unsubscribe_job", job_id=worker.batch_id)
        while (await socket.next())["type"] != "unsubscription_response":
            pass
        served.bus.publish(progress(second.id, 20))
        assert await socket.ask(type="ping") == {"type": "pong"}
        assert not served.hub._feeds.in_flight


async def test_a_job_is_cancelled_as_over_rest(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id)
    async with connected(served) as socket:
        await socket.ask(type="subscribe_job", job_id=job.id)
        await socket.next()
        await socket.send(type="cancel_job", job_id=job.id)
        await until(lambda: served.control.cancelled == [job.id])
        assert (await socket.next())["type"] == "job_update"
        await served.library.jobs.cancel(job.id, 1)
        served.hub.touch(job.id)
        message = await socket.next()
        assert (message["type"], message["job"]["state"]) == ("job_status", "cancelled")
        message = await socket.ask(type="cancel_job", job_id=job.id)
        assert message == {"type": "error", "message": "The job is cancelled already."}
        assert (await socket.ask(type="cancel_job", job_id="video-nothing"))["type"] == "error"


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        "[]",
        "7",
        "null",
        "{}",
        '{"type": "dance"}',
        '{"type": 7}',
        '{"type": "subscribe_job"}',
        '{"type": "subscribe_job", "job_id": 7}',
        '{"type": "subscribe_job", "job_id": ""}',
        '{"type": "ping", "colour": "red"}',
        "[" * 10_000,
        '{"type": "' + "x" * 70_000 + '"}',
        b"\x00\x01binary",
        b'{"type": "ping"}',
        "",
    ],
    ids=lambda message: repr(message[:24]),
)
async def test_what_cannot_be_understood_is_an_error_and_the_socket_stays_open(
    served: Api, message: str | bytes
) -> None:
    async with connected(served) as socket:
        await socket.connection.send(message)
        answer = await socket.next()
        assert (answer["type"], len(answer["message"]) < 600) == ("error", True)
        assert await socket.ask(type="ping") == {"type": "pong"}


async def test_a_client_that_goes_leaves_nothing_behind(served: Api) -> None:
    job = await served.submit()
    async with connected(served) as socket:
        await socket.ask(type="subscribe_job", job_id=job.id)
        await socket.ask(type="subscribe_job", job_id="*")
        assert served.hub.clients()["websocket"] == 1
    await until(lambda: served.hub.clients()["websocket"] == 0)
    assert not served.hub._audience.attentive


async def test_a_client_that_breaks_off_leaves_nothing_behind(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id)
    async with connected(served) as socket:
        await socket.ask(type="subscribe_job", job_id=job.id)
        socket.connection.transport.abort()
        for percent in range(20):
            served.report(job.id, percent)
            await asyncio.sleep(0.01)
    await until(lambda: served.hub.clients()["websocket"] == 0)


async def test_a_server_that_stops_says_that_it_goes_away(served: Api) -> None:
    async with connected(served) as socket:
        await served.hub.close()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


async def test_a_client_that_does_not_read_holds_nobody_up(served: Api) -> None:
    job = await served.submit()
    await served.begin(job.id)
    async with connected(served) as lazy, connected(served) as socket:
        lazy.connection.transport.pause_reading()
        await lazy.send(type="subscribe_job", job_id=job.id)
        await socket.ask(type="subscribe_job", job_id=job.id)
        for percent in range(100):
            for _ in range(50):
                served.report(job.id, percent)
            while (message := await socket.next())["job"]["progress"] is None or (
                message["job"]["progress"]["percent"] != percent
            ):
                pass
        assert all(len(each) <= 1 for each in served.hub._audience)
        lazy.connection.transport.abort()
