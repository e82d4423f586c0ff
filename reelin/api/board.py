"""What one API process knows of the jobs that run or are watched: each one's row, newest progress and version."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from reelin.api.events import JobEvent
from reelin.api.view import LinkMaker, applies, present
from reelin.contracts.jobs import Job
from reelin.contracts.progress import ProgressEvent
from reelin.library import JobRecord


@dataclass(slots=True)
class Entry:
    """`version` is that of the present state; it grows with every change, whatever the clocks of others say."""

    record: JobRecord | None = None
    progress: ProgressEvent | None = None
    version: int = 0
    changed_at: float = 0.0
    event: JobEvent | None = None


class Board:
    """`clock` counts seconds, from anywhere."""

    def __init__(self, links: LinkMaker, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._links = links
        self._clock = clock
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, progress: ProgressEvent) -> bool:
        """Remembers the newest progress; says whether it is news."""
        entry = self._entries.setdefault(progress.job_id, Entry())
        known = entry.progress
        if known is not None and known.version >= progress.version:
            return False
        if entry.record is not None and not applies(progress, entry.record):
            return False
        entry.progress = progress
        self._changed(entry, progress.version)
        return True

    def learn(self, record: JobRecord) -> bool:
        """Remembers the row; says whether it is newer than the one known."""
        entry = self._entries.setdefault(record.id, Entry())
        if entry.progress is not None and not applies(entry.progress, record):
            entry.progress = None
        if entry.record is not None and entry.record.version >= record.version:
            entry.changed_at = self._clock()
            return False
        entry.record = record
        natural = record.version if entry.progress is None else max(record.version, entry.progress.version)
        self._changed(entry, natural)
        return True

    def _changed(self, entry: Entry, natural: int) -> None:
        entry.version = max(natural, entry.version + 1)
        entry.changed_at = self._clock()
        entry.event = None

    def knows(self, job_id: str, version: int) -> bool:
        """Whether the row of that version, or a newer one, was learnt."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.record is not None and entry.record.version >= version

    def has_progress(self, job_id: str) -> bool:
        entry = self._entries.get(job_id)
        return entry is not None and entry.progress is not None

    def version(self, job_id: str) -> int:
        entry = self._entries.get(job_id)
        return 0 if entry is None else entry.version

    def event(self, job_id: str) -> JobEvent | None:
        """The job's present state, built once; None while its row is not known."""
        entry = self._entries.get(job_id)
        if entry is None or entry.record is None:
            return None
        if entry.event is None:
            entry.event = JobEvent.of(present(entry.record, self._links, entry.progress, version=entry.version))
        return entry.event

    def view(self, record: JobRecord) -> Job:
        """A row that was just read, with the newest progress. Nothing is remembered."""
        entry = self._entries.get(record.id)
        if entry is None:
            return present(record, self._links)
        newer = entry.record is None or record.version > entry.record.version
        changed = newer and (entry.progress is None or not applies(entry.progress, record))
        return present(record, self._links, entry.progress, version=entry.version + changed)

    def forget(self, job_id: str) -> None:
        self._entries.pop(job_id, None)

    def idle(self, seconds: float) -> list[str]:
        """Jobs without news for so long."""
        before = self._clock() - seconds
        return [job_id for job_id, entry in self._entries.items() if entry.changed_at < before]
