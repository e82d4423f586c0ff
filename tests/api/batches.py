"""A batch in a real library, and somebody who plays its worker."""

from __future__ import annotations

from dataclasses import replace

from reelin.contracts.jobs import Kind, State
from reelin.library import JobRecord, Library, NewBatch
from reelin.library.batches import NewJob
from tests.library.samples import failure, new_job, publication


def new_batch(number: int, *, name: str = "list", first: int = 0, job: NewJob | None = None) -> NewBatch:
    """Of so many URLs, from the `first` on."""
    own = job or replace(new_job(), id=f"bulk-{name}", kind=Kind.BULK, url="", site="")
    return NewBatch(own, tuple(f"https://example.org/{each}" for each in range(first, first + number)))


class Worker:
    """Plays the worker of one batch, one step at a time, and tells nobody."""

    def __init__(self, library: Library, batch_id: str) -> None:
        self.library = library
        self.batch_id = batch_id

    @classmethod
    async def of(cls, library: Library, number: int, **batch: object) -> Worker:
        """Submits a batch that runs from then on."""
        new = new_batch(number, **batch)  # type: ignore[arg-type]
        await library.batches.submit(new)
        await library.batches.expand_list(new.job.id, 1)
        await library.jobs.begin(new.job.id, 1, 1)
        return cls(library, new.job.id)

    async def release(self, at_once: int = 50) -> tuple[JobRecord, ...]:
        released = await self.library.window.release(self.batch_id, at_once=at_once, limit_of=lambda _: None)
        await self.library.jobs.mark_dispatched([(job.id, job.run) for job in released.jobs])
        return released.jobs

    async def begin(self, job: JobRecord) -> None:
        await self.library.jobs.begin(job.id, job.run, 1)

    async def complete(self, job: JobRecord) -> None:
        """With a file of 10 bytes."""
        name = (job.url or "").rpartition("/")[2]
        new = replace(publication(name, run=job.run, paths=(f"{name}.mp4",)), job_id=job.id)
        assert await self.library.videos.publish(new) is not None

    async def fail(self, job: JobRecord) -> None:
        await self.library.jobs.fail(job.id, job.run, failure=failure())

    async def finish(self) -> State | None:
        return await self.library.window.finish(self.batch_id, 1)
