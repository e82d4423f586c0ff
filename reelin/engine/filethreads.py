"""Threads for calls that touch files: neither an event loop nor other threads wait for a disk that does not answer."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: A network share that answers at all does so within this time; a disk that has to spin up does too.
LONGEST_CALL_SECONDS = 30.0
_THREADS = 8
#: Calls that wait for a thread and for the disk, most of them left behind: more would only wait longer.
_MOST_CALLS = 1_000


class FileThreads:
    """A few threads, which the process has for files alone. `name` is what a thread dump shows."""

    def __init__(self, name: str, *, longest_call_seconds: float = LONGEST_CALL_SECONDS) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=name)
        self._longest_call_seconds = longest_call_seconds
        self._calls: set[Future[Any]] = set()
        self._alone: dict[str, Future[Any]] = {}

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises TimeoutError (an OSError) where the disk does not answer. The call itself cannot be broken off: it is
        left behind, and ends when the disk answers."""
        return await self._answer(self._begin(call, *args, **kwargs), self._longest_call_seconds)

    async def run_alone(self, key: str, seconds: float, call: Callable[[], T]) -> T:
        """The same for what must not run twice at once. While a call of this `key` that was left behind has not ended,
        the next one raises TimeoutError at once. `seconds` are added to what is waited for."""
        if key in self._alone and not self._alone[key].done():
            raise _silent()
        self._alone[key] = running = self._begin(call)
        try:
            return await self._answer(running, self._longest_call_seconds + seconds)
        finally:
            self._alone = {name: call for name, call in self._alone.items() if not call.done()}

    def _begin(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if len(self._calls) >= _MOST_CALLS:
            raise _silent()
        running = self._threads.submit(call, *args, **kwargs)
        self._calls.add(running)
        running.add_done_callback(self._calls.discard)
        return running

    async def _answer(self, running: Future[T], seconds: float) -> T:
        answer = asyncio.wrap_future(running)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody asks any more
        done, _ = await asyncio.wait({answer}, timeout=seconds)
        if not done:
            raise _silent()
        return answer.result()


def _silent() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "The disk does not answer")
