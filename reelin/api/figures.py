"""What a batch's items come to: counts by state, and one progress for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reelin.contracts.jobs import Counts, ItemsWait, Progress
from reelin.contracts.model import Message
from reelin.library import Standing

#: What a batch's pace is measured over.
PACE_SECONDS = 30.0
#: A pace measured over less is a guess.
SHORTEST_SECONDS = 2.0


class Figures(Message):
    """`version` is the least that the job may carry which shows them."""

    counts: Counts
    progress: Progress | None = None
    waits: tuple[ItemsWait, ...] = ()
    version: int = 0

    def same_as(self, other: Figures | None) -> bool:
        """Whether clients would see the same."""
        mine = (self.counts, self.progress, self.waits)
        return other is not None and mine == (other.counts, other.progress, other.waits)


@dataclass(frozen=True, slots=True)
class Part:
    """One job that has begun, at `positions` of the batch. `fetched`: its bytes are there, the rest goes on. `version`
    is that of its newest progress, `waits` are those of a playlist's items."""

    progress: Progress
    positions: int = 1
    fetched: bool = False
    version: int = 0
    waits: tuple[ItemsWait, ...] = ()

    @property
    def fraction(self) -> float:
        return self.positions * (1.0 if self.fetched else (self.progress.percent or 0.0) / 100)

    def at_rest(self) -> Part:
        """The same of a job that stands still: its bytes are kept."""
        return replace(self, progress=self.progress.model_copy(update={"bytes_per_second": None}))


class Pace:
    """How many items a second get done, by the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def note(self, moment: float, done: float) -> None:
        """`done` items at `moment`, in seconds from anywhere. What was put back in line begins a new count."""
        if self._seen and done < self._seen[-1][1] - 1:
            self._seen.clear()
        self._seen.append((moment, done))
        while moment - self._seen[0][0] > PACE_SECONDS:
            self._seen.popleft()

    @property
    def items_per_second(self) -> float | None:
        """None while it is not known, and when nothing moves."""
        if not self._seen:
            return None
        (begun, before), (ended, after) = self._seen[0], self._seen[-1]
        if ended - begun < SHORTEST_SECONDS or after <= before:
            return None
        return (after - before) / (ended - begun)


def over(counts: Counts) -> int:
    """The items that are through, whatever came of them."""
    return counts.completed + counts.skipped + counts.failed + counts.cancelled


def items_done(standing: Standing, parts: Sequence[Part]) -> float:
    """Those that run count by how far they are."""
    return over(standing.counts) + sum(part.fraction for part in parts)


def add_up(standing: Standing, parts: Sequence[Part], items_per_second: float | None = None) -> Progress | None:
    """None for a batch without items. `total_bytes` is an estimate: by what is done and what runs."""
    total = standing.counts.total
    if not total:
        return None
    done = items_done(standing, parts)
    rates = [part.progress.bytes_per_second for part in parts if part.progress.bytes_per_second is not None]
    total_bytes = _estimate(standing, parts)
    return Progress(
        percent=round(min(100 * done / total, 100.0), 2),
        downloaded_bytes=_downloaded(standing, parts),
        total_bytes=total_bytes,
        total_is_estimate=total_bytes is not None,
        bytes_per_second=sum(rates) if rates else None,
        eta_seconds=round(max(total - done, 0.0) / items_per_second, 1) if items_per_second else None,
    )


def _downloaded(standing: Standing, parts: Sequence[Part]) -> int:
    return standing.done_bytes + sum(part.progress.downloaded_bytes * part.positions for part in parts)


def _estimate(standing: Standing, parts: Sequence[Part]) -> int | None:
    """What is known, and the mean of it for each item of which nothing is known yet."""
    counts = standing.counts
    known = [
        (part.progress.total_bytes * part.positions, part.positions) for part in parts if part.progress.total_bytes
    ]
    sized = counts.completed + counts.skipped + sum(positions for _, positions in known)
    size = standing.done_bytes + sum(total_bytes for total_bytes, _ in known)
    if not sized or not size:
        return None
    unsized = counts.total - sized - counts.failed - counts.cancelled
    return max(size + round(size / sized * max(unsized, 0)), _downloaded(standing, parts))
