"""More clients than the process has files for: each gets an answer, and downloads do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.service.service import Service

OPEN_FILES = 400
WATCHERS = 500
_UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@dataclass
class Crowd:
    """Clients that connect all at once and stay. `answers` says what became of each."""

    host: str
    answers: Counter[str] = field(default_factory=Counter)

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(WATCHERS):
                group.create_task(self._stay(websocket=number % 2 == 1))

    async def _stay(self, *, websocket: bool) -> None:
        upgrade = _UPGRADE if websocket else ""
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(*self.host.split(":"))
                path = "/api/ws" if websocket else "/api/events"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n{upgrade}\r\n".encode())
                answer = await (_by_websocket(reader) if websocket else _by_stream(reader))
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.answers[f"no answer ({type(error).__name__})"] += 1
            return
        self.answers[answer] += 1
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while answer in ("stream", "websocket") and await reader.read(65536):
                pass


async def _by_stream(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if " 200 " in head.splitlines()[0]:
        return "stream"
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines())}
    problem = json.loads(await reader.readexactly(int(fields["content-length"])))
    clean = problem["status"] == 503 and fields["content-type"] == "application/problem+json"
    clean = clean and int(fields["retry-after"]) > 0 and "downloads go on" in problem["detail"]
    return "503" if clean else f"{head} {problem}"


async def _by_websocket(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if " 101 " not in head.splitlines()[0]:
        return head
    opcode, length = await reader.readexactly(2)
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    payload = await reader.readexactly(length)
    if opcode != 0x88:
        return "websocket"
    code, reason = int.from_bytes(payload[:2]), payload[2:].decode()
    return "1013" if code == 1013 and "downloads go on" in reason else f"{code} {reason}"


async def _looks(url: str, seen: list[float]) -> None:
    """How long the service takes to say that it is alive, again and again, each time on a connection of its own."""
    while True:
        begun = time.monotonic()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200
        seen.append(time.monotonic() - begun)
        await asyncio.sleep(0.2)


async def _ended(url: str, job_ids: list[str]) -> list[dict[str, object]]:
    async with asyncio.timeout(120), httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        while True:
            jobs = [(await client.get(f"/api/jobs/{job_id}")).json() for job_id in job_ids]
            if all(State(job["state"]).final for job in jobs):
                return jobs
            await asyncio.sleep(0.3)


@pytest.fixture
def short_of_files(tmp_path: Path) -> Service:
    return Service(tmp_path, open_files=OPEN_FILES)


async def test_five_downloads_complete_while_five_hundred_want_to_watch_with_four_hundred_files(
    short_of_files: Service, origin: Origin
) -> None:
    service = short_of_files
    try:
        await asyncio.to_thread(service.start)
        jobs = [service.submit(origin.url_for(f"/file/3000000/{n}.mp4", rate=300_000)) for n in range(5)]
        url = service.note["url"]
        crowd, seen = Crowd(urlsplit(url).netloc), list[float]()
        watching, looking = asyncio.create_task(crowd.watch()), asyncio.create_task(_looks(url, seen))
        ended = await _ended(url, [job.id for job in jobs])
        stats = service.api.get("/api/stats").json()["files"]
        async with asyncio.timeout(60):
            while sum(crowd.answers.values()) < WATCHERS:
                await asyncio.sleep(0.1)
        assert not looking.done(), looking.exception()
        looking.cancel()
        watching.cancel()
        assert [(job["state"], job["attempt"]) for job in ended] == [("completed", 1)] * 5
        assert set(crowd.answers) == {"stream", "websocket", "503", "1013"}, crowd.answers
        assert crowd.answers["stream"] + crowd.answers["websocket"] >= stats["streams_at_most"]
        assert stats["limit"] == OPEN_FILES and stats["streams"] == stats["streams_at_most"] < OPEN_FILES - 100
        assert len(seen) >= 3
        assert psutil.Process(service.note["pid"]).num_fds() < OPEN_FILES - 20
        assert service.api.get("/readyz").json()["degraded"]
        assert "Too many open files" not in service.log.read_text()
    finally:
        await asyncio.to_thread(service.close)
