"""The library as one thing to open, hand around and close."""

from __future__ import annotations

from sqlalchemy import text

from reelin.library.database import Database
from reelin.library.jobs import JobStore
from reelin.library.videos import VideoStore


class Library:
    """`url` is sqlite:///PATH or postgresql://…"""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.jobs = JobStore(self._database)
        self.videos = VideoStore(self._database)

    async def open(self) -> None:
        """Creates or migrates the database. Raises StartupError."""
        await self._database.open()

    async def close(self) -> None:
        await self.jobs.settle()
        await self._database.close()

    async def ping(self) -> None:
        """Raises whatever the driver raises if the database does not answer."""
        async with self._database.reading() as connection:
            await connection.execute(text("SELECT 1"))
