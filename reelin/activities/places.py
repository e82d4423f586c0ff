"""A worker's places: a download has one for as long as it fetches, and one that finds none goes back into the queue."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from reelin.activities.failures import back_to_temporal
from reelin.contracts.work import NO_PLACE

#: So long no place was taken or left: the worker stands still, and looks for sites that have nothing running in it.
STILL_SECONDS = 1.0
#: Who is sent away costs Temporal some milliseconds: one in so many seconds in the long run, some at once.
SECONDS_PER_REFUSAL = 0.5
REFUSALS_AT_ONCE = 8
#: Until Temporal hands it out again: another worker may have a place for it.
RETRY_DELAY = timedelta(seconds=1)


def extra_places(at_once: int) -> int:
    return max(1, at_once // 4)


class Places:
    """`at_once` are for everybody. While those are taken, a site that has nothing running here gets one of `extra`
    more, so that no site waits for others that are slow."""

    def __init__(self, at_once: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.at_once = at_once
        self.extra = extra_places(at_once)
        self.guests = 0  #: On extra places.
        self._clock = clock
        self._taken: Counter[str] = Counter()
        self._moved_at = self._may_refuse_at = clock()
        self._stirred = asyncio.Event()

    @contextlib.contextmanager
    def taken(self, site: str) -> Iterator[None]:
        """A place for the length of the block. Raises what Temporal answers with its own retry: no attempt is used."""
        if self._taken.total() - self.guests < self.at_once:
            seat = self._seated()
        elif self.guests < self.extra and not self._taken[site]:
            seat = self._hosted()
        else:
            self._note_refusal()
            raise back_to_temporal(
                "All places of this worker are taken, and its site has one.", NO_PLACE, after=RETRY_DELAY
            )
        self._taken[site] += 1
        try:
            with seat:
                yield
        finally:
            self._taken -= Counter((site,))  # forgets a site at zero

    def opens_at(self) -> float:
        """By the clock: from when on it is worth looking for somebody who gets an extra place."""
        return max(self._moved_at + STILL_SECONDS, self._may_refuse_at)

    def stir(self) -> None:
        """Wakes those who wait now."""
        self._stirred.set()
        self._stirred.clear()

    async def stirring(self) -> None:
        """Until a guest comes, or somebody says `stir`."""
        await self._stirred.wait()

    @contextlib.contextmanager
    def _seated(self) -> Iterator[None]:
        self._moved_at = self._clock()
        try:
            yield
        finally:
            self._moved_at = self._clock()

    @contextlib.contextmanager
    def _hosted(self) -> Iterator[None]:
        """The search was worth its while: the next one may begin at once."""
        self._may_refuse_at = self._clock()
        self.guests += 1
        self.stir()
        try:
            yield
        finally:
            self.guests -= 1

    def _note_refusal(self) -> None:
        free_of_charge = (REFUSALS_AT_ONCE - 1) * SECONDS_PER_REFUSAL
        self._may_refuse_at = max(self._may_refuse_at, self._clock() - free_of_charge) + SECONDS_PER_REFUSAL
