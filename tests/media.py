"""A media folder that a library has adopted."""

from __future__ import annotations

from pathlib import Path

from reelin.activities import MediaFolder
from reelin.engine.filethreads import FileThreads
from reelin.library import Library
from tests.library.samples import MEDIA_ID

#: One set of threads for all tests: each would leave its own behind.
THREADS = FileThreads("media-test", longest_call_seconds=5)


def media_folder(
    library: Library, media_dir: Path, *, scratch: str = ".reelin-scratch", threads: FileThreads = THREADS
) -> MediaFolder:
    return MediaFolder(library, threads, media_dir=media_dir, scratch_dir=media_dir / scratch)


async def adopted(
    library: Library, media_dir: Path, *, media_id: str = MEDIA_ID, scratch: str = ".reelin-scratch"
) -> MediaFolder:
    """As a worker does at its first start."""
    media_dir.mkdir(exist_ok=True)
    media = media_folder(library, media_dir, scratch=scratch)
    await media.adopt(media_id)
    return media
