"""The file by which a media folder is known again: one without it is an empty mount point, or somebody else's."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from pydantic import ValidationError

from reelin.contracts.model import Message

MARKER = ".reelin-media"
_LONGEST = 4096
_ABOUT = (
    "Reelin knows this media folder by this file. It belongs here as long as the folder's files do: move it with them, "
    "and do not copy it to another folder."
)


class Marker(Message):
    media_folder: str
    about: str = _ABOUT


class Unreadable(Exception):
    """There is a marker, but nothing that Reelin has written."""


def new_media_id() -> str:
    return uuid.uuid4().hex


def read_marker(media_dir: Path) -> str | None:
    """The folder's id, None where it has no marker. Raises Unreadable, or OSError."""
    try:
        with (media_dir / MARKER).open("rb") as file:
            text = file.read(_LONGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return Marker.model_validate_json(text).media_folder
    except ValidationError as error:
        raise Unreadable from error


def write_marker(media_dir: Path, media_id: str, *, replace: bool = False) -> str:
    """Returns the id that the folder has then: of two who write at once one wins. Raises OSError."""
    draft = media_dir / f"{MARKER}.{uuid.uuid4().hex}"
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(Marker(media_folder=media_id).model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(draft, media_dir / MARKER, replace=replace)
    finally:
        draft.unlink(missing_ok=True)
    return read_marker(media_dir) or media_id


def _put_in_place(draft: Path, marker: Path, *, replace: bool) -> None:
    if replace:
        draft.replace(marker)
        return
    try:
        os.link(draft, marker)  # unlike a rename, a link never overwrites
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EMLINK):
            raise
        if not marker.exists():  # a file system without hard links
            draft.replace(marker)
