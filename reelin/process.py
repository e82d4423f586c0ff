"""What every long-running program of Reelin does: run a loop, stop on a signal, keep its background tasks alive."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import structlog
import uvloop

from reelin.filelimit import raise_limit

log = structlog.get_logger(__name__)

#: What runs a service (docker, systemd) kills it after 10 s or later. Going earlier, the log can say so.
STOP_WITHIN_SECONDS = 8.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a program on a fast event loop, with as many files as it may have: clients and downloads need one each."""
    raise_limit()
    uvloop.run(main)


def spare_the_collector() -> None:
    """Once everything is built: full collections over all that was loaded would pause the event loop for 60 to 160 ms
    again and again, to find nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class Attention:
    """Whether people hand jobs in just now: what shares their process should then leave them the processor."""

    SECONDS = 0.5

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = -math.inf

    def called(self) -> None:
        """Somebody has handed one in."""
        self._until = self._clock() + self.SECONDS

    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock())


@contextlib.asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """An event that the first SIGINT or SIGTERM sets. A second one ends the process at once, and so does a stop that
    takes too long: nothing is lost by it."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def on_signal() -> None:
        if stopped.is_set():
            os._exit(130)
        stopped.set()
        _end_in_time()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _end_in_time() -> None:
    """On a thread: what hangs may be the loop, or a thread that the interpreter waits for when the loop has ended."""
    timer = threading.Timer(STOP_WITHIN_SECONDS, _end_now)
    timer.daemon = True
    timer.start()


def _end_now() -> None:
    log.error("could not stop in time; ending at once", seconds=STOP_WITHIN_SECONDS)
    os._exit(1)


@contextlib.asynccontextmanager
async def in_background(*jobs: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs each of `jobs` while the block runs; one that fails is logged and started again."""
    tasks = [asyncio.create_task(_keep_running(job)) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(job: Callable[[], Awaitable[None]]) -> None:
    name = getattr(job, "__qualname__", repr(job))
    while True:
        try:
            await job()
            return
        except Exception:  # the dispatcher must outlive a locked database, whatever the driver calls it
            log.exception("a background task failed; starting it again", task=name)
            await asyncio.sleep(1)
