"""One at a time for each key."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Exclusive:
    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._interested: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[None]:
        """Waits until nobody else holds `key`; a lock lives only as long as somebody wants it."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._interested[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._interested[key] -= 1
            if not self._interested[key]:
                del self._locks[key], self._interested[key]
