"""Whether published files are still there: people tidy up by hand, and put back what they took away."""

from __future__ import annotations

import asyncio
import hashlib
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from reelin.activities.media import MediaFolder
from reelin.errors import MediaFailure
from reelin.library import FileRecord, Library, NewJob

log = structlog.get_logger(__name__)

#: Comparing hashes reads whole files, and downloads want the disk too.
COMPARED_BYTES_PER_SECOND = 32_000_000
COMPARE_SECONDS = 60.0
_PIECE = 4 << 20


@dataclass
class _Seen:
    gone: list[FileRecord] = field(default_factory=list)
    back: list[FileRecord] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gone or self.back)


class Presence:
    """Of the files in `media`, and of no other folder's: what lies in another worker's is not missing here. Where
    the folder is not as it should be, nothing is noted."""

    def __init__(self, media: MediaFolder) -> None:
        self._media = media

    async def note(self, library: Library, files: Sequence[FileRecord]) -> bool:
        """Looks for these files, and writes down which are gone and which are there again; says whether any is."""
        return bool(await self._note(library, files))

    async def note_jobs(self, library: Library, jobs: Sequence[NewJob]) -> None:
        """Before they become items of a batch: what is done there already must be done on disk too."""
        files = await library.videos.files_of_jobs([job.id for job in jobs if not job.force])
        await self.note(library, files)

    async def sweep(self, library: Library) -> int:
        """Looks for all files; returns how many were found to be gone. Raises MediaFailure (`storage_unavailable`)."""
        media_id = await self._media.check()
        gone, last = 0, ""
        while page := await library.shelf.files_after(media_id, last):
            gone += len((await self._note(library, page)).gone)
            last = page[-1].id
        await library.shelf.settle()
        return gone

    async def welcome(self, library: Library) -> int:
        """Looks for what is missing only; returns how many are there again. Raises MediaFailure."""
        media_id = await self._media.check()
        back, last = 0, ""
        while page := await library.shelf.missing_after(media_id, last):
            back += len((await self._note(library, page)).back)
            last = page[-1].id
        return back

    async def compare(self, library: Library) -> int:
        """Reads what has come back, for a minute and then to the end of a file: other looks wait meanwhile. Returns how
        many are not what was published. Raises MediaFailure."""
        media_id = await self._media.check()
        others, last, until = 0, "", time.monotonic() + COMPARE_SECONDS
        while time.monotonic() < until:
            file = await library.shelf.unverified_after(media_id, last)
            if file is None:
                break
            last = file.id
            equal = await self._is_equal(file)
            if equal is None or await self._media.identify() != media_id:
                continue
            await library.shelf.note_compared(file, equal=equal)
            if not equal:
                others += 1
                log.warning("another file stands in the place of one that was missing", path=file.path)
        return others

    async def _note(self, library: Library, files: Sequence[FileRecord]) -> _Seen:
        """What was not found counts only if the folder was there before the look and after it."""
        if not files:
            return _Seen()
        looked_at = datetime.now(UTC)
        try:
            media_id = await self._media.identify()
            mine = [file for file in files if file.media_id == media_id]
            if media_id is None or not mine:
                return _Seen()
            seen = await self._media.threads.run(_look, self._media.media_dir, mine)
            if not seen or await self._media.identify() != media_id:
                return _Seen()
        except (MediaFailure, OSError) as error:
            log.info("files were not looked for", reason=str(error))
            return _Seen()
        await library.shelf.note_looked_for(gone=seen.gone, back=seen.back, looked_at=looked_at)
        if seen.gone:
            log.info("files are gone from the media folder", files=len(seen.gone), first=seen.gone[0].path)
        if seen.back:
            log.info("files are there again", files=len(seen.back), first=seen.back[0].path)
        return seen

    async def _is_equal(self, file: FileRecord) -> bool | None:
        """None where it cannot be read."""
        digest, at = hashlib.sha256(), 0
        path = self._media.media_dir / file.path
        try:
            while at <= file.size_bytes and (piece := await self._media.threads.run(_read_piece, path, at)):
                await self._media.threads.run(digest.update, piece)
                at += len(piece)
                await asyncio.sleep(len(piece) / COMPARED_BYTES_PER_SECOND)
        except OSError:
            return None
        return digest.hexdigest() == file.sha256


def _look(media_dir: Path, files: Sequence[FileRecord]) -> _Seen:
    seen = _Seen()
    for file in files:
        found = _found(media_dir / file.path, file)
        if found is False and (file.missing_since is None or file.unverified):
            seen.gone.append(file)
        if found is True and file.missing_since is not None and not file.unverified:
            seen.back.append(file)
    return seen


def _found(path: Path, file: FileRecord) -> bool | None:
    """None where it cannot be said: a disk that does not answer has not lost anything, and what stands in the place
    of a missing file with another size is not that file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return False
    return True if file.missing_since is None or status.st_size == file.size_bytes else None


def _read_piece(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(_PIECE)
