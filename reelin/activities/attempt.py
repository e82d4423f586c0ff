"""How fetch and probe begin: by asking whether there is still something to do."""

from __future__ import annotations

from reelin.contracts.jobs import State
from reelin.contracts.work import Attempt, FetchResult
from reelin.library import JobRecord, Library


async def begin(library: Library, attempt: Attempt) -> FetchResult | None:
    """Marks the job running, or returns what there is to return instead.

    The result may be there already (this activity ran before and its answer was lost), the job may have been
    cancelled while nobody listened, forgotten, or started anew by a newer run.
    """
    job = await library.jobs.begin(attempt.job.job_id, attempt.job.run, attempt.number)
    return await nothing_to_do(library, attempt, job)


async def nothing_to_do(library: Library, attempt: Attempt, job: JobRecord | None) -> FetchResult | None:
    """What to return of a job as it stands now, or None where it is to go on."""
    if job is None or job.run != attempt.job.run:
        return FetchResult(state=State.CANCELLED)
    if job.state.final:
        return FetchResult(state=job.state, title=job.title, result=job.result)
    if job.cancel_requested:
        await library.jobs.cancel(job.id, job.run)
        return FetchResult(state=State.CANCELLED)
    if job.pause_requested:
        return FetchResult(state=State.PAUSED)
    return None
