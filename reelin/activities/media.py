"""The media folder as this process finds it: the right one, writable and answering, or why it is to be left alone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Container
from pathlib import Path
from typing import ParamSpec, TypeVar

from temporalio.exceptions import ApplicationError

from reelin.activities.marker import MARKER, Unreadable, new_media_id, read_marker, write_marker
from reelin.contracts.failures import FailureKind
from reelin.engine.filethreads import FileThreads
from reelin.errors import MediaFailure, PlaylistFound, StartupError, Unavailable
from reelin.library import Library

P = ParamSpec("P")
T = TypeVar("T")

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_ELSEWHERE = "Choose another folder with REELIN_MEDIA_DIR"


class MediaFolder:
    """`scratch_dir` lies within `media_dir`. All calls on files are made in `threads`."""

    def __init__(self, library: Library, threads: FileThreads, *, media_dir: Path, scratch_dir: Path) -> None:
        self._folders = library.media_folders
        self.threads = threads
        self.media_dir = media_dir
        self.scratch_dir = scratch_dir
        self._known: set[str] = set()

    async def prepare(self) -> None:
        """Adopts the folder where this library has none yet, and makes it if need be.

        Raises StartupError where that cannot be. A library that has a folder already waits for it instead.
        """
        if await self._folders.marked():
            return
        try:
            media_id = await self._read()
            if media_id is not None and await self._folders.find(media_id) is None:
                raise StartupError(_of_another())
            if media_id is None and not await self._holds_its_files():
                raise StartupError(
                    "The library has files, and the media folder has none of them. Mount its disk, or run "
                    "`reelin adopt` if the library is to go on in this folder."
                )
            await self.threads.run(_make, self.media_dir, self.scratch_dir)
            if media_id is None:
                media_id = await self.adopt(new_media_id())
        except OSError as error:
            raise StartupError(
                f"The folder {self.media_dir} cannot be written ({error.strerror}). Give it to this user, or choose "
                "another with REELIN_MEDIA_DIR."
            ) from error
        except MediaFailure as failure:
            raise StartupError(failure.message) from failure
        if await self._folders.find(media_id) is None:
            raise StartupError(_of_another())
        await self._folders.note_marked(media_id)

    async def adopt(self, media_id: str, *, replace: bool = False) -> str:
        """Makes it one of this library's folders, and returns the id that it has then. Raises OSError.

        `replace`: also where it has a marker already.
        """
        await self._folders.make_known(media_id, f"{socket.gethostname()}:{self.media_dir}")
        media_id = await self.threads.run(write_marker, self.media_dir, media_id, replace=replace)
        if await self._folders.find(media_id) is not None:
            await self._folders.note_marked(media_id)
        return media_id

    async def identify(self) -> str | None:
        """The id of the folder, by its marker; None where it is none of this library's. Raises MediaFailure
        (`storage_unavailable`) where it does not answer."""
        media_id = await self._read()
        return media_id if media_id is not None and await self._is_known(media_id) else None

    async def check(self) -> str:
        """The folder's id. Raises MediaFailure (`storage_unavailable`) unless it is one of this library's, and files
        can be written there."""
        media_id, unwritable = await self._look()
        if media_id is not None and media_id not in self._known and await self._is_known(media_id):
            media_id, unwritable = await self._look()
        if media_id is None:
            raise _unavailable(
                f"The media folder has no {MARKER}: its disk is probably not mounted. Mount it; if the library is to "
                "go on in this folder, run `reelin adopt`."
            )
        if media_id not in self._known:
            raise _unavailable(_of_another())
        if unwritable is not None:
            raise _unavailable(f"The media folder cannot be written to: {unwritable}.")
        return media_id

    async def trouble(self) -> str | None:
        """Why nothing is fetched into it, for `/readyz`; also None where no worker has adopted one yet."""
        try:
            if await self._read() is None and not await self._folders.marked():
                return None
            await self.check()
        except MediaFailure as failure:
            return failure.message
        return None

    @contextlib.asynccontextmanager
    async def in_use(self) -> AsyncIterator[str]:
        """Round whatever is done in the folder; gives its id. What fails while the folder is not as it should be fails
        because of that: as `storage_unavailable`."""
        media_id = await self.check()
        try:
            yield media_id
        except (Unavailable, PlaylistFound, ApplicationError):
            raise
        except Exception:
            await self.check()
            raise

    async def _is_known(self, media_id: str) -> bool:
        """Once known it stays so. A marker with a known id is what counts, whoever was to note that it was written."""
        if media_id not in self._known and await self._folders.find(media_id) is not None:
            self._known.add(media_id)
        return media_id in self._known

    async def _read(self) -> str | None:
        return await self._call(read_marker, self.media_dir)

    async def _look(self) -> tuple[str | None, str | None]:
        """The id, and why no file can be written."""
        return await self._call(_look, self.media_dir, self.scratch_dir, self._known)

    async def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self.threads.run(call, *args, **kwargs)
        except Unreadable:
            raise _unavailable(
                f"The media folder's {MARKER} is none that Reelin has written. Put the right one back; if the library "
                "is to go on in this folder, run `reelin adopt --take-over`."
            ) from None
        except OSError as error:
            raise _unavailable(f"The media folder cannot be read: {error.strerror}.") from error

    async def _holds_its_files(self) -> bool:
        """For a library from before media folders had markers: is this where its files are?"""
        some = await self._folders.unclaimed_files(limit=100)
        return not some or await self.threads.run(_any_there, [self.media_dir / file.path for file in some])


def _make(media_dir: Path, scratch_dir: Path) -> None:
    scratch_dir.mkdir(parents=True, exist_ok=True)
    _try_to_write(media_dir, scratch_dir)


def _look(media_dir: Path, scratch_dir: Path, known: Container[str]) -> tuple[str | None, str | None]:
    """Writing is tried in a known folder only. Want of room is told with figures by whoever needs it."""
    media_id = read_marker(media_dir)
    if media_id in known:
        try:
            _try_to_write(media_dir, scratch_dir)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                return media_id, error.strerror
    return media_id, None


def _try_to_write(media_dir: Path, scratch_dir: Path) -> None:
    """Raises OSError. Whether a file system lets files be written is known to who has written one."""
    if not os.access(media_dir, os.W_OK | os.X_OK):
        read_only = os.statvfs(media_dir).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number))
    scratch_dir.mkdir(exist_ok=True)
    probe = scratch_dir / f".written-by-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink(missing_ok=True)


def _any_there(paths: list[Path]) -> bool:
    return any(path.is_file() for path in paths)


def _of_another() -> str:
    return (
        f"The media folder belongs to another installation of Reelin, by its {MARKER}. {_ELSEWHERE}; if that "
        "installation is no more, run `reelin adopt --take-over`."
    )


def _unavailable(message: str) -> MediaFailure:
    return MediaFailure(FailureKind.STORAGE_UNAVAILABLE, message)
