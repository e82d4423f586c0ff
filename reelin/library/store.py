"""The library as one thing to open, hand around and close."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from reelin.library.batches import BatchStore
from reelin.library.database import Database
from reelin.library.jobs import JobStore
from reelin.library.mediafolders import MediaFolderStore
from reelin.library.shelf import Shelf
from reelin.library.sites import SiteStore
from reelin.library.videos import VideoStore
from reelin.library.waiters import WaiterStore
from reelin.library.window import Window
from reelin.library.wishes import WishStore


class Library:
    """`url` is sqlite:///PATH or postgresql://…"""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.jobs = JobStore(self._database)
        self.batches = BatchStore(self._database)
        self.window = Window(self._database)
        self.wishes = WishStore(self._database)
        self.videos = VideoStore(self._database)
        self.shelf = Shelf(self._database)
        self.sites = SiteStore(self._database)
        self.waiters = WaiterStore(self._database)
        self.media_folders = MediaFolderStore(self._database)

    @property
    def installation(self) -> str:
        """The id of this installation: the database's, made when it was first opened."""
        return self._database.installation

    async def open(self) -> None:
        """Creates or migrates the database. Raises StartupError."""
        await self._database.open()

    async def close(self) -> None:
        await self.jobs.settle()
        await self._database.close()

    async def ping(self) -> None:
        """Raises Unavailable if the database does not answer, or cannot be written because somebody has locked it.

        A caller that loses patience leaves the question behind, and does not break it off.
        """
        asking = asyncio.ensure_future(self._ask())
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(asking)

    async def _ask(self) -> None:
        async with self._database.writing() as connection:
            await connection.execute(text("SELECT 1"))
