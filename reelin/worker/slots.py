"""How much the worker asks Temporal for at a time: as many downloads as it has places, and some more while it stands
still; workflow tasks by who shares its process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import abstractmethod
from collections import Counter

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
from reelin.process import Attention

#: Workflow tasks at once, of those that begin and of those that go on. They are bursts of pure computing: with more,
#: whoever hands in jobs waits for the processor; with fewer, a long list waits for Temporal's answers.
TASKS_OF_A_KIND, TASKS_WHILE_ATTENDED = 4, 1
_ACTIVITIES = 100  # the SDK's own number: these are short


def workflow_tuner(attention: Attention) -> WorkerTuner:
    """For the worker that runs workflows, and activities that are short."""
    short = FixedSizeSlotSupplier(_ACTIVITIES)
    return WorkerTuner.create_composite(
        workflow_supplier=WorkflowSlots(attention),
        activity_supplier=short,
        local_activity_supplier=short,
        nexus_supplier=short,
    )


def download_tuner(places: Places) -> WorkerTuner:
    """For a worker that does downloads only."""
    none_of_these = FixedSizeSlotSupplier(1)
    return WorkerTuner.create_composite(
        workflow_supplier=none_of_these,
        activity_supplier=DownloadSlots(places),
        local_activity_supplier=none_of_these,
        nexus_supplier=none_of_these,
    )


class _Slots(CustomSlotSupplier):
    """Slots that are counted on the event loop, where those who decide about them live."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        self._loop = asyncio.get_running_loop()
        while (seconds := self._seconds_to_wait(ctx)) != 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._change()
        return self._reserve(ctx)

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """For what is to start here at once, without being asked for: nothing is."""
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """Nothing is to be noted: whether a slot waits for work or is at it, it counts."""

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """Called by threads of the SDK's."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._release, ctx.permit)

    @abstractmethod
    def _seconds_to_wait(self, ctx: SlotReserveContext) -> float | None:
        """0: a slot is there. None: until something changes."""

    @abstractmethod
    async def _change(self) -> None:
        """Returns when it is worth looking again."""

    @abstractmethod
    def _reserve(self, ctx: SlotReserveContext) -> SlotPermit: ...

    @abstractmethod
    def _release(self, permit: SlotPermit) -> None: ...


class DownloadSlots(_Slots):
    """A slot is reserved before Temporal is asked, when nobody knows which site the answer will be for; `places`
    decides that then."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self._places = places
        self._reserved = 0

    def _seconds_to_wait(self, ctx: SlotReserveContext) -> float | None:
        regular = self._places.at_once + self._places.guests
        if self._reserved < regular:
            return 0
        if self._reserved > regular:  # one at a time looks for guests
            return None
        return max(0, self._places.opens_at() - time.monotonic())

    async def _change(self) -> None:
        await self._places.stirring()

    def _reserve(self, ctx: SlotReserveContext) -> SlotPermit:
        self._reserved += 1
        return SlotPermit()

    def _release(self, permit: SlotPermit) -> None:
        self._reserved -= 1
        self._places.stir()


class _Permit(SlotPermit):
    """A new workflow's task is asked for by one queue, a known one's by another: neither may take all slots."""

    def __init__(self, *, sticky: bool) -> None:
        self.sticky = sticky


class WorkflowSlots(_Slots):
    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self._attention = attention
        self._reserved: Counter[bool] = Counter()
        self._released = asyncio.Event()

    def _seconds_to_wait(self, ctx: SlotReserveContext) -> float | None:
        seconds = self._attention.seconds_left()
        at_once = TASKS_WHILE_ATTENDED if seconds else TASKS_OF_A_KIND
        return 0 if self._reserved[ctx.is_sticky] < at_once else seconds or None

    async def _change(self) -> None:
        await self._released.wait()

    def _reserve(self, ctx: SlotReserveContext) -> SlotPermit:
        self._reserved[ctx.is_sticky] += 1
        return _Permit(sticky=ctx.is_sticky)

    def _release(self, permit: SlotPermit) -> None:
        if isinstance(permit, _Permit):
            self._reserved[permit.sticky] -= 1
        self._released.set()
        self._released.clear()
