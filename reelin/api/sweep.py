"""Looks at the batches that someone watches, and tells how they stand whenever that has changed.

A batch has no events of its own: what its clients see are its items, counted in the database, and what those that run
report on the bus. Nothing is counted while nobody watches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reelin.api.audience import Audience
from reelin.api.board import Board
from reelin.api.figures import Figures, Pace, Part, add_up, items_done
from reelin.api.itemfeeds import ItemFeeds
from reelin.api.rounds import in_rounds
from reelin.contracts.jobs import BATCH_KINDS, Phase, Progress, State
from reelin.library import BegunItem, Library, Standing, added_up

SWEEP_SECONDS = 0.5
#: A batch in which nothing happens is looked at less and less often, down to this.
QUIET_SECONDS = 4.0
#: At most so much of the time goes into looking: 100,000 items take some 20 ms.
SHARE = 0.1
#: A playlist in a batch is looked into; one in that playlist would be a third level, which is not made.
DEEPEST = 2


@dataclass(slots=True)
class _Watched:
    pace: Pace = field(default_factory=Pace)
    parts: dict[str, Part] = field(default_factory=dict)  #: of what has begun, as of the last look
    looked_at: float = float("-inf")
    rest: float = SWEEP_SECONDS


class Sweep:
    """`publish` tells those who watch the job what the board has of it."""

    def __init__(
        self,
        library: Library,
        board: Board,
        audience: Audience,
        feeds: ItemFeeds,
        publish: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._board = board
        self._audience = audience
        self._feeds = feeds
        self._publish = publish
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._looks: dict[str, asyncio.Future[Figures]] = {}

    async def run(self) -> None:
        await in_rounds(self.round, seconds=SWEEP_SECONDS, share=SHARE, action="hub_sweep")

    async def round(self) -> None:
        """One look at each batch that is watched and due."""
        batches = await self._batches()
        self._watched = {batch_id: self._watched.get(batch_id) or _Watched() for batch_id in batches}
        for batch_id, watched in tuple(self._watched.items()):
            if self._clock() - watched.looked_at < watched.rest - SWEEP_SECONDS / 10:
                continue
            watched.looked_at = self._clock()
            news = self._board.figure(batch_id, await self.figures(batch_id))
            watched.rest = SWEEP_SECONDS if news else min(watched.rest * 2, QUIET_SECONDS)
            if news:
                self._publish(batch_id)

    def wake(self, batch_id: str) -> None:
        """Something has happened to the batch: it is looked at in the next round."""
        if batch_id in self._watched:
            self._watched[batch_id].rest = SWEEP_SECONDS

    async def current(self, batch_id: str) -> Figures:
        """How the batch stands. Those who ask in one moment share a look, and nobody else does: whoever asks after a
        change sees it."""
        known = self._looks.get(batch_id)
        if known is None:
            known = self._looks[batch_id] = asyncio.ensure_future(self._look_again(batch_id))
        return await asyncio.shield(known)

    async def _look_again(self, batch_id: str) -> Figures:
        await asyncio.sleep(0)  # the others of this moment ask too
        del self._looks[batch_id]  # from here on a change may be missed by this look
        return await self.figures(batch_id)

    async def figures(self, batch_id: str, *, depth: int = 1) -> Figures:
        newest = await self._library.jobs.newest_version()
        standing = await self._library.batches.standing(batch_id)
        watched = self._watched.get(batch_id)
        before = watched.parts if watched else {}
        begun = {item.job_id: await self._part(item, before.get(item.job_id), depth) for item in standing.begun}
        parts, pace = list(begun.values()), None
        if watched is not None:
            watched.parts = begun
            watched.pace.note(self._clock(), items_done(standing, parts))
            moves = standing.counts.running or not standing.counts.paused
            pace = watched.pace.items_per_second if moves else None
        version = self._version(standing, newest, parts)
        waits = tuple(added_up([*standing.waits, *(wait for part in parts for wait in part.waits)]))
        return Figures(counts=standing.counts, progress=add_up(standing, parts, pace), waits=waits, version=version)

    def _version(self, standing: Standing, newest: int, parts: list[Part]) -> int:
        """`newest` was read before the look: what is written while it is taken is newer than what it shows. So is the
        end of a batch that this process has not heard of yet, whichever process tells it."""
        version = max(newest, *(part.version for part in parts), 0)
        return version if standing.ended is None else min(version, standing.ended - 1)

    async def _part(self, item: BegunItem, before: Part | None, depth: int) -> Part:
        """One that waits or is paused is as far as it was when it was last seen to run."""
        if item.kind in BATCH_KINDS:
            within = await self.figures(item.job_id, depth=depth + 1) if depth < DEEPEST else None
            shown = (within and within.progress) or Progress()
            waits = within.waits if within is not None and item.state is State.RUNNING else ()
            return Part(shown, item.positions, version=within.version if within else 0, waits=waits)
        newest = self._board.progress(item.job_id)
        if item.state is not State.RUNNING or newest is None:
            return before.at_rest() if before is not None else Part(Progress(), item.positions)
        fetched = newest.phase not in (Phase.EXTRACTING, Phase.DOWNLOADING)
        return Part(newest.progress, item.positions, fetched=fetched, version=self._board.credible(newest.version))

    async def _batches(self) -> list[str]:
        """Those that are watched, by name, as items or with everything, and whose row is known."""
        all_of_them = await self._library.batches.unfinished_ids() if self._audience.everything else ()
        watched = {*all_of_them, *self._audience.named, *self._feeds.in_flight}
        return [each for each in watched if self._board.runs_batch(each)]
