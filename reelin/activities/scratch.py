"""The folder in which a job's partial files live, named after the job."""

from __future__ import annotations

import shutil
from pathlib import Path

from reelin.contracts.jobs import State
from reelin.library import Library

_DONE_WITH = frozenset({State.COMPLETED, State.CANCELLED})


class Scratch:
    """`root` stands on the media folder's file system, so that publishing is a rename."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job_id: str) -> Path:
        """The job's folder, made if it is missing."""
        folder = self._root / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop(self, job_id: str) -> None:
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    async def sweep(self, library: Library) -> int:
        """Drops what a crash left behind of jobs that are done, cancelled or forgotten; returns how many folders.

        What a failed job fetched stays: its retry goes on from there.
        """
        dropped = 0
        for name in self._names():
            job = await library.jobs.find(name)
            if job is None or (job.state in _DONE_WITH and not job.keep_partial):
                self.drop(name)
                dropped += 1
        return dropped

    def _names(self) -> list[str]:
        return [entry.name for entry in self._root.iterdir() if entry.is_dir()] if self._root.is_dir() else []
