"""The API with real parts, except for Temporal, which is a seam."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from reelin.api.app import create_app
from reelin.api.control import Queue
from reelin.api.hub import Hub
from reelin.api.parts import Parts
from reelin.api.view import LinkMaker
from reelin.contracts.jobs import Job, Phase, Progress
from reelin.contracts.progress import JobTouched, ProgressEvent
from reelin.contracts.sites import Configure
from reelin.contracts.work import TASK_QUEUES
from reelin.errors import Unavailable
from reelin.library import JobRecord, Library
from reelin.progress import MemoryBus
from reelin.settings import Settings
from tests.library.samples import failure, new_job, publication, publish
from tests.media import adopted
from tests.waiting import eventually


@dataclass
class RecordingControl:
    """A WorkflowControl that remembers what it was asked for. `away`: Temporal does not answer."""

    away: bool = False
    woken: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    signalled: list[tuple[str, str]] = field(default_factory=list)
    configured: list[tuple[str, Configure]] = field(default_factory=list)
    reread: list[str] = field(default_factory=list)
    polling: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TASK_QUEUES, 1))

    def submitted(self, job_ids: Sequence[str]) -> None:
        self.woken += job_ids

    async def cancel(self, job_id: str) -> None:
        if self.away:
            raise Unavailable("Temporal", "connection refused")
        self.cancelled.append(job_id)

    async def signal(self, job_id: str, name: str) -> None:
        if self.away:
            raise Unavailable("Temporal", "connection refused")
        self.signalled.append((job_id, name))

    async def configure_site(self, site: str, settings: Configure) -> None:
        if self.away:
            raise Unavailable("Temporal", "connection refused")
        self.configured.append((site, settings))

    async def reread_waiters(self, site: str) -> None:
        if self.away:
            raise Unavailable("Temporal", "connection refused")
        self.reread.append(site)

    async def check(self) -> str | None:
        return "Temporal does not answer: connection refused" if self.away else None

    async def pollers(self) -> dict[str, int]:
        return self.polling

    async def queues(self) -> dict[str, Queue]:
        if self.away:
            raise Unavailable("Temporal", "connection refused")
        return {name: Queue(backlog=0, oldest_seconds=0, workers=number) for name, number in self.polling.items()}


@dataclass
class Api:
    """An app and what stands behind it. `work` plays the worker."""

    app: FastAPI
    parts: Parts
    control: RecordingControl
    bus: MemoryBus
    client: httpx.AsyncClient
    url: str = ""

    @property
    def library(self) -> Library:
        return self.parts.library

    @property
    def hub(self) -> Hub:
        return self.parts.hub

    async def submit(self, **submission: object) -> Job:
        answer = await self.client.post("/api/jobs", json={"url": "https://example.org/one", **submission})
        assert answer.status_code in (200, 202), answer.text
        return Job.model_validate_json(answer.content)

    async def begin(self, job_id: str, *, quietly: bool = False) -> JobRecord:
        """A worker has the job. `quietly`: the bus loses the word of it."""
        await self.library.jobs.mark_dispatched([(job_id, 1)])
        record = await self.library.jobs.begin(job_id, 1, 1)
        assert record is not None
        self._touch(job_id, quietly)
        return record

    def report(self, job_id: str, percent: float, *, phase: Phase = Phase.DOWNLOADING) -> ProgressEvent:
        event = progress(job_id, percent, phase=phase)
        self.bus.publish(event)
        return event

    async def finish(self, job_id: str, *, quietly: bool = False) -> None:
        name = job_id.partition("-")[2]
        published = publication(name, paths=(f"{name}.mp4",))
        for file in published.files:  # else the library is told that somebody took it away
            (self.parts.settings.media_dir / file.path).write_bytes(bytes(file.size_bytes))
        assert await self.library.videos.publish(published) is not None
        self._touch(job_id, quietly)

    async def bring(self, job_id: str) -> None:
        """The job, also an item, runs and brings a file."""
        await publish(self.library, job_id)
        for file in await self.library.videos.files_of_job(job_id):
            (self.parts.settings.media_dir / file.path).write_bytes(bytes(file.size_bytes))

    async def fail(self, job_id: str) -> None:
        await self.library.jobs.fail(job_id, 1, failure=failure())
        self._touch(job_id, False)

    def _touch(self, job_id: str, quietly: bool) -> None:
        if not quietly:
            self.bus.publish(JobTouched(job_id=job_id))

    async def stored(self) -> int:
        return sum((await self.library.jobs.tally()).values())


def progress(
    job_id: str,
    percent: float = 50,
    *,
    phase: Phase = Phase.DOWNLOADING,
    version: int = 0,
    attempt: int = 1,
    sender: str = "worker",
) -> ProgressEvent:
    return ProgressEvent(
        sender=sender,
        job_id=job_id,
        version=version or time.time_ns() // 1000,
        attempt=attempt,
        phase=phase,
        title="A film",
        progress=Progress(percent=percent, downloaded_bytes=int(percent)),
    )


async def running_job(library: Library, name: str) -> JobRecord:
    await library.jobs.submit(new_job(name))
    await library.jobs.mark_dispatched([(f"video-{name}", 1)])
    record = await library.jobs.begin(f"video-{name}", 1, 1)
    assert record is not None
    return record


@contextlib.asynccontextmanager
async def api_in_memory(folder: Path, **settings: object) -> AsyncIterator[Api]:
    """The app without a socket."""
    async with _built(folder, **settings) as api:
        transport = httpx.ASGITransport(app=api.app)
        async with (
            api.app.router.lifespan_context(api.app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as api.client,
        ):
            yield api


@contextlib.asynccontextmanager
async def api_on_a_socket(folder: Path, **settings: object) -> AsyncIterator[Api]:
    """The app in a real server on a free port."""
    async with (
        _built(folder, **settings) as api,
        _served(api) as api.url,
        httpx.AsyncClient(base_url=api.url, timeout=20, trust_env=False) as api.client,
    ):
        yield api


@contextlib.asynccontextmanager
async def _built(folder: Path, **chosen: object) -> AsyncIterator[Api]:
    settings = Settings(_env_file=None, data_dir=folder, **chosen)  # type: ignore[arg-type, call-arg]
    library = Library(settings.database_url)
    await library.open()
    bus, control = MemoryBus(), RecordingControl()
    hub = Hub(library, bus, LinkMaker(temporal_ui="http://temporal"))
    media = await adopted(library, settings.media_dir)
    parts = Parts(
        settings=settings, library=library, hub=hub, control=control, media=media, temporal_ui="http://temporal"
    )
    try:
        yield Api(create_app(parts), parts, control, bus, httpx.AsyncClient())
    finally:
        await library.close()


@contextlib.asynccontextmanager
async def _served(api: Api) -> AsyncIterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        config = uvicorn.Config(api.app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await api.hub.close()
            server.should_exit = True
            await serving


class Server(uvicorn.Server):
    """Signals belong to the test runner."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


until = eventually


async def heard(hub: Hub) -> None:
    """Waits until the hub has told all that was published."""
    await until(lambda: not len(hub._heard))
