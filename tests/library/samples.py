"""Submissions and publications for tests."""

from __future__ import annotations

from dataclasses import replace

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import Kind
from reelin.contracts.media import Metadata, Role
from reelin.contracts.options import Options
from reelin.library import JobFilter, JobRecord, Library, NewBatch, NewJob, Publication, PublishedFile, item_of

#: The media folder in which all of them are published.
MEDIA_ID = "0" * 32


def new_job(name: str = "one", *, force: bool = False, priority: int = 3) -> NewJob:
    return NewJob(
        id=f"video-{name}",
        kind=Kind.AUTO,
        url=f"https://example.org/{name}",
        site="example.org",
        owner="local",
        preset="best",
        options=Options(),
        priority=priority,
        force=force,
    )


def publication(name: str = "one", *, run: int = 1, paths: tuple[str, ...] = ("One [1].mp4",)) -> Publication:
    url = f"https://example.org/{name}"
    return Publication(
        media_id=MEDIA_ID,
        job_id=f"video-{name}",
        run=run,
        owner="local",
        url=url,
        metadata=Metadata(url=url, title=f"Film {name}", extractor="generic", extractor_id="1", uploader="Someone"),
        files=tuple(PublishedFile(path=path, role=Role.MEDIA, size_bytes=10, sha256="0" * 64) for path in paths),
    )


def failure(kind: FailureKind = FailureKind.NETWORK) -> Failure:
    return Failure(kind=kind, message="It went wrong.", remedy=REMEDIES[kind], retryable=True)


def listed(name: str, **changed: object) -> NewJob:
    """A job as an entry of a list or a playlist."""
    return replace(new_job(name), **changed)  # type: ignore[arg-type]


def new_list(*names: str, job_id: str = "bulk-one", **options: object) -> NewBatch:
    """A list of URLs; its items are the jobs that `item_id` names."""
    job = replace(new_job("list"), id=job_id, kind=Kind.BULK, url="", site="", title=f"{len(names)} URLs")
    job = replace(job, options=Options(**options))  # type: ignore[arg-type]
    return NewBatch(job, tuple(f"https://example.org/{name}" for name in names))


def item_id(name: str) -> str:
    return item_of(new_job("list"), f"https://example.org/{name}").id


async def expanded(library: Library, *names: str, job_id: str = "bulk-one", **options: object) -> JobRecord:
    """A list whose items are all there, and whose workflow runs."""
    await library.batches.submit(new_list(*names, job_id=job_id, **options))
    await library.batches.expand_list(job_id, 1)
    return await begun(library, job_id)


async def begun(library: Library, job_id: str) -> JobRecord:
    """A worker has the job."""
    run = (await library.jobs.get(job_id)).run
    await library.jobs.mark_dispatched([(job_id, run)])
    job = await library.jobs.begin(job_id, run, 1)
    assert job is not None
    return job


async def let_go(library: Library, batch_id: str = "bulk-one", at_once: int = 50) -> list[str]:
    """The ids of the jobs that are to be started now."""
    released = await library.window.release(batch_id, at_once=at_once, limit_of=lambda site: None)
    return [job.id for job in released.jobs]


async def publish(library: Library, job_id: str) -> None:
    """The job runs and brings a file."""
    job = await begun(library, job_id)
    published = replace(publication(paths=(f"{job_id}.mp4",)), job_id=job_id, run=job.run, url=job.url or "")
    assert await library.videos.publish(published) is not None


async def fail(library: Library, job_id: str, kind: FailureKind = FailureKind.NETWORK) -> None:
    job = await begun(library, job_id)
    await library.jobs.fail(job_id, job.run, failure=failure(kind))


async def states(library: Library, batch_id: str = "bulk-one") -> list[str]:
    """The items' states by position."""
    page = await library.jobs.page(JobFilter(parent=batch_id), sort="position", limit=500, cursor=None)
    return [str(job.state) for job in page.items]
