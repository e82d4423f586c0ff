"""How much there is to do, how fast it is done, and what is left of the disk."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter
from pydantic import Field

from reelin.api.control import Queue
from reelin.api.examples import STATS, answered
from reelin.api.parts import Parts
from reelin.api.problems import documented
from reelin.contracts.jobs import State, Throughput
from reelin.contracts.model import Message
from reelin.errors import Unavailable

LONGEST_WAIT_SECONDS = 3.0
_log = structlog.get_logger(__name__)


class Disk(Message):
    """Of the media folder."""

    total_bytes: int
    free_bytes: int


class Files(Message):
    """Open files of the API's process: every client takes one."""

    limit: int
    for_work: int = Field(description="Kept for downloads, database and Temporal")
    streams: int = Field(description="Event streams and WebSockets at present")
    streams_at_most: int = Field(description="Those beyond are answered with 503; files that are sent count twice")


class Stats(Message):
    jobs: dict[State, int] = Field(description="All jobs by state, items of batches included")
    last_minute: Throughput
    last_hour: Throughput
    queues: dict[str, Queue] | None = Field(description="By task queue; null while Temporal does not answer")
    files: Files
    disk: Disk | None = Field(description="null while the media folder's disk does not answer")


class StatsRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._jobs = parts.library.jobs

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["service"])
        router.add_api_route(
            "/stats",
            self.look,
            summary="Work, throughput, queues, disk",
            responses={200: answered(STATS, "As it is now"), **documented(401, 503)},
        )
        return router

    async def look(self) -> Stats:
        """Answers without Temporal too."""
        queues, disk = await asyncio.gather(self._queues(), self._disk())
        return Stats(
            jobs=await self._jobs.tally(),
            last_minute=await self._jobs.throughput(60),
            last_hour=await self._jobs.throughput(3600),
            queues=queues,
            files=self._files(),
            disk=disk,
        )

    async def _queues(self) -> dict[str, Queue] | None:
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return await self._parts.control.queues()
        except (Unavailable, TimeoutError) as error:
            _log.info("Temporal says nothing about its queues", reason=str(error))
            return None

    def _files(self) -> Files:
        guests = self._parts.guests
        return Files(
            limit=guests.limit.limit,
            for_work=guests.limit.for_work,
            streams=guests.watching,
            streams_at_most=guests.limit.guests,
        )

    async def _disk(self) -> Disk | None:
        media = self._parts.media
        try:
            usage = await media.threads.run(_usage, media.media_dir)
        except OSError:
            return None
        return Disk(total_bytes=usage.total, free_bytes=usage.free)


def _usage(folder: Path) -> Any:
    """Of the disk on which the folder stands, or will stand."""
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists()))
