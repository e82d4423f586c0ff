"""One client's mailbox. However slow the client is, it holds at most one event per job: the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from reelin.api.events import LiveEvent


@dataclass(frozen=True, slots=True)
class Letter:
    """`since` is the version of the first event that waited in this place: letters are taken in its order, so that a
    client that has this one has missed nothing older. `snapshot` says that it sees the job for the first time."""

    event: LiveEvent
    since: int
    snapshot: bool = False


class Subscription:
    """Yields letters until it is closed. `transport` names the kind of client, for the metrics."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.closed = False
        self._waiting: dict[str, Letter] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: LiveEvent, *, snapshot: bool = False) -> None:
        """Never waits. A newer event takes the place of the older one of its job."""
        known = self._waiting.get(event.job_id)
        if known is None:
            self._waiting[event.job_id] = Letter(event, event.version, snapshot)
        elif known.event.version < event.version:
            self._waiting[event.job_id] = replace(known, event=event, snapshot=known.snapshot or snapshot)
        elif snapshot and not known.snapshot:
            self._waiting[event.job_id] = replace(known, snapshot=True)
        self._arrived.set()

    def accepts(self, job_id: str, limit: int) -> bool:
        """Whether an event of the job finds a place in a mailbox that is to hold so many letters."""
        return len(self._waiting) < limit or job_id in self._waiting

    def prime(self, events: Iterable[LiveEvent], *, snapshot: bool = True) -> None:
        """Adds the present state of many jobs, sorted in among what waits already."""
        for event in events:
            self.put(event, snapshot=snapshot)
        self._waiting = dict(sorted(self._waiting.items(), key=lambda item: item[1].since))

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
