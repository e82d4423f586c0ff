"""Tells a program that works from one that only looks busy, by what it does to files."""

from __future__ import annotations

import stat
import time
from dataclasses import dataclass
from pathlib import Path

#: Less than this is no work: a program that hangs may still write a byte now and then, or say that it stands still.
_LEAST_BYTES = 64 * 1024
_LEAST_SECONDS = 1.0
#: ffmpeg moves an index to the front by writing the whole file again in place, which no size and no position shows.
_SLOW_DISK_BYTES_PER_SECOND = 4_000_000


@dataclass(frozen=True)
class Sight:
    """The files of a moment: their size, when the last of them was written to, and where in the media ffmpeg is."""

    n_bytes: int
    touched_ns: int
    position_seconds: float


class Movement:
    """Fed with one sight after the other."""

    def __init__(self) -> None:
        self._moved = Sight(0, 0, 0.0)
        self._moved_at = time.monotonic()
        self._touched_ns = 0

    def note(self, sight: Sight) -> bool:
        """True if something moves. Writing in place counts as long as a slow disk needs for all of the files."""
        if _differ(sight, self._moved):
            self._moved, self._moved_at, self._touched_ns = sight, time.monotonic(), sight.touched_ns
            return True
        touched, self._touched_ns = sight.touched_ns > self._touched_ns, sight.touched_ns
        return touched and time.monotonic() - self._moved_at < sight.n_bytes / _SLOW_DISK_BYTES_PER_SECOND


def _differ(one: Sight, other: Sight) -> bool:
    bytes_moved = abs(one.n_bytes - other.n_bytes)
    return bytes_moved >= _LEAST_BYTES or abs(one.position_seconds - other.position_seconds) >= _LEAST_SECONDS


def look(folder: Path, *, beside: Path, position_seconds: float) -> Sight:
    """The files in `folder`, but not those in `beside`."""
    n_bytes, touched_ns = 0, 0
    for path in folder.rglob("*"):
        if path.is_relative_to(beside):
            continue
        try:
            status = path.lstat()
        except OSError:
            continue  # It is gone again: yt-dlp renames and deletes meanwhile.
        if stat.S_ISREG(status.st_mode):
            n_bytes += status.st_size
            touched_ns = max(touched_ns, status.st_mtime_ns)
    return Sight(n_bytes, touched_ns, position_seconds)
