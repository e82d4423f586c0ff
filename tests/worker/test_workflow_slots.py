"""How many workflow tasks a worker asks for, and when they become fewer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from reelin.process import Attention
from reelin.worker.slots import TASKS_OF_A_KIND, TASKS_WHILE_ATTENDED, WorkflowSlots
from tests.waiting import PATIENCE


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """Reserves as the SDK does: a task for each slot, of new workflows or of known ones."""

    def __init__(self, slots: WorkflowSlots, *, sticky: bool) -> None:
        self._slots = slots
        self._context: Any = SimpleNamespace(is_sticky=sticky)

    async def reserve(self) -> Any:
        return await asyncio.wait_for(self._slots.reserve_slot(self._context), PATIENCE)

    async def is_full(self) -> bool:
        waiting = asyncio.create_task(self._slots.reserve_slot(self._context))
        await asyncio.sleep(0.05)
        full = not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return full

    def release(self, permit: Any) -> None:
        self._slots.release_slot(SimpleNamespace(permit=permit, slot_info=None))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attention(clock: Clock) -> Attention:
    return Attention(clock=clock)


async def test_each_kind_has_slots_of_its_own(attention: Attention) -> None:
    slots = WorkflowSlots(attention)
    new, known = Queue(slots, sticky=False), Queue(slots, sticky=True)
    for _ in range(TASKS_OF_A_KIND):
        await known.reserve()
    assert await known.is_full()
    for _ in range(TASKS_OF_A_KIND):
        await new.reserve()
    assert await new.is_full()


async def test_a_released_slot_goes_to_whoever_waits(attention: Attention) -> None:
    new = Queue(WorkflowSlots(attention), sticky=False)
    permits = [await new.reserve() for _ in range(TASKS_OF_A_KIND)]
    waiting = asyncio.create_task(new.reserve())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    new.release(permits[0])
    await waiting


async def test_there_are_fewer_while_somebody_hands_jobs_in(attention: Attention, clock: Clock) -> None:
    new = Queue(WorkflowSlots(attention), sticky=False)
    attention.called()
    for _ in range(TASKS_WHILE_ATTENDED):
        await new.reserve()
    assert await new.is_full()
    clock.now += Attention.SECONDS
    for _ in range(TASKS_OF_A_KIND - TASKS_WHILE_ATTENDED):
        await new.reserve()
    assert await new.is_full()


async def test_who_waits_for_the_processor_goes_on_when_nobody_comes_any_more() -> None:
    attention = Attention()
    new = Queue(WorkflowSlots(attention), sticky=False)
    attention.called()
    for _ in range(TASKS_OF_A_KIND):
        await new.reserve()
