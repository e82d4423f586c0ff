"""One client's mailbox. However slow the client is, it holds at most one event per job: the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from reelin.api.events import DeletedEvent, LiveEvent


@dataclass(frozen=True, slots=True)
class Letter:
    """A client that has this one has, or has no use for, whatever changed up to the version `position`, in the order of
    the jobs table: it may read on from there. `snapshot` says that it sees the job for the first time."""

    event: LiveEvent
    position: int
    snapshot: bool = False


class Subscription:
    """Yields letters until it is closed, in the order in which their places were taken. `transport` names the kind of
    client, for the metrics.

    `position` is that of the next letter. Whoever fills the mailbox moves it on, once all that changed up to there is
    in here; it is a version that was read in the table, and never a moment.
    """

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.closed = False
        self.position = 0
        self._waiting: dict[str, Letter] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def move_on(self, position: int) -> None:
        self.position = max(self.position, position)

    def put(self, event: LiveEvent, *, snapshot: bool = False, position: int | None = None) -> None:
        """Never waits. A newer event takes the place of the older one of its job; what was deleted has no older one."""
        known = self._waiting.get(event.job_id)
        if known is None:
            place = self.position if position is None else position
            self._waiting[event.job_id] = Letter(event, place, snapshot)
        elif _supersedes(event, known.event):
            self._waiting[event.job_id] = replace(known, event=event, snapshot=known.snapshot or snapshot)
        elif snapshot and not known.snapshot:
            self._waiting[event.job_id] = replace(known, snapshot=True)
        self._arrived.set()

    def accepts(self, job_id: str, limit: int) -> bool:
        """Whether an event of the job finds a place in a mailbox that is to hold so many letters."""
        return len(self._waiting) < limit or job_id in self._waiting

    def prime(self, present: Iterable[tuple[LiveEvent, int]]) -> None:
        """Adds the present state of many jobs, each with the version of its row, sorted in among what waits already: a
        client that goes in the middle of them goes on there."""
        for event, version in present:
            self.put(event, snapshot=True, position=max(version - 1, self.position))
        self._waiting = dict(sorted(self._waiting.items(), key=lambda item: item[1].position))

    @property
    def next_position(self) -> int:
        """Of the letter that is taken next."""
        waiting = next(iter(self._waiting.values()), None)
        return self.position if waiting is None else waiting.position

    def take(self) -> Letter | None:
        """The letter that has waited longest, or None."""
        if not self._waiting:
            return None
        return self._waiting.pop(next(iter(self._waiting)))

    def drop(self, job_id: str) -> None:
        self._waiting.pop(job_id, None)

    def close(self) -> None:
        """Ends the iteration at once: what waits is not sent any more."""
        self.closed = True
        self._arrived.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Letter:
        while not self.closed:
            letter = self.take()
            if letter is not None:
                return letter
            self._arrived.clear()
            await self._arrived.wait()
        raise StopAsyncIteration


def _supersedes(event: LiveEvent, known: LiveEvent) -> bool:
    if isinstance(event, DeletedEvent) or isinstance(known, DeletedEvent):
        return True  # versions begin anew with a job that comes again
    return event.version > known.version
