"""What was downloaded: videos, their files, and the transaction in which a download becomes part of the library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import Kind, ResultFile
from reelin.contracts.media import Metadata, Role
from reelin.contracts.model import Message
from reelin.contracts.urls import site_of
from reelin.errors import NotFound
from reelin.library.database import Database
from reelin.library.jobs import change, completed_values
from reelin.library.pages import VIDEO_ORDERS, Order, Page, VideoFilter
from reelin.library.records import FileRecord, VideoRecord, file_url
from reelin.library.rows import now
from reelin.library.standing import VideoState, follow_files, video_id_of, video_id_of_url
from reelin.library.tables import files, videos
from reelin.library.unbroken import unbroken


class PublishedFile(Message):
    """A file that stands in the media folder. `path` is relative to it."""

    path: str
    role: Role
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What a download adds to the library. `media_id` names the media folder in which the files stand."""

    media_id: str
    job_id: str
    run: int
    owner: str
    url: str
    metadata: Metadata
    files: tuple[PublishedFile, ...]


class VideoStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def publish(self, publication: Publication) -> dict[str, Any] | None:
        """Writes video, files and the job's outcome in one transaction, and returns the job's result.

        None, and nothing is written, where the job is final already, was forgotten, or has a newer run.
        """
        async with self._database.writing() as connection:
            video_id, known = await _entry_for(connection, publication)
            result = _result(video_id, publication)
            size = sum(file.size_bytes for file in publication.files)
            values = completed_values(title=publication.metadata.title, result=result, size_bytes=size)
            values["kind"] = Kind.VIDEO
            if not await change(connection, publication.job_id, publication.run, **values):
                return None
            await _store_video(connection, video_id, publication, known=known)
            await _store_files(connection, video_id, publication)
            return result

    async def files_of_job(self, job_id: str) -> tuple[FileRecord, ...]:
        return await self.files_of_jobs([job_id])

    @unbroken
    async def files_of_jobs(self, job_ids: Collection[str]) -> tuple[FileRecord, ...]:
        """At most some hundreds of jobs'."""
        async with self._database.reading() as connection:
            rows = await connection.execute(select(files).where(files.c.job_id.in_(job_ids)).order_by(files.c.id))
            return tuple(FileRecord(**row._mapping) for row in rows)

    @unbroken
    async def claimed_paths(self, media_id: str, paths: Collection[str]) -> frozenset[str]:
        """Those of them in this media folder that belong to some job, whoever's; at most some hundreds."""
        mine = or_(files.c.media_id == media_id, files.c.media_id.is_(None))
        async with self._database.reading() as connection:
            rows = await connection.execute(select(files.c.path).where(files.c.path.in_(paths), mine))
            return frozenset(rows.scalars())

    @unbroken
    async def get(self, video_id: str) -> VideoRecord:
        async with self._database.reading() as connection:
            row = (await connection.execute(select(videos).where(videos.c.id == video_id))).one_or_none()
            if row is None:
                raise NotFound("video", video_id)
            return (await _with_files(connection, [row]))[0]

    @unbroken
    async def file(self, video_id: str, file_id: str) -> FileRecord:
        query = select(files).where(files.c.id == file_id, files.c.video_id == video_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise NotFound("file", file_id)
            return FileRecord(**row._mapping)

    @unbroken
    async def page(self, wanted: VideoFilter, *, sort: str, limit: int, cursor: str | None) -> Page[VideoRecord]:
        order = Order.parse(sort, VIDEO_ORDERS, videos.c.id)
        query = order.apply(select(videos).where(*wanted.conditions()), cursor, limit)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
            shown = rows[:limit]
            items = tuple(await _with_files(connection, shown))
        more = order.encode(shown[-1]) if len(rows) > limit else None
        return Page(items, more)


async def _entry_for(connection: AsyncConnection, publication: Publication) -> tuple[str, bool]:
    """The entry that someone made for this URL, or that another URL of the video has, else a new one's id; whether
    it is there already."""
    by_url = video_id_of_url(publication.owner, publication.url)
    if (await connection.execute(select(videos.c.id).where(videos.c.id == by_url))).first() is not None:
        return by_url, True
    described = publication.metadata
    if described.extractor.lower() != "generic":
        query = (
            select(videos.c.id)
            .where(videos.c.owner == publication.owner, videos.c.extractor == described.extractor)
            .where(videos.c.extractor_id == described.extractor_id)
            .order_by(videos.c.added_at)
        )
        known: str | None = (await connection.execute(query.limit(1))).scalar()
        if known is not None:
            return known, True
    return video_id_for(publication.owner, publication.url, described), False


def video_id_for(owner: str, url: str, metadata: Metadata) -> str:
    """One video, one id: by the site's own id where the extractor knows one, else by URL.

    The generic extractor's ids are file names, which many videos share.
    """
    if metadata.extractor.lower() == "generic":
        return video_id_of_url(owner, url)
    return video_id_of(owner, metadata.extractor, metadata.extractor_id)


def _file_id(job_id: str, file: PublishedFile) -> str:
    digest = hashlib.sha256(json.dumps([job_id, file.path], ensure_ascii=False).encode()).hexdigest()
    return f"f-{digest[:24]}"


def _result(video_id: str, publication: Publication) -> dict[str, Any]:
    listed = [
        ResultFile(
            id=_file_id(publication.job_id, file),
            path=file.path,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            url=file_url(video_id, _file_id(publication.job_id, file)),
        ).model_dump()
        for file in publication.files
    ]
    return {"video_id": video_id, "skipped": False, "files": listed}


async def _store_video(connection: AsyncConnection, video_id: str, publication: Publication, *, known: bool) -> None:
    described = publication.metadata
    values = {
        "title": described.title,
        "uploader": described.uploader,
        "duration_seconds": described.duration_seconds,
        "uploaded_on": described.uploaded_on,
        "extractor": described.extractor,
        "extractor_id": described.extractor_id,
        "thumbnail_url": described.thumbnail_url,
        "state": VideoState.DOWNLOADED,
    }
    if known:
        await connection.execute(update(videos).where(videos.c.id == video_id).values(**values))
        return
    url = publication.url
    values |= {"id": video_id, "owner": publication.owner, "url": url, "site": site_of(url), "added_at": now()}
    await connection.execute(insert(videos).values(**values))


async def _store_files(connection: AsyncConnection, video_id: str, publication: Publication) -> None:
    """A job that ran again replaces its files. A path that another job once had is free again on disk: somebody
    removed that file by hand."""
    paths = [file.path for file in publication.files]
    replaced = and_(files.c.media_id == publication.media_id, files.c.path.in_(paths))
    of_others = select(files.c.video_id).where(replaced, files.c.job_id != publication.job_id).distinct()
    bereft = list((await connection.execute(of_others)).scalars())
    await connection.execute(delete(files).where(or_(files.c.job_id == publication.job_id, replaced)))
    moment = now()
    rows = [
        {
            "id": _file_id(publication.job_id, file),
            "video_id": video_id,
            "job_id": publication.job_id,
            "media_id": publication.media_id,
            "role": file.role,
            "path": file.path,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "published_at": moment,
        }
        for file in publication.files
    ]
    await connection.execute(insert(files), rows)
    await follow_files(connection, bereft)


async def _with_files(connection: AsyncConnection, rows: Any) -> list[VideoRecord]:
    wanted = [row.id for row in rows]
    found: dict[str, list[FileRecord]] = {identifier: [] for identifier in wanted}
    query = select(files).where(files.c.video_id.in_(wanted)).order_by(files.c.published_at, files.c.id)
    for row in await connection.execute(query):
        found[row.video_id].append(FileRecord(**row._mapping))
    return [_video(row, tuple(found[row.id])) for row in rows]


def _video(row: Row[Any], listed: tuple[FileRecord, ...]) -> VideoRecord:
    values = {name: value for name, value in row._mapping.items() if not name.startswith("_")}
    return VideoRecord(**values, files=listed)
