"""A worker whose clock is wrong: whoever watches hears of every end, in versions that only grow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reelin.library import Library, rows
from tests.api.service import Api, api_on_a_socket, progress
from tests.api.test_stream import Stream, stream
from tests.library.conftest import url  # noqa: F401  (a fixture)
from tests.library.samples import publication

APART = [timedelta(seconds=seconds) for seconds in (-10, 10, -3600, 3600)]
NAMES = ("one", "two", "three")


class Worker:
    """One in another process, on another machine: it shares the database and nothing else, least of all the time."""

    def __init__(self, library: Library, apart: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
        self.library = library
        self.apart = apart
        self._wrong = False
        monkeypatch.setattr(rows, "now", self._now)

    def _now(self) -> datetime:
        return datetime.now(UTC) + (self.apart if self._wrong else timedelta(0))

    @contextlib.contextmanager
    def _by_its_clock(self) -> Iterator[None]:
        self._wrong = True
        try:
            yield
        finally:
            self._wrong = False

    async def begin(self, job_id: str) -> None:
        with self._by_its_clock():
            await self.library.jobs.mark_dispatched([(job_id, 1)])
            assert await self.library.jobs.begin(job_id, 1, 1) is not None

    async def finish(self, name: str) -> None:
        with self._by_its_clock():
            published = publication(name, paths=(f"{name}.mp4",))
            assert await self.library.videos.publish(published) is not None

    def report(self, api: Api, job_id: str, percent: float) -> None:
        """Over a bus that both are connected to."""
        moment = rows.microseconds(datetime.now(UTC) + self.apart)
        api.bus.publish(progress(job_id, percent, version=moment))


@pytest.fixture(params=APART, ids=str)
async def worker(
    request: pytest.FixtureRequest,
    url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Worker]:
    library = Library(url)
    await library.open()
    yield Worker(library, request.param, monkeypatch)
    await library.close()


class Seen:
    """What a client keeps: the newest version of each job, its state, and the last id."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self.last_id = 0

    async def listen(self, events: Stream, *, until: set[str]) -> None:
        """Until all jobs are in one of these states."""
        while len(self.states) < len(NAMES) or not set(self.states.values()) <= until:
            self.take(*await events.next())

    def take(self, kind: str, data: dict[str, Any], event_id: int) -> None:
        assert event_id >= self.last_id, "an older id than the client has seen"
        self.last_id = event_id
        if kind == "job":
            assert data["version"] >= self.versions.get(data["id"], 0), "an older version than the client has seen"
            if data["version"] > self.versions.get(data["id"], 0):  # else it is dropped: that is the rule
                self.versions[data["id"]], self.states[data["id"]] = data["version"], data["state"]


async def _submitted(api: Api) -> dict[str, str]:
    return {name: (await api.submit(url=f"https://example.org/{name}", kind="video")).id for name in NAMES}


async def test_every_end_is_told_whatever_the_workers_clock_says(
    tmp_path: Path,
    url: str,  # noqa: F811
    worker: Worker,
) -> None:
    async with api_on_a_socket(tmp_path, database_url=url) as api, stream(api, "/api/events") as events:
        assert (await events.next())[0] == "ready"
        seen = Seen()
        jobs = await _submitted(api)
        for job_id in jobs.values():
            await worker.begin(job_id)
        await seen.listen(events, until={"running"})
        for job_id in jobs.values():
            for percent in (10, 20, 30):
                worker.report(api, job_id, percent)
                await asyncio.sleep(0)
        await asyncio.gather(*(worker.finish(job_id.partition("-")[2]) for job_id in jobs.values()))
        await seen.listen(events, until={"completed"})


async def test_a_client_of_a_restarted_api_hears_nothing_older_and_of_every_end(
    tmp_path: Path,
    url: str,  # noqa: F811
    worker: Worker,
) -> None:
    seen = Seen()
    async with api_on_a_socket(tmp_path, database_url=url) as api, stream(api, "/api/events") as events:
        jobs = await _submitted(api)
        for job_id in jobs.values():
            await worker.begin(job_id)
        await seen.listen(events, until={"running"})
        before = dict(seen.versions)
        for percent in range(20):
            for job_id in jobs.values():
                worker.report(api, job_id, percent)
            seen.take(*await events.next())
        assert any(seen.versions[job_id] > before[job_id] for job_id in before)
    ends, goes_on, other = jobs
    await worker.finish(jobs[ends].partition("-")[2])
    async with (
        api_on_a_socket(tmp_path, database_url=url) as api,
        stream(api, "/api/events", seen.last_id) as events,
    ):
        while (event := await events.next())[0] != "ready":
            seen.take(*event)
        assert seen.states[jobs[ends]] == "completed"
        await worker.finish(jobs[goes_on].partition("-")[2])
        await worker.finish(jobs[other].partition("-")[2])
        await seen.listen(events, until={"completed"})
