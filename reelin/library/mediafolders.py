"""Which media folders this library has: each is known by an id, which stands in a marker file within it too."""

from __future__ import annotations

from sqlalchemy import func, insert, select, update

from reelin.library.database import Database
from reelin.library.records import FileRecord, MediaFolderRecord
from reelin.library.rows import now
from reelin.library.tables import files, media_folders
from reelin.library.unbroken import unbroken


class MediaFolderStore:
    """A folder is made known first, then its marker is written, then that is noted here: a crash in between leaves
    either nothing that counts, or a marker with a known id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def find(self, media_id: str) -> MediaFolderRecord | None:
        query = select(media_folders).where(media_folders.c.id == media_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
            return None if row is None else MediaFolderRecord(**row._mapping)

    @unbroken
    async def marked(self) -> list[MediaFolderRecord]:
        """Those whose marker was written, the oldest first."""
        query = select(media_folders).where(media_folders.c.marked_at.is_not(None))
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(media_folders.c.made_known_at, media_folders.c.id))
            return [MediaFolderRecord(**row._mapping) for row in rows]

    @unbroken
    async def make_known(self, media_id: str, place: str) -> None:
        """Or says where it is now."""
        known = update(media_folders).where(media_folders.c.id == media_id).values(place=place)
        async with self._database.writing() as connection:
            if (await connection.execute(known)).rowcount == 0:
                row = {"id": media_id, "place": place, "made_known_at": now()}
                await connection.execute(insert(media_folders).values(row))

    @unbroken
    async def note_marked(self, media_id: str) -> None:
        """Its marker stands. Files of a time before there were media folders are its own from now on."""
        async with self._database.writing() as connection:
            mine = update(media_folders).where(media_folders.c.id == media_id, media_folders.c.marked_at.is_(None))
            if (await connection.execute(mine.values(marked_at=now()))).rowcount:
                unclaimed = update(files).where(files.c.media_id.is_(None))
                await connection.execute(unclaimed.values(media_id=media_id))

    @unbroken
    async def unclaimed_files(self, *, limit: int) -> list[FileRecord]:
        """Some files that lie in no known folder."""
        query = select(files).where(files.c.media_id.is_(None)).order_by(files.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [FileRecord(**row._mapping) for row in await connection.execute(query)]

    @unbroken
    async def file_counts(self) -> dict[str, int]:
        """How many files lie in each folder."""
        query = select(files.c.media_id, func.count()).where(files.c.media_id.is_not(None)).group_by(files.c.media_id)
        async with self._database.reading() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}
