"""What one API process knows of the jobs that run or are watched: each one's row, newest progress and version."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reelin.api.events import JobEvent
from reelin.api.figures import Figures
from reelin.api.status import ServiceStatus
from reelin.api.view import LinkMaker, applies, placed, present
from reelin.api.waits import held_up, wait_of
from reelin.contracts.jobs import BATCH_KINDS, Job
from reelin.contracts.progress import ProgressEvent
from reelin.library import ItemRecord, JobRecord


@dataclass(slots=True)
class Entry:
    """`version` is that of the present state; it grows with every change, whatever the clocks of others say.

    `figures` are those of a batch. `placed` has the event as the items of other batches than the job's own see it.
    """

    record: JobRecord | None = None
    progress: ProgressEvent | None = None
    figures: Figures | None = None
    version: int = 0
    changed_at: float = 0.0
    event: JobEvent | None = None
    placed: dict[tuple[str, int], JobEvent] = field(default_factory=dict)


class Board:
    """`clock` counts seconds, from anywhere. `today` is what this process takes for the time."""

    def __init__(
        self,
        links: LinkMaker,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self._links = links
        self._clock = clock
        self._today = today
        self._entries: dict[str, Entry] = {}
        self._service = ServiceStatus()

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, progress: ProgressEvent) -> bool:
        """Remembers the newest progress; says whether it is news."""
        entry = self._entries.setdefault(progress.job_id, Entry())
        known = entry.progress
        if known is not None and known.sender == progress.sender and known.version >= progress.version:
            return False
        if entry.record is not None and not applies(progress, entry.record):
            return False
        entry.progress = progress
        self._changed(entry, self.credible(progress.version))
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
        told = 0 if entry.progress is None else self.credible(entry.progress.version)
        self._changed(entry, max(record.version, told))
        return True

    def credible(self, version: int) -> int:
        """A worker's clock that is ahead is not believed: what others write later has to have a greater version."""
        return min(version, int(self._today() * 1_000_000))

    def figure(self, job_id: str, figures: Figures) -> bool:
        """Remembers how a known batch stands that goes on; says whether that is news."""
        entry = self._entries.get(job_id)
        if entry is None or not self.runs_batch(job_id):
            return False
        if figures.same_as(entry.figures):
            entry.changed_at = self._clock()
            return False
        entry.figures = figures
        self._changed(entry, figures.version)
        return True

    def _changed(self, entry: Entry, natural: int) -> None:
        entry.version = max(natural, entry.version + 1)
        entry.changed_at = self._clock()
        entry.event = None
        entry.placed.clear()

    def stand(self, service: ServiceStatus) -> list[str]:
        """Remembers how the service stands; returns the jobs that wait for something else than before."""
        before, self._service = self._service, service
        if service.holds_up_alike(before):
            return []
        affected = {job_id: entry for job_id, entry in self._entries.items() if _is_held_up(entry, before, service)}
        for entry in affected.values():
            self._changed(entry, entry.version)
        return list(affected)

    def runs_batch(self, job_id: str) -> bool:
        """Whether that is the id of a known batch that goes on."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.record is not None and goes_on(entry.record)

    def is_held(self, job_id: str) -> bool:
        """Whether a batch holds the job back, as far as is known."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.record is not None and entry.record.held

    def figures(self, job_id: str) -> Figures | None:
        entry = self._entries.get(job_id)
        return None if entry is None else entry.figures

    def progress(self, job_id: str) -> ProgressEvent | None:
        """The newest that was heard of the job."""
        entry = self._entries.get(job_id)
        return None if entry is None else entry.progress

    def row_version(self, job_id: str) -> int:
        """The version of the row that was learnt last; 0 if none was."""
        entry = self._entries.get(job_id)
        return 0 if entry is None or entry.record is None else entry.record.version

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
            entry.event = JobEvent.of(self._present(entry, entry.record))
        return entry.event

    def event_in(self, item: ItemRecord) -> JobEvent:
        """The same as an item of a batch, where `item` says which; its row, if the job's is not known."""
        entry = self._entries.get(item.job.id)
        if entry is None or entry.record is None:
            return JobEvent.of(placed(present(item.record, self._links, service=self._service), item))
        if item.settled:  # as the batch left it, and newer than all that was told of it
            return JobEvent.of(placed(present(item.record, self._links, version=entry.version + 1), item))
        place = (item.batch_id, item.position)
        if place == (entry.record.parent_id, entry.record.position):
            event = self.event(item.job.id)
            assert event is not None  # its row is known
            return event
        if place not in entry.placed:
            entry.placed[place] = JobEvent.of(placed(self._present(entry, entry.record), item))
        return entry.placed[place]

    def _present(self, entry: Entry, record: JobRecord) -> Job:
        figures, service = entry.figures, self._service
        return present(record, self._links, entry.progress, version=entry.version, figures=figures, service=service)

    def view(self, record: JobRecord, figures: Figures | None = None) -> Job:
        """A row that was just read, with the newest progress or a batch's newest figures. Nothing is remembered."""
        entry = self._entries.get(record.id)
        if entry is None:
            return present(record, self._links, figures=figures, service=self._service)
        newer = entry.record is None or record.version > entry.record.version
        changed = newer and (entry.progress is None or not applies(entry.progress, record))
        version = entry.version + (changed or not (figures is None or figures.same_as(entry.figures)))
        figures, service = figures or entry.figures, self._service
        return present(record, self._links, entry.progress, version=version, figures=figures, service=service)

    def forget(self, job_id: str) -> None:
        self._entries.pop(job_id, None)

    def idle(self, seconds: float) -> list[str]:
        """Jobs without news for so long."""
        before = self._clock() - seconds
        return [job_id for job_id, entry in self._entries.items() if entry.changed_at < before]


def _is_held_up(entry: Entry, before: ServiceStatus, now: ServiceStatus) -> bool:
    """Whether the job waits for something else, now that the service stands otherwise."""
    if entry.record is None or entry.record.state.final:
        return False
    if entry.record.kind in BATCH_KINDS and held_up(before) != held_up(now):
        return True
    was, is_now = (wait_of(entry.record, service) for service in (before, now))
    return was is not None and is_now is not None and was.model_copy(update={"site": is_now.site}) != is_now


def goes_on(record: JobRecord) -> bool:
    """Whether that is a batch whose items are to be counted."""
    return record.kind in BATCH_KINDS and not record.state.final
