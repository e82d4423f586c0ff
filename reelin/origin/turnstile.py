"""A site that has had enough: it lets so many requests in, and tells the others to come back later."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator

from reelin.origin.faults import Faults

_SECOND = 1.0


class Turnstile:
    """Of one key. Requests that it refuses do not count: who keeps knocking is not kept out for ever."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._let_in: deque[float] = deque()
        self._inside = 0

    @contextlib.contextmanager
    def passing(self, faults: Faults) -> Iterator[bool]:
        """Whether the request may be answered; it is inside until the block ends."""
        now = self._clock()
        while self._let_in and now - self._let_in[0] >= _SECOND:
            self._let_in.popleft()
        if _full(len(self._let_in), faults.max_rate) or _full(self._inside, faults.max_connections):
            yield False
            return
        self._let_in.append(now)
        self._inside += 1
        try:
            yield True
        finally:
            self._inside -= 1


def _full(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit
