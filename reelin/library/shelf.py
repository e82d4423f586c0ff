"""The library as something that people change: videos they want, videos they remove, files that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.media import Role
from reelin.contracts.options import Options
from reelin.contracts.urls import site_of
from reelin.errors import NotFound
from reelin.library.database import Database
from reelin.library.records import FileRecord, JobRecord
from reelin.library.rows import now
from reelin.library.standing import VideoState, describe, note_idle, video_id_of_url
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

    # Files that are gone.

    @unbroken
    async def files_after(self, file_id: str, *, limit: int = _AT_A_TIME) -> list[FileRecord]:
        """All files, some at a time, by id; "" is before the first."""
        query = select(files).where(files.c.id > file_id).order_by(files.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [FileRecord(**row._mapping) for row in await connection.execute(query)]

    @unbroken
    async def lost(self, gone: Sequence[FileRecord]) -> None:
        """These are no longer in the media folder. A video without any media file is missing from now on, and whoever
        submits it again gets it again."""
        async with self._database.writing() as connection:
            for start in range(0, len(gone), _AT_A_TIME):
                some = gone[start : start + _AT_A_TIME]
                await _forget_files(connection, some)

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


async def _forget_files(connection: AsyncConnection, gone: Sequence[FileRecord]) -> None:
    await connection.execute(delete(files).where(files.c.id.in_([file.id for file in gone])))
    left = exists().where(files.c.video_id == videos.c.id, files.c.role == Role.MEDIA)
    mine: Any = videos.c.id.in_({file.video_id for file in gone})
    lost = (mine, videos.c.state == VideoState.DOWNLOADED, ~left)
    await connection.execute(update(videos).where(*lost).values(state=VideoState.MISSING))
