"""A job's scratch folder: who works in it, what it still holds, and whether the job is done already.

lock              held as long as a child works here
source.json       the address that all of it comes from; what another one has left is dropped
done.json         the finished job; whoever finds it has nothing left to do
media.f1.mp4.part bytes on their way, with a record that says how many of them can be trusted
fetched/          every stream that has arrived whole, kept until the job is done
(anything else)   what ffmpeg was making when the job was killed; dropped on the next start
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from reelin.contracts.failures import FailureKind
from reelin.contracts.media import Downloaded
from reelin.engine.child.fetched import Fetched
from reelin.engine.child.records import read_record, write_record
from reelin.engine.seam import DownloadTask
from reelin.errors import MediaFailure

_LOCK_SECONDS = 120.0
_LOCK_POLL_SECONDS = 0.05
_LOCK = "lock"
_DONE = "done.json"
_SOURCE = "source.json"
_FETCHED = "fetched"
_PARTS = "parts"
#: `.part` and what stands beside it: the records of direct files (`.part.json`) and of fragments (`.ytdl`),
#: and fragments that have arrived but not been appended (`.part-Frag7`).
_PARTIAL_MARKS = (".part", ".ytdl")


class Scratch:
    """Held between `hold` and `release`, by one process at a time."""

    def __init__(self, task: DownloadTask) -> None:
        self.folder = Path(task.scratch_dir)
        self._identity = _identity(task)
        self._source = {"url_sha256": hashlib.sha256(task.url.encode()).hexdigest()}
        self._lock: int | None = None

    def hold(self) -> None:
        """Waits for a predecessor that is just being killed; two that write one file would ruin it."""
        self._lock = _hold(self.folder)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def done(self) -> Downloaded | None:
        """What an earlier run of the same task finished, if its files are still here."""
        record = read_record(self.folder / _DONE)
        if record is None or record.get("task") != self._identity:
            return None
        try:
            downloaded = Downloaded.model_validate(record.get("downloaded"))
        except ValidationError:
            return None
        present = all(_size(self.folder / file.name) == file.size_bytes for file in downloaded.files)
        return downloaded if present else None

    def clear_leftovers(self) -> None:
        """Keep what records vouch for. A half-made output with a finished one's name must not be taken for it."""
        ours = read_record(self.folder / _SOURCE) == self._source
        for entry in self.folder.iterdir():
            if entry.name != _LOCK and not (ours and entry.name in (_SOURCE, _FETCHED, _PARTS)):
                _remove(entry)
        if not ours:
            write_record(self.folder / _SOURCE, self._source)
        self.parts.mkdir(exist_ok=True)
        for entry in self.parts.iterdir():
            if not any(mark in entry.name for mark in _PARTIAL_MARKS):
                _remove(entry)

    @property
    def parts(self) -> Path:
        return self.folder / _PARTS

    @property
    def paths(self) -> dict[str, str]:
        """yt-dlp's `paths`: what is unfinished stands apart, and is moved out by a rename."""
        return {"home": str(self.folder), "temp": str(self.parts)}

    @property
    def fetched(self) -> Fetched:
        return Fetched(self.folder / _FETCHED)

    def finish(self, downloaded: Downloaded) -> None:
        record = {"task": self._identity, "downloaded": downloaded.model_dump(mode="json")}
        write_record(self.folder / _DONE, record)
        shutil.rmtree(self.folder / _FETCHED, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made if it is missing, is worked in by nobody else while the block runs."""
    lock = _hold(folder)
    try:
        yield
    finally:
        os.close(lock)


def _hold(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while not _locked(lock):
        if time.monotonic() > deadline:
            os.close(lock)
            raise MediaFailure(FailureKind.INTERNAL, "Another process is working on this job.")
        time.sleep(_LOCK_POLL_SECONDS)
    return lock


def _identity(task: DownloadTask) -> str:
    asked = f"{task.url}\n{task.preset}\n{task.options.model_dump_json()}"
    return hashlib.sha256(asked.encode()).hexdigest()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
