"""Signs of life of short activities: without them Temporal waits out their whole time when a worker is killed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

#: The first one comes after as long, so that what is done in milliseconds costs Temporal nothing.
PULSE_SECONDS = 2.0


class Pulse(Interceptor):
    """For workers whose activities say nothing themselves. What hangs is ended by its start-to-close timeout."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Pulsing(next)


class _Pulsing(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        pulse = asyncio.create_task(_pulse())
        try:
            return await super().execute_activity(input)
        finally:
            pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulse


async def _pulse() -> None:
    while True:
        await asyncio.sleep(PULSE_SECONDS)
        activity.heartbeat()
