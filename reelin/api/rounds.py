"""Work that is repeated while the program lives, and that never takes more than its share of the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

_log = structlog.get_logger(__name__)


async def in_rounds(work: Callable[[], Awaitable[object]], *, seconds: float, share: float, action: str) -> NoReturn:
    """Does `work` every so many seconds, less often where it would take more than `share` (0 to 1) of the time.

    `action` names it in the log.
    """
    while True:
        begun = time.monotonic()
        try:
            await work()
        except Exception:  # noqa: BLE001  whatever the driver raises: the next round may succeed
            _log.exception("A round failed; the next one follows", action=action)
        spent = time.monotonic() - begun
        await asyncio.sleep(max(seconds - spent, spent * (1 / share - 1)))
