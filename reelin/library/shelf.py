"""The library as something that people change: videos they want, videos they remove, files that are gone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.options import Options
from reelin.contracts.urls import site_of
from reelin.errors import NotFound
from reelin.library.database import Database
from reelin.library.records import FileRecord, JobRecord
from reelin.library.rows import now
from reelin.library.standing import VideoState, describe, follow_files, note_idle, video_id_of_url
from reelin.library.tables import files, videos
from reelin.library.unbroken import unbroken

_AT_A_TIME = 500


class Shelf:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def want(self, *, owner: str, url: str, preset: str, options: Options) -> tuple[str, bool]:
        """Puts the video on the list; returns its id, and whether it is new there. A known one stays as it is."""
        async with self._database.writing() as connection:
            known = await _by_url(connection, owner, url)
            if known is not None:
                return known, False
            video_id = video_id_of_url(owner, url)
            values = {
                "id": video_id,
                "owner": owner,
                "url": url,
                "site": site_of(url),
                "preset": preset,
                "options": options.model_dump(mode="json", exclude_defaults=True),
                "state": VideoState.WANTED,
                "added_at": now(),
            }
            await connection.execute(insert(videos).values(values))
            return video_id, True

    @unbroken
    async def describe(self, job: JobRecord) -> None:
        """Takes over what an info job that is done has found."""
        async with self._database.writing() as connection:
            await describe(connection, job.owner, job.url or "", job.result or {})

    @unbroken
    async def remove(self, video_id: str) -> None:
        """Deletes the entry and its list of files; the bytes are the caller's. Raises NotFound."""
        async with self._database.writing() as connection:
            done = await connection.execute(delete(videos).where(videos.c.id == video_id))
            if done.rowcount == 0:
                raise NotFound("video", video_id)

    @unbroken
    async def urls_of(self, video_ids: Collection[str]) -> dict[str, str]:
        """URLs by id; unknown ids are left out."""
        wanted, found = list(video_ids), {}
        async with self._database.reading() as connection:
            for start in range(0, len(wanted), _AT_A_TIME):
                query = select(videos.c.id, videos.c.url).where(videos.c.id.in_(wanted[start : start + _AT_A_TIME]))
                found.update({row.id: row.url for row in await connection.execute(query)})
        return found

    # Files that are gone, and come back.

    @unbroken
    async def files_after(self, media_id: str, file_id: str, *, limit: int = _AT_A_TIME) -> list[FileRecord]:
        """All files of a media folder, some at a time, by id; "" is before the first."""
        query = select(files).where(files.c.media_id == media_id, files.c.id > file_id).order_by(files.c.id)
        return await self._files(query.limit(limit))

    @unbroken
    async def missing_after(self, media_id: str, file_id: str, *, limit: int = _AT_A_TIME) -> list[FileRecord]:
        """The same of those that are missing."""
        missing = (files.c.media_id == media_id, files.c.missing_since.is_not(None))
        return await self._files(select(files).where(*missing, files.c.id > file_id).order_by(files.c.id).limit(limit))

    @unbroken
    async def unverified_after(self, media_id: str, file_id: str) -> FileRecord | None:
        """The next one that has come back and whose hash nobody has compared."""
        back = (files.c.media_id == media_id, files.c.missing_since.is_(None), files.c.unverified)
        found = await self._files(select(files).where(*back, files.c.id > file_id).order_by(files.c.id).limit(1))
        return found[0] if found else None

    async def _files(self, query: Any) -> list[FileRecord]:
        async with self._database.reading() as connection:
            return [FileRecord(**row._mapping) for row in await connection.execute(query)]

    @unbroken
    async def note_looked_for(
        self, *, gone: Collection[FileRecord], back: Collection[FileRecord], looked_at: datetime
    ) -> None:
        """`gone` are not in their media folder, `back` are there again. What was published after the look counts as
        published. A video without any media file is missing, and whoever submits it again gets it again."""
        async with self._database.writing() as connection:
            for some in _in_parts(gone):
                lost = {"missing_since": func.coalesce(files.c.missing_since, looked_at), "unverified": False}
                await _note_files(connection, some, files.c.published_at < looked_at, **lost)
            for some in _in_parts(back):
                found = {"missing_since": None, "unverified": True}
                await _note_files(connection, some, files.c.missing_since.is_not(None), **found)

    @unbroken
    async def note_compared(self, file: FileRecord, *, equal: bool) -> None:
        """What has come back is the file that was published, or another one in its place: then the file is missing,
        until that one is gone."""
        values = {"unverified": False} if equal else {"missing_since": now()}
        async with self._database.writing() as connection:
            await _note_files(connection, [file], files.c.unverified, **values)

    @unbroken
    async def settle(self) -> int:
        """Corrects the state of videos whose job is gone; returns how many there were."""
        async with self._database.writing() as connection:
            return await note_idle(connection)


async def _by_url(connection: AsyncConnection, owner: str, url: str) -> str | None:
    by_id = select(videos.c.id).where(videos.c.id == video_id_of_url(owner, url))
    by_url = select(videos.c.id).where(videos.c.owner == owner, videos.c.url == url).order_by(videos.c.added_at)
    for query in (by_id, by_url):
        found: str | None = (await connection.execute(query.limit(1))).scalar()
        if found is not None:
            return found
    return None


async def _note_files(
    connection: AsyncConnection, some: Sequence[FileRecord], *which: ColumnElement[bool], **values: Any
) -> None:
    mine = files.c.id.in_([file.id for file in some])
    await connection.execute(update(files).where(mine, *which).values(**values))
    await follow_files(connection, {file.video_id for file in some})


def _in_parts(listed: Collection[FileRecord]) -> Iterator[list[FileRecord]]:
    remaining = iter(listed)
    while part := list(islice(remaining, _AT_A_TIME)):
        yield part
