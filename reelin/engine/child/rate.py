"""Bytes per second over the last seconds."""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 3.0
_SAMPLE_SECONDS = 0.1


class Rate:
    """What was on disk before does not count as fetched: `skip` it."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])
        self._skipped = 0

    def skip(self, size: int) -> None:
        self._skipped += size

    def note(self, now: float, total_bytes: int) -> None:
        if now - self._samples[-1][0] < _SAMPLE_SECONDS:
            return
        self._samples.append((now, total_bytes - self._skipped))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def bytes_per_second(self) -> float | None:
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return max(0.0, (last - first) / (ended - began)) if ended > began else None
