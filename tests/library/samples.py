"""Submissions and publications for tests."""

from __future__ import annotations

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import Kind
from reelin.contracts.media import Metadata, Role
from reelin.contracts.options import Options
from reelin.library import NewJob, Publication, PublishedFile


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
        job_id=f"video-{name}",
        run=run,
        owner="local",
        url=url,
        metadata=Metadata(url=url, title=f"Film {name}", extractor="generic", extractor_id="1", uploader="Someone"),
        files=tuple(PublishedFile(path=path, role=Role.MEDIA, size_bytes=10, sha256="0" * 64) for path in paths),
    )


def failure(kind: FailureKind = FailureKind.NETWORK) -> Failure:
    return Failure(kind=kind, message="It went wrong.", remedy=REMEDIES[kind], retryable=True)
