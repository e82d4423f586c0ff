"""Download one video, publish its files, and record the outcome."""

from __future__ import annotations

import asyncio
from pathlib import Path

from temporalio import activity

from reelin.activities import publish
from reelin.activities.attempt import begin
from reelin.activities.exclusive import Exclusive
from reelin.activities.failures import reporting_failures
from reelin.activities.reporter import Reporter
from reelin.activities.scratch import Scratch
from reelin.contracts.jobs import Phase, State
from reelin.contracts.media import Downloaded
from reelin.contracts.work import FETCH, Attempt, FetchResult, JobRequest
from reelin.engine.seam import DownloadTask, Engine, Report
from reelin.library import Library, Publication
from reelin.progress import ProgressBus


class FetchActivity:
    """`media_dir` is where finished files go; `scratch` holds what is not finished."""

    def __init__(
        self, *, engine: Engine, library: Library, bus: ProgressBus, scratch: Scratch, media_dir: Path
    ) -> None:
        self._engine = engine
        self._library = library
        self._bus = bus
        self._scratch = scratch
        self._media_dir = media_dir
        self._running = Exclusive()
        self._naming = asyncio.Lock()

    @activity.defn(name=FETCH)
    async def fetch(self, attempt: Attempt) -> FetchResult:
        """Temporal may believe this attempt lost while it still runs here, and start another: the second one waits."""
        async with self._running.holding(attempt.job.job_id):
            return await self._fetch(attempt)

    async def _fetch(self, attempt: Attempt) -> FetchResult:
        there_already = await begin(self._library, attempt)
        if there_already is not None:
            self._scratch_is_done_with(attempt.job, there_already)
            return there_already
        reporter = Reporter(attempt, self._bus)
        reporter.touched()
        async with reporter.pulsing():
            try:
                plan = await self._files_in_place(attempt, reporter)
            except BaseException:
                await self._note_video(attempt.job, reporter)
                raise
            result = await self._record(attempt.job, plan)
        reporter.touched()
        return result

    async def _files_in_place(self, attempt: Attempt, reporter: Reporter) -> publish.Plan:
        """Everything up to the files standing in the media folder."""
        job = attempt.job
        with reporting_failures(job):
            scratch = self._scratch_for(attempt)
            plan = publish.read_plan(job, scratch)
            downloaded = plan.downloaded if plan else await self._download(job, scratch, reporter)
            reporter(Report(phase=Phase.PUBLISHING, progress=reporter.newest.progress, title=downloaded.metadata.title))
            own = frozenset(file.path for file in await self._library.videos.files_of_job(job.job_id))
            async with self._naming:
                return await asyncio.to_thread(self._publish, job, downloaded, scratch, own)

    def _scratch_for(self, attempt: Attempt) -> Path:
        if attempt.fresh:
            self._scratch.drop(attempt.job.job_id)
        return self._scratch.folder(attempt.job.job_id)

    async def _download(self, job: JobRequest, scratch: Path, reporter: Reporter) -> Downloaded:
        task = DownloadTask(
            job_id=job.job_id, url=job.url, scratch_dir=str(scratch), preset=job.preset, options=job.options
        )
        return await self._engine.download(task, reporter)

    def _publish(self, job: JobRequest, downloaded: Downloaded, scratch: Path, own: frozenset[str]) -> publish.Plan:
        """In a thread: moving files may wait for the disk."""
        while True:
            plan = publish.read_plan(job, scratch) or publish.make_plan(job, downloaded, self._media_dir, own)
            publish.write_plan(plan, scratch)
            try:
                publish.carry_out(plan, scratch, self._media_dir, own)
            except FileExistsError:
                # Another process took a name between plan and move. Nothing was overwritten: choose again.
                publish.forget_plan(scratch)
                continue
            return plan

    async def _record(self, job: JobRequest, plan: publish.Plan) -> FetchResult:
        """The transaction in which the download becomes true, and after it the tidying."""
        metadata = plan.downloaded.metadata
        publication = Publication(
            job_id=job.job_id,
            run=job.run,
            owner=job.owner,
            url=job.url,
            metadata=metadata,
            files=plan.published(),
        )
        result = await self._library.videos.publish(publication)
        if result is None:
            return FetchResult(state=State.CANCELLED)
        await asyncio.to_thread(publish.drop_obsolete, plan, self._media_dir)
        await asyncio.to_thread(self._scratch.drop, job.job_id)
        return FetchResult(state=State.COMPLETED, title=metadata.title, result=result)

    def _scratch_is_done_with(self, job: JobRequest, result: FetchResult) -> None:
        if result.state is State.COMPLETED:
            self._scratch.drop(job.job_id)

    async def _note_video(self, job: JobRequest, reporter: Reporter) -> None:
        """A job that fails or waits is easier to recognise by its title."""
        newest = reporter.newest
        if newest.title and newest.phase is not Phase.EXTRACTING:
            await self._library.jobs.note_video(job.job_id, job.run, newest.title)
