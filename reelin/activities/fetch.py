"""Download one video, and have its files published and the outcome recorded."""

from __future__ import annotations

from pathlib import Path

from temporalio import activity

from reelin.activities.attempt import nothing_to_do
from reelin.activities.bell import ItemListener
from reelin.activities.exclusive import Exclusive
from reelin.activities.failures import reporting_failures
from reelin.activities.media import MediaFolder
from reelin.activities.places import Places
from reelin.activities.publisher import Publisher
from reelin.activities.reporter import Reporter
from reelin.activities.scratch import Scratch
from reelin.activities.site import SiteDesk, Visit
from reelin.contracts.jobs import Kind, Phase, State
from reelin.contracts.media import Downloaded
from reelin.contracts.work import FETCH, Attempt, FetchResult, JobRequest
from reelin.engine.seam import DownloadTask, Engine, Report
from reelin.errors import PlaylistFound
from reelin.library import Library, ask_of
from reelin.library.unbroken import to_its_end
from reelin.progress import ProgressBus


class FetchActivity:
    """`media` is where finished files go; `scratch` holds what is not finished."""

    def __init__(
        self,
        *,
        engine: Engine,
        library: Library,
        bus: ProgressBus,
        scratch: Scratch,
        media: MediaFolder,
        bell: ItemListener,
        desk: SiteDesk,
        places: Places,
    ) -> None:
        self._bell = bell
        self._engine = engine
        self._library = library
        self._bus = bus
        self._scratch = scratch
        self._media = media
        self._publisher = Publisher(library=library, media=media, scratch=scratch)
        self._desk = desk
        self._places = places
        self._running = Exclusive()

    @activity.defn(name=FETCH)
    async def fetch(self, attempt: Attempt) -> FetchResult:
        """Temporal may believe this attempt lost while it still runs here, and start another: the second one waits."""
        async with self._running.holding(attempt.job.job_id):
            limited = await self._desk.needs_lease(attempt.job.site)
            if limited and not attempt.leased:
                waits = await self._wait_for_lease(attempt)
                if waits is not None:
                    return waits
            with self._places.taken(attempt.job.site):
                async with self._desk.visiting(attempt) as visit:
                    result = await self._fetch(attempt, visit, limited=limited)
                    visit.recorded = result.state is State.COMPLETED
                    visit.served = visit.recorded or result.playlist
                    return result

    async def _wait_for_lease(self, attempt: Attempt) -> FetchResult | None:
        """Nothing more: no place in this worker is taken while the job stands in line. None: it has a lease."""
        job = await self._library.jobs.wait_for_lease(attempt.job.job_id, attempt.job.run)
        there_already = await nothing_to_do(self._library, attempt, job)
        if there_already is not None or job is None:
            return there_already
        if job.lease is not None:
            return None
        Reporter(attempt, self._bus).touched()
        await self._desk.ask([(attempt.job.site, ask_of(job))])
        return FetchResult(state=State.WAITING, lease_wanted=True)

    async def _fetch(self, attempt: Attempt, visit: Visit, *, limited: bool) -> FetchResult:
        job = attempt.job
        row = await self._library.jobs.begin(job.job_id, job.run, attempt.number, with_lease=limited)
        if row is not None and row.run == job.run:
            visit.lease = row.lease
        there_already = await nothing_to_do(self._library, attempt, row)
        if there_already is None and limited and (row is None or row.lease is None):
            # Its site has taken the lease back. Should it have given another one by now, the workflow knows.
            waits = await self._wait_for_lease(attempt)
            there_already = waits or FetchResult(state=State.WAITING, lease_wanted=True)
        if there_already is not None:
            if there_already.state is State.COMPLETED:
                await self._scratch.drop(attempt.job.job_id)
            await self._bell.item_changed(attempt.job.job_id)
            return there_already
        reporter = Reporter(attempt, self._bus)
        reporter.touched()
        visit.flowing = lambda: reporter.newest.progress.downloaded_bytes > 0
        async with reporter.pulsing():
            try:
                downloaded = await self._downloaded(attempt, reporter)
                # Not to be broken off: files that were moved and never recorded would belong to nobody.
                result = await to_its_end(self._published(attempt.job, downloaded))
            except PlaylistFound as found:
                return FetchResult(state=State.RUNNING, title=found.title, playlist=True)
            except BaseException:
                await self._note_video(attempt.job, reporter)
                raise
        reporter.touched()
        await self._bell.item_changed(attempt.job.job_id)
        return result

    async def _downloaded(self, attempt: Attempt, reporter: Reporter) -> Downloaded:
        """Everything up to the files standing in the scratch folder, or in part in the media folder already."""
        job = attempt.job
        with reporting_failures(job):
            async with self._media.in_use():
                if attempt.fresh:
                    await self._scratch.drop_once(job.job_id, f"{job.run}/{attempt.number}")
                downloaded = await self._publisher.begun(job)
                if downloaded is None:
                    downloaded = await self._download(job, await self._scratch.folder(job.job_id), reporter)
            reporter(Report(phase=Phase.PUBLISHING, progress=reporter.newest.progress, title=downloaded.metadata.title))
            return downloaded

    async def _published(self, job: JobRequest, downloaded: Downloaded) -> FetchResult:
        with reporting_failures(job):
            return await self._publisher.publish(job, downloaded)

    async def _download(self, job: JobRequest, scratch: Path, reporter: Reporter) -> Downloaded:
        task = DownloadTask(
            job_id=job.job_id,
            url=job.url,
            scratch_dir=str(scratch),
            preset=job.preset,
            options=job.options,
            entry=job.entry,
            may_be_playlist=job.kind is Kind.AUTO,
        )
        return await self._engine.download(task, reporter)

    async def _note_video(self, job: JobRequest, reporter: Reporter) -> None:
        """A job that fails or waits is easier to recognise by its title."""
        newest = reporter.newest
        if newest.title and newest.phase is not Phase.EXTRACTING:
            await self._library.jobs.note_video(job.job_id, job.run, newest.title)
