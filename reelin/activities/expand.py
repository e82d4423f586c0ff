"""Make items of what a batch consists of: of a submitted list, or of a playlist that is looked at once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from temporalio import activity

from reelin.activities.failures import reporting_failures
from reelin.activities.listed import Items
from reelin.activities.media import MediaFolder
from reelin.activities.presence import Presence
from reelin.activities.reporter import Reporter
from reelin.activities.scratch import Scratch
from reelin.activities.site import SiteDesk
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.urls import IPNetwork
from reelin.contracts.work import EXPAND, Attempt, Expansion, JobRequest
from reelin.engine.seam import Engine, ExpandTask, Listing
from reelin.errors import MediaFailure
from reelin.library import PAGE, BatchRecord, Library, NewJob
from reelin.progress import ProgressBus

#: A playlist in a playlist in a playlist is not taken apart.
MAX_DEPTH = 2


class ExpandActivity:
    """`ring` tells a batch that it has more items; `allowed` are the ranges of REELIN_EGRESS_ALLOW."""

    def __init__(
        self,
        *,
        engine: Engine,
        library: Library,
        bus: ProgressBus,
        scratch: Scratch,
        desk: SiteDesk,
        ring: Callable[[str], None],
        presence: Presence,
        media: MediaFolder,
        allowed: tuple[IPNetwork, ...] = (),
    ) -> None:
        self._desk = desk
        self._ring = ring
        self._presence = presence
        self._media = media
        self._engine = engine
        self._library = library
        self._bus = bus
        self._scratch = scratch
        self._allowed = allowed

    @activity.defn(name=EXPAND)
    async def expand(self, attempt: Attempt) -> Expansion:
        job = attempt.job
        if not await self._begin(attempt):
            return Expansion(state=State.CANCELLED)
        reporter = Reporter(attempt, self._bus)
        reporter.touched()
        async with reporter.pulsing():
            with reporting_failures(job):
                batch = await (self._list(job) if job.kind is Kind.BULK else self._playlist(attempt, reporter))
        reporter.touched()
        row = await self._library.jobs.find(job.job_id)
        if row is None or batch.listing:
            return Expansion(state=State.CANCELLED)
        return Expansion(total=batch.total or 0, truncated=batch.truncated, title=row.title)

    async def _begin(self, attempt: Attempt) -> bool:
        """Whether there is something to do. A cancel is the batch workflow's to carry out, item by item."""
        job = await self._library.jobs.begin(attempt.job.job_id, attempt.job.run, attempt.number)
        return job is not None and job.run == attempt.job.run and not job.state.final and not job.cancel_requested

    async def _list(self, job: JobRequest) -> BatchRecord:
        return await self._library.batches.expand_list(
            job.job_id, job.run, before_page=self._look_for, stored=lambda: self._ring(job.job_id)
        )

    async def _look_for(self, page: Sequence[NewJob]) -> None:
        """What somebody deleted by hand is not skipped, but fetched again."""
        await self._presence.note_jobs(self._library, page)

    async def _playlist(self, attempt: Attempt, reporter: Reporter) -> BatchRecord:
        job = attempt.job
        _refuse_too_deep(job)
        batch = await self._library.batches.open(job.job_id, job.run)
        if batch.listing:
            async with self._desk.visiting(attempt, in_line=False):
                with reporting_failures(job):
                    async with self._media.in_use():
                        listing = await self._look(job, reporter)
            if listing.fresh:
                batch = await self._library.batches.expand_anew(job.job_id, job.run)
            if not await self._store(job, listing, batch.cursor):
                return batch
            batch = await self._library.batches.expanded(
                job.job_id, job.run, total=listing.total, truncated=listing.truncated, title=listing.title
            )
        await self._scratch.drop(job.job_id)
        return batch

    async def _look(self, job: JobRequest, reporter: Reporter) -> Listing:
        task = ExpandTask(
            job_id=job.job_id,
            run=job.run,
            url=job.url,
            scratch_dir=str(await self._scratch.folder(job.job_id)),
            options=job.options,
        )
        return await self._engine.expand(task, reporter)

    async def _store(self, job: JobRequest, listing: Listing, cursor: int) -> bool:
        """Page by page, each in a transaction of its own: whoever goes on after a crash begins at the cursor.

        Each may run as soon as it is stored. False if the batch was ended or started anew meanwhile.
        """
        items = Items(job, self._allowed, single=listing.single)
        path = await self._scratch.folder(job.job_id) / Path(listing.path).name
        async with self._media.in_use(), self._opened(path) as file:
            await self._media.threads.run(_skip, file, cursor)
            while page := await self._media.threads.run(_page, file, items):
                await self._look_for(page)
                start, cursor = cursor, cursor + len(page)
                if await self._library.batches.store_page(job.job_id, job.run, page, start=start) != cursor:
                    return False
                self._ring(job.job_id)
        return True

    @asynccontextmanager
    async def _opened(self, path: Path) -> AsyncIterator[BinaryIO]:
        file = await self._media.threads.run(_open, path)
        try:
            yield file
        finally:
            await self._media.threads.run(file.close)


def _refuse_too_deep(job: JobRequest) -> None:
    if job.depth >= MAX_DEPTH:
        raise MediaFailure(
            FailureKind.UNSUPPORTED_URL,
            "This URL is a playlist inside a playlist of a playlist; Reelin takes playlists apart two deep. "
            "Submit it by itself with kind=playlist.",
        )


def _open(path: Path) -> BinaryIO:
    """Never through a link: the folder belongs to a process that handles hostile data."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _skip(file: BinaryIO, lines: int) -> None:
    for _ in islice(file, lines):
        pass


def _page(file: BinaryIO, items: Items) -> list[NewJob]:
    return [items.job_of(line) for line in islice(file, PAGE)]
