"""How many downloads the worker asks Temporal for: as many as it has places, and some more while it stands still."""

from __future__ import annotations

import asyncio
import contextlib
import time

from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
)

from reelin.activities import Places


def download_tuner(places: Places) -> WorkerTuner:
    """For a worker that does downloads only."""
    none_of_these = FixedSizeSlotSupplier(1)
    return WorkerTuner.create_composite(
        workflow_supplier=none_of_these,
        activity_supplier=DownloadSlots(places),
        local_activity_supplier=none_of_these,
        nexus_supplier=none_of_these,
    )


class DownloadSlots(CustomSlotSupplier):
    """A slot is reserved before Temporal is asked, when nobody knows which site the answer will be for; `places`
    decides that then."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._reserved = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        self._loop = asyncio.get_running_loop()
        while (seconds := self._seconds_to_wait()) != 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._places.stirring()
        self._reserved += 1
        return SlotPermit()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """For activities on the workflow's own queue, of which there are none here."""
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """Nothing is to be noted: whether a slot waits for work or is at it, it counts."""

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """Called by threads of the SDK's."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._reserved -= 1
        self._places.stir()

    def _seconds_to_wait(self) -> float | None:
        """0: a slot is there. None: until one is released."""
        regular = self._places.at_once + self._places.guests
        if self._reserved < regular:
            return 0
        if self._reserved > regular:  # one at a time looks for guests
            return None
        return max(0, self._places.opens_at() - time.monotonic())
