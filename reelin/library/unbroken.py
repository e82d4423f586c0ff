"""A transaction that has begun is brought to its end, even if whoever asked for it is cancelled meanwhile.

A cancel that lands in the middle of a statement would orphan the connection, and with it SQLite's write lock: every
other writer would then wait for nobody.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` in a task of its own. A cancel is passed on to the caller, but only after `work` has ended."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001  it is raised below, by whoever takes the result
            break
    if cancelled is not None:
        task.exception()  # whoever asked is gone: nobody else will look at it
        raise cancelled
    return task.result()


def unbroken(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """For the methods of stores, each of which is one transaction."""

    @functools.wraps(method)
    async def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        return await to_its_end(method(*args, **kwargs))

    return whole
