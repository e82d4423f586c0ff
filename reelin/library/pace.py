"""How many rows a transaction takes: so many that others wait for some milliseconds, however fast the machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: What others wait for at most, if it goes as planned.
_LOCKED_SECONDS = 0.02
#: The part of the time that is left to others: another process asks for SQLite's lock only now and then.
_SHARE_OF_OTHERS = 0.2
_FEWEST, _MOST = 250, 2000


class Pace:
    """`at_a_time` follows what the last transaction took."""

    def __init__(self) -> None:
        self.at_a_time = _FEWEST
        self._took = 0.0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Around a transaction that takes `at_a_time` rows."""
        began = time.perf_counter()
        yield
        self._took = time.perf_counter() - began
        planned = int(self.at_a_time * _LOCKED_SECONDS / max(self._took, 0.001))
        self.at_a_time = max(_FEWEST, min(planned, 2 * self.at_a_time, _MOST))

    async def give_way(self) -> None:
        """Between two transactions."""
        await asyncio.sleep(min(self._took * _SHARE_OF_OTHERS, _LOCKED_SECONDS))
