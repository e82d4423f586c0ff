"""How tests wait, and how they judge what is promised in seconds.

A test waits for what it is about: a state, an event, a request at the origin. How long that takes is the machine's
business: `PATIENCE` only ends a test that would hang, with a word on what it waited for. Where seconds are the promise,
they are seconds of a machine that does nothing else: `promised` measures what the machine is worth at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from inspect import isawaitable

#: Less than pytest's own limit for a test, so that the test itself can say what did not come.
PATIENCE = 90.0
#: So much processor time is asked for to see how long it takes to get it.
_SAMPLE_SECONDS = 0.04


def until(condition: Callable[[], object], said: Callable[[], object] | str = "it did not come to that") -> None:
    """Waits for `condition()` to be true. `said`: what to say if it never is."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, said if isinstance(said, str) else said()
        time.sleep(0.02)


async def eventually(
    condition: Callable[[], object | Awaitable[object]], said: Callable[[], object] | str = "it did not come to that"
) -> None:
    """The same on an event loop, which goes on meanwhile; the condition may be awaitable."""
    deadline = time.monotonic() + PATIENCE
    while True:
        met = condition()
        if isawaitable(met):
            met = await met
        if met:
            return
        assert time.monotonic() < deadline, said if isinstance(said, str) else said()
        await asyncio.sleep(0.005)


def slowdown() -> float:
    """How many seconds pass just now for each second of processor time that this thread gets: 1 where nobody else
    wants any."""
    began, used = time.perf_counter(), time.thread_time()
    while (worked := time.thread_time() - used) < _SAMPLE_SECONDS:
        pass
    return max(1.0, (time.perf_counter() - began) / worked)


@contextlib.contextmanager
def promised(seconds: float) -> Iterator[None]:
    """What the block does has to be done in so many seconds of a machine that does nothing else."""
    slow = slowdown()
    began = time.perf_counter()
    yield
    took = time.perf_counter() - began
    slow = max(slow, slowdown())
    assert took < seconds * slow, f"it took {took:.2f} s; {seconds} are promised, on a machine {slow:.1f} times as fast"
