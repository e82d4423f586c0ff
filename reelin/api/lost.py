"""Files that somebody took out of the media folder, or put back: noticed when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from reelin.activities import Presence
from reelin.api.parts import Parts
from reelin.contracts.jobs import State
from reelin.library import FileRecord, NewBatch, NewJob, Submitted


async def note_lost(parts: Parts, files: tuple[FileRecord, ...]) -> bool:
    """Says whether one of them is gone, or there again; from now on the library knows."""
    return await Presence(parts.media).note(parts.library, files)


async def submit_list(parts: Parts, new: NewBatch) -> Submitted:
    """What becomes items at once is looked for at once; the worker looks for the others."""

    async def look_for(page: Sequence[NewJob]) -> None:
        await Presence(parts.media).note_jobs(parts.library, page)

    return await parts.library.batches.submit(new, before_page=look_for)


async def submit_again_if_lost(parts: Parts, new: NewJob) -> Submitted:
    """A job that is done is no answer any more once its files are gone."""
    submitted = await parts.library.jobs.submit(new)
    if submitted.fresh or submitted.job.state is not State.COMPLETED:
        return submitted
    if await note_lost(parts, await parts.library.videos.files_of_job(new.id)):
        return await parts.library.jobs.submit(new)
    return submitted
