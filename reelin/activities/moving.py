"""Moves one file to its place in the media folder, whatever stands there and whatever the file system can do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from reelin.contracts.failures import FailureKind
from reelin.errors import MediaFailure

#: About one path and not about the disk: another name or folder, or somebody's hand, is what helps.
_OF_ONE_PATH = {
    errno.ENOTDIR: "a file is in the way of the folder",
    errno.EEXIST: "a file is in the way of the folder",
    errno.ELOOP: "it is a link that leads in a circle",
    errno.EISDIR: "a folder is in the way of the file",
    errno.ENOTEMPTY: "a folder is in the way of the file",
    errno.ENAMETOOLONG: "its name is too long for the disk",
    errno.EINVAL: "its name has characters that the disk cannot store",
    errno.EILSEQ: "its name has characters that the disk cannot store",
    errno.EACCES: "Reelin may not write there",
    errno.EPERM: "Reelin may not write there",
    errno.EROFS: "it is read-only",
}
#: What file systems say that have no hard links, or none between two of them.
_NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})


class NameTaken(Exception):
    """Something stands at the path by now. Nothing was overwritten."""


@contextlib.contextmanager
def refusing(path: str, field: str) -> Iterator[None]:
    """What goes wrong about `path`, relative to the media folder, and would go wrong again, is the job's own failure.
    What goes wrong about the disk is not, and passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_ONE_PATH:
            raise
        raise _refused(path, field, _OF_ONE_PATH[error.errno]) from error


def check_folder(media_dir: Path, folder: str) -> None:
    """Raises what `make_folder` would, as far as is known before the folder is made."""
    outer = [*reversed(PurePosixPath(folder).parents), PurePosixPath(folder)][1:]
    there = [each for each in outer if os.path.lexists(media_dir / each)]
    make_folder(media_dir, there[-1].as_posix() if there else "")


def make_folder(media_dir: Path, folder: str) -> None:
    """Makes `folder`, "" for the media folder itself. Raises MediaFailure (`bad_options`) where it cannot be, is not
    within the media folder, or cannot be written to; OSError where the disk is in the way."""
    made = media_dir
    for part in folder.split("/") if folder else ():
        made /= part
        shown = made.relative_to(media_dir).as_posix()
        with refusing(shown, "options.folder"):
            if not made.is_dir():  # a mkdir would be refused where the disk is only read
                with contextlib.suppress(FileExistsError):
                    made.mkdir()
                if not made.is_dir():
                    raise _refused(shown, "options.folder", _what_is_there(made))
        if not made.resolve().is_relative_to(media_dir.resolve()):
            raise _refused(shown, "options.folder", "it is a link that leads out of the media folder")
    if folder and not os.access(made, os.W_OK | os.X_OK):
        raise _refused(folder, "options.folder", "Reelin may not write there")


def move_file(source: Path, target: Path, *, replace: bool) -> None:
    """To its end: after a power cut too it is in one of both places. Raises NameTaken unless it may `replace`."""
    if replace and not target.is_dir():
        _rename(source, target)
    else:
        _link(source, target)
    _sync_folder(target.parent)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # unlike a rename, a link never overwrites what another download put there
    except FileExistsError:
        if not (target.exists() and source.samefile(target)):
            raise NameTaken(target.name) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise NameTaken(target.name) from None
        _rename(source, target)
        return
    source.unlink(missing_ok=True)  # somebody who took this run for lost may have been quicker


def _rename(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        source.unlink()


def _copy(source: Path, target: Path) -> None:
    """To another disk, which is mounted below the media folder. What is half copied does not look like the file."""
    draft = target.with_name(f".reelin-{os.getpid()}-{source.parent.name[:80]}.part")
    try:
        with source.open("rb") as whole, draft.open("wb") as copy:
            shutil.copyfileobj(whole, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _what_is_there(path: Path) -> str:
    if path.is_symlink():
        return "it is a link that leads nowhere"
    return "there is a file of this name"


def _refused(path: str, field: str, reason: str) -> MediaFailure:
    message = f"{field}: the file cannot be put at {path!r} in the media folder: {reason}."
    remedy = "Move away what is there or give Reelin the right to write, and retry the job; or choose another."
    return MediaFailure(FailureKind.BAD_OPTIONS, f"{message} {remedy}")
