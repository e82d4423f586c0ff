"""What becomes of a download whose files are whole: they are moved into the media folder, then the library is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import structlog

from reelin.activities.found import find_unknown_files
from reelin.activities.media import MediaFolder
from reelin.activities.moving import NameTaken, check_folder
from reelin.activities.publish import (
    Plan,
    carry_out,
    choose_again,
    drop_obsolete,
    forget_plan,
    make_plan,
    read_plan,
    take_back,
    write_plan,
)
from reelin.activities.scratch import Scratch
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.media import Downloaded
from reelin.contracts.work import FetchResult, JobRequest
from reelin.errors import MediaFailure
from reelin.library import Library, Publication

log = structlog.get_logger(__name__)

#: Each try loses to somebody who published under the name that it had chosen, and who is through with that.
MOST_TRIES = 50
#: What is mounted below the media folder is another disk, to which files are copied.
_SLOWEST_COPY_BYTES_PER_SECOND = 1_000_000


class Publisher:
    """Jobs are published side by side: no name is kept from others, since a move never overwrites."""

    def __init__(self, *, library: Library, media: MediaFolder, scratch: Scratch) -> None:
        self._library = library
        self._media = media
        self._scratch = scratch

    async def begun(self, job: JobRequest) -> Downloaded | None:
        """What an interrupted run of this job was about to publish.

        Raises MediaFailure (`bad_options`) where it is known before the download that it cannot be published.
        """
        return await self._media.threads.run(self._begun, job)

    def _begun(self, job: JobRequest) -> Downloaded | None:
        check_folder(self._media.media_dir, job.options.folder or "")
        plan = read_plan(job, self._scratch.path(job.job_id))
        return plan.downloaded if plan else None

    async def publish(self, job: JobRequest, downloaded: Downloaded) -> FetchResult:
        """Raises MediaFailure or OSError; running it again goes on where it was."""
        async with self._media.in_use() as media_id:
            own = await self._own_paths(job, media_id)
            found = await find_unknown_files(
                self._library,
                job,
                downloaded,
                media=self._media,
                media_id=media_id,
                scratch=self._scratch.path(job.job_id),
                own=own,
            )
            plan = await self._moved(job, downloaded, own, found)
        return await self._record(job, plan, media_id)

    async def _moved(self, job: JobRequest, downloaded: Downloaded, own: frozenset[str], found: frozenset[str]) -> Plan:
        scratch = self._scratch.path(job.job_id)
        copying = sum(file.size_bytes for file in downloaded.files) / _SLOWEST_COPY_BYTES_PER_SECOND
        for tries in range(MOST_TRIES):
            move = partial(self._move, job, downloaded, scratch, own, found, again=tries > 0)
            try:
                return await self._media.threads.run_alone(job.job_id, copying, move)
            except NameTaken as taken:
                log.info("a name was taken meanwhile; choosing another", job_id=job.job_id, name=str(taken))
        raise MediaFailure(FailureKind.INTERNAL, f"Others took {MOST_TRIES} names in turn that were free.")

    def _move(
        self,
        job: JobRequest,
        downloaded: Downloaded,
        scratch: Path,
        own: frozenset[str],
        found: frozenset[str],
        *,
        again: bool,
    ) -> Plan:
        """In a thread. `again`: other names for what was not moved, since one was taken."""
        media_dir = self._media.media_dir
        plan = read_plan(job, scratch)
        if plan is None:
            plan = make_plan(job, downloaded, media_dir, own, found)
        elif again:
            plan = choose_again(plan, job, scratch, media_dir, own)
        write_plan(plan, scratch)
        try:
            carry_out(plan, scratch, media_dir, own)
        except FileNotFoundError:
            forget_plan(scratch)  # somebody took a file away: the next attempt fetches it again
            raise
        return plan

    async def _own_paths(self, job: JobRequest, media_id: str) -> frozenset[str]:
        files = await self._library.videos.files_of_job(job.job_id)
        return frozenset(file.path for file in files if file.media_id == media_id)

    async def _record(self, job: JobRequest, plan: Plan, media_id: str) -> FetchResult:
        """The transaction in which the download becomes true, and after it the tidying."""
        metadata = plan.downloaded.metadata
        publication = Publication(
            media_id=media_id,
            job_id=job.job_id,
            run=job.run,
            owner=job.owner,
            url=job.url,
            metadata=metadata,
            files=plan.published(),
        )
        result = await self._library.videos.publish(publication)
        media_dir, threads = self._media.media_dir, self._media.threads
        if result is None:
            # Cancelled, forgotten or started anew meanwhile: nobody would ever find these files. Unless another
            # worker, which Temporal took for lost, has recorded them: then they are the job's, and stay.
            await threads.run(take_back, plan, media_dir, await self._own_paths(job, media_id))
            return FetchResult(state=State.CANCELLED)
        if plan.obsolete:
            await threads.run(drop_obsolete, plan, media_dir)
        await self._scratch.drop(job.job_id)
        return FetchResult(state=State.COMPLETED, title=metadata.title, result=result)
