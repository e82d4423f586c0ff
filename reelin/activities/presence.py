"""Whether published files are still there: people tidy up by hand."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

import structlog

from reelin.contracts.model import Message
from reelin.library import FileRecord, Library, NewJob

log = structlog.get_logger(__name__)

#: If so many are looked at and not one is there, it is the folder that is gone, and not the files.
SUSPICIOUS = 20


class Presence(Message):
    """`scratch_dir` stands in the media folder from the first worker on: where it is missing, so is the disk."""

    media_dir: Path
    scratch_dir: Path

    async def note(self, library: Library, files: Sequence[FileRecord]) -> bool:
        """Looks for these files, and takes down which are gone; says whether any is."""
        gone = await asyncio.to_thread(self._gone, files)
        if gone:
            await library.shelf.lost(gone)
            log.info("files are gone from the media folder", files=len(gone), first=gone[0].path)
        return bool(gone)

    async def note_jobs(self, library: Library, jobs: Sequence[NewJob]) -> None:
        """Before they become items of a batch: what is done there already must be done on disk too."""
        files = await library.videos.files_of_jobs([job.id for job in jobs if not job.force])
        await self.note(library, files)

    async def sweep(self, library: Library) -> int:
        """Looks for all files; returns how many were taken down as gone."""
        gone: list[FileRecord] = []
        seen = 0
        page = await library.shelf.files_after("")
        while page:
            gone += await asyncio.to_thread(self._gone, page)
            seen += len(page)
            page = await library.shelf.files_after(page[-1].id)
        if gone and len(gone) == seen >= SUSPICIOUS:
            log.warning("not one file is in the media folder; is its disk mounted?", media_dir=str(self.media_dir))
            return 0
        gone = await asyncio.to_thread(self._gone, gone)  # a download may have brought one back meanwhile
        if gone:
            await library.shelf.lost(gone)
        await library.shelf.settle()
        return len(gone)

    def _gone(self, files: Sequence[FileRecord]) -> list[FileRecord]:
        gone = [file for file in files if not self._is_there(file)]
        return gone if gone and self.scratch_dir.is_dir() else []

    def _is_there(self, file: FileRecord) -> bool:
        """A disk that does not answer has not lost anything."""
        try:
            return stat.S_ISREG((self.media_dir / file.path).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
