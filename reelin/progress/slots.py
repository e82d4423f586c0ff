"""What was heard of each job and not looked at yet: one slot a job, however much is said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from reelin.contracts.progress import BusEvent, JobDeleted, JobTouched, ProgressEvent

#: Jobs that wait at once. Beyond them progress and touches are dropped, as a bus may: what they tell of is found in the
#: jobs table. Words of deletions take their places.
MOST_JOBS = 10_000


@dataclass(slots=True)
class _Slot:
    """In this order: whatever was said of the job before its deletion does not matter any more."""

    deleted: JobDeleted | None = None
    progress: ProgressEvent | None = None
    touched: JobTouched | None = None

    def put(self, event: BusEvent) -> None:
        match event:
            case ProgressEvent():
                self.progress = event
            case JobTouched():
                self.touched = event
            case JobDeleted():
                self.deleted, self.progress, self.touched = event, None, None

    def events(self) -> list[BusEvent]:
        return [event for event in (self.deleted, self.progress, self.touched) if event is not None]


class Slots:
    """`put` costs whoever publishes the same, whatever becomes of the event: it waits for nobody and tells nobody.

    Of a job's progress the newest is kept, of its changes that there was one, and a deletion whatever follows it. Jobs
    are taken in the order in which they were first heard of.
    """

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, event: BusEvent) -> None:
        slot = self._slots.get(event.job_id)
        if slot is None:
            if len(self._slots) >= MOST_JOBS and not self._make_room(event):
                return
            slot = self._slots[event.job_id] = _Slot()
        slot.put(event)
        self._arrived.set()

    def _make_room(self, event: BusEvent) -> bool:
        """Whether there is room now. The job that has waited longest goes, if it is for a deletion."""
        if not isinstance(event, JobDeleted):
            return False
        del self._slots[next(iter(self._slots))]
        return True

    async def filled(self) -> None:
        """Returns as soon as there is something to take."""
        while not self._slots:
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> list[BusEvent]:
        """All that is known of the job that has waited longest."""
        return self._slots.pop(next(iter(self._slots))).events()
