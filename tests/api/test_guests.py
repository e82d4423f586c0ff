"""Whoever finds no place is told so, and whoever comes after another has gone finds one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest

from reelin.api import accepting
from reelin.api.accepting import Acceptor
from reelin.api.guests import TRY_AGAIN_LATER, GuestLimit, Guests
from reelin.filelimit import FOR_REQUESTS, FileLimit
from tests.api.service import until

Message = MutableMapping[str, Any]


class Held:
    """An app that answers streams for as long as it is held."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if "events" in scope["path"] or "files" in scope["path"]:
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def guests_of(places: int) -> Guests:
    return Guests(FileLimit(limit=places + FOR_REQUESTS + 10, for_work=10))


async def test_streams_and_files_beyond_the_limit_are_asked_to_come_back_and_other_requests_are_not() -> None:
    held, guests = Held(), guests_of(3)
    transport = httpx.ASGITransport(app=GuestLimit(held, guests=guests))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        stream = asyncio.create_task(client.get("/api/jobs/video-1/events"))
        file = asyncio.create_task(client.get("/api/videos/v/files/f"))
        await until(lambda: (guests.watching, guests.files) == (1, 1))
        for path in ("/api/events", "/api/videos/v/files/f", "/api/jobs/video-1?wait=10"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["status"]) == (503, 503)
            assert int(refused.headers["retry-after"]) > 0 and "3 places" in refused.json()["detail"]
        assert (await client.get("/api/jobs")).status_code == 200
        held.go.set()
        assert {(await each).status_code for each in (stream, file)} == {200}
        assert (await client.get("/api/events")).status_code == 200
    assert (guests.watching, guests.files) == (0, 0)


async def test_a_websocket_beyond_the_limit_is_closed_with_a_reason_that_a_browser_is_told() -> None:
    guests, said = guests_of(1), list[Message]()

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    with guests.staying(with_file=False):
        await GuestLimit(Held(), guests=guests)({"type": "websocket", "path": "/api/ws"}, receive, send)  # type: ignore[arg-type]
    assert [message["type"] for message in said] == ["websocket.accept", "websocket.close"]
    assert said[1]["code"] == TRY_AGAIN_LATER
    assert len(said[1]["reason"].encode()) <= 123, "more does not fit into a close frame"


@contextlib.asynccontextmanager
async def accepting_with(room: list[bool]) -> AsyncIterator[int]:
    """An acceptor whose connections say "served"; yields its port."""

    class Serving(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            self._transport.write(b"served")
            self._transport.close()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        running = asyncio.create_task(Acceptor(listener, Serving, lambda: room[0]).run())
        yield listener.getsockname()[1]
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with contextlib.closing(writer):
        return await asyncio.wait_for(reader.read(), 10)


async def test_connections_wait_for_room_and_are_served_when_there_is_some() -> None:
    room = [False]
    async with accepting_with(room) as port:
        waiting = [asyncio.create_task(_answer(port)) for _ in range(20)]
        await asyncio.sleep(0.1)
        room[0] = True
        assert await asyncio.gather(*waiting) == [b"served"] * 20


async def test_where_nobody_goes_whoever_comes_is_refused_instead_of_left_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepting, "PATIENCE_SECONDS", 0.1)
    room = [False]
    async with accepting_with(room) as port:
        answers = await asyncio.gather(*(_answer(port) for _ in range(30)))
        assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 503 Service Unavailable"}
        assert all(b"retry-after:" in answer.lower() and b'"status": 503' in answer for answer in answers)
        room[0] = True
        assert await _answer(port) == b"served"
