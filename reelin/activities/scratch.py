"""The folder in which a job's partial files live, named after the job."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

import structlog

from reelin.contracts.jobs import State
from reelin.engine.filethreads import FileThreads
from reelin.library import JobRecord, Library

log = structlog.get_logger(__name__)

_DONE_WITH = frozenset({State.COMPLETED, State.CANCELLED})
#: A folder of a job that this database does not know may be another installation's, on a shared media folder.
_STRANGER_SECONDS = 24 * 3600

PLAN_SUFFIX = ".publish.json"


def plan_of(folder: Path) -> Path:
    """Where the plan to publish that job's files stands: beside its folder, out of its child's reach."""
    return folder.with_name(f"{folder.name}{PLAN_SUFFIX}")


class Scratch:
    """`root` stands on the media folder's file system, so that publishing is a rename. All calls on files are made in
    `threads`."""

    def __init__(self, root: Path, threads: FileThreads) -> None:
        self._root = root
        self._threads = threads

    def path(self, job_id: str) -> Path:
        return self._root / job_id

    async def folder(self, job_id: str) -> Path:
        """The job's folder, made if it is missing: not where all of the media folder is, which is then not mounted."""
        folder = self._root / job_id
        await self._threads.run(_make_within, self._root, folder)
        return folder

    async def drop(self, job_id: str) -> None:
        """What resists, or a disk that does not answer, is left to the next sweep: no job's outcome waits for it."""
        try:
            await self._threads.run(self._drop, job_id)
        except OSError as error:
            log.warning("partial files could not be dropped", job_id=job_id, reason=error.strerror)

    async def drop_once(self, job_id: str, occasion: str) -> None:
        """Drops the folder, but not again when the same attempt is run anew after a crash. Raises OSError."""
        await self._threads.run(self._drop_once, job_id, occasion)

    async def sweep(self, library: Library) -> int:
        """Drops what a crash or a deletion left behind of jobs that are done, cancelled or forgotten; returns how
        many folders. What a failed job fetched stays: its retry goes on from there."""
        folders = await self._threads.run(self._folders)
        jobs = {job.id: job for job in await library.jobs.many(folders)}
        dropped = 0
        for name in folders:
            if await self._threads.run(self._drop_unneeded, name, jobs.get(name)):
                dropped += 1
        return dropped

    def _drop(self, job_id: str) -> None:
        plan_of(self._root / job_id).unlink(missing_ok=True)
        shutil.rmtree(self._root / job_id, ignore_errors=True)
        self._note(job_id).unlink(missing_ok=True)

    def _drop_once(self, job_id: str, occasion: str) -> None:
        note = self._note(job_id)
        if note.exists() and note.read_text(encoding="utf-8") == occasion:
            return
        self._drop(job_id)
        self._root.mkdir(exist_ok=True)
        note.write_text(occasion, encoding="utf-8")

    def _drop_unneeded(self, name: str, job: JobRecord | None) -> bool:
        folder = self._root / name
        if not folder.is_dir() or not _done_with(job, folder) or _in_use(folder):
            return False
        self._drop(name)
        return True

    def _note(self, job_id: str) -> Path:
        return self._root / f"{job_id}.fresh"

    def _folders(self) -> list[str]:
        """Of jobs: what begins with a dot is the workers' own."""
        if not self._root.is_dir():
            return []
        return [entry.name for entry in self._root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _make_within(root: Path, folder: Path) -> None:
    root.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)


def _done_with(job: JobRecord | None, folder: Path) -> bool:
    if job is None:
        return time.time() - folder.stat().st_mtime > _STRANGER_SECONDS
    return job.state in _DONE_WITH and not job.keep_partial


def _in_use(folder: Path) -> bool:
    """Whether a child of the engine works there: it holds the folder's lock."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
