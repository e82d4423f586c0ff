"""The data folder: one `reelin up` at a time, and a note for the command line where to find it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reelin.errors import StartupError

LOCK = "up.lock"
NOTE = "up.json"
LEAST_FREE_BYTES = 64_000_000


@contextlib.contextmanager
def holding(data_dir: Path) -> Iterator[None]:
    """Holds the folder while the block runs; the lock goes with the process. Raises StartupError."""
    descriptor = _open_lock(data_dir)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartupError(f"Reelin is running on {data_dir} already{_where(data_dir)}.") from None
    try:
        yield
    finally:
        (data_dir / NOTE).unlink(missing_ok=True)
        os.close(descriptor)


def check_space(folder: Path) -> None:
    """Databases on a full disk fail in many ways, all of them confusing. Raises StartupError."""
    free = shutil.disk_usage(_nearest_existing(folder)).free
    if free < LEAST_FREE_BYTES:
        raise StartupError(
            f"The disk of {folder} has {free / 1e6:.0f} MB of free space, and Reelin starts with at least "
            f"{LEAST_FREE_BYTES / 1e6:.0f} MB. Free some; what was accepted is kept."
        )


def _nearest_existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def leave_note(data_dir: Path, **facts: Any) -> None:
    """Written whole or not at all: a reader never sees half of it."""
    draft = data_dir / f"{NOTE}.new"
    draft.write_text(json.dumps({**facts, "pid": os.getpid()}), encoding="utf-8")
    draft.replace(data_dir / NOTE)


def _open_lock(data_dir: Path) -> int:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(
            f"The data folder {data_dir} cannot be written ({error.strerror}). "
            "Give it to this user, or choose another with REELIN_DATA_DIR."
        ) from error


def _where(data_dir: Path) -> str:
    try:
        note = json.loads((data_dir / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # it is still starting
    return f": {note.get('url')} (process {note.get('pid')})"
