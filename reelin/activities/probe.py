"""Look at a URL: metadata and formats."""

from __future__ import annotations

from temporalio import activity

from reelin.activities.attempt import begin
from reelin.activities.failures import reporting_failures
from reelin.activities.media import MediaFolder
from reelin.activities.reporter import Reporter
from reelin.activities.scratch import Scratch
from reelin.activities.site import SiteDesk
from reelin.contracts.jobs import State
from reelin.contracts.media import Extracted
from reelin.contracts.work import PROBE, Attempt, FetchResult
from reelin.engine.seam import Engine, ExtractTask
from reelin.library import Library
from reelin.progress import ProgressBus


class ProbeActivity:
    """A person waits for the answer, so it stands in no line; but what the site complains of, it hears."""

    def __init__(
        self,
        *,
        engine: Engine,
        library: Library,
        bus: ProgressBus,
        scratch: Scratch,
        media: MediaFolder,
        desk: SiteDesk,
    ) -> None:
        self._media = media
        self._engine = engine
        self._library = library
        self._bus = bus
        self._scratch = scratch
        self._desk = desk

    @activity.defn(name=PROBE)
    async def probe(self, attempt: Attempt) -> FetchResult:
        there_already = await begin(self._library, attempt)
        if there_already is not None:
            return there_already
        reporter = Reporter(attempt, self._bus)
        reporter.touched()
        async with reporter.pulsing(), self._desk.visiting(attempt, in_line=False):
            extracted = await self._extract(attempt, reporter)
        result = await self._record(attempt, extracted)
        reporter.touched()
        return result

    async def _extract(self, attempt: Attempt, reporter: Reporter) -> Extracted:
        job = attempt.job
        with reporting_failures(job):
            async with self._media.in_use():
                task = ExtractTask(
                    job_id=job.job_id,
                    url=job.url,
                    scratch_dir=str(await self._scratch.folder(job.job_id)),
                    options=job.options,
                )
                return await self._engine.extract(task, reporter)

    async def _record(self, attempt: Attempt, extracted: Extracted) -> FetchResult:
        job, title = attempt.job, extracted.metadata.title
        result = extracted.model_dump(mode="json", exclude={"metadata"})
        result = {**extracted.metadata.model_dump(mode="json"), **result}
        await self._library.jobs.complete_info(job.job_id, job.run, title=title, result=result)
        await self._scratch.drop(job.job_id)
        return FetchResult(state=State.COMPLETED, title=title)
