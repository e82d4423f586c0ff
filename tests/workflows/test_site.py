"""A site's workflow on a real server: the arithmetic has tests of its own."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import (
    ASK,
    CONFIGURE,
    DONE,
    WORDS,
    Ask,
    Configure,
    Done,
    Holder,
    HoldersSeen,
    StoredSite,
    Words,
    site_workflow_id,
)
from reelin.contracts.work import WORKFLOW_QUEUE
from tests.workflows.conftest import SUGGEST_NEW_AFTER, SiteHandle, Stage
from tests.workflows.holder import HolderWorkflow

Waiter = WorkflowHandle[HolderWorkflow, None]


class Scene:
    """One site, and jobs that want something of it."""

    def __init__(self, stage: Stage, max_at_once: int) -> None:
        self.stage = stage
        self.name = f"{uuid.uuid4().hex[:8]}.org"
        self.max_at_once = max_at_once
        self.script = stage.site(self.name)
        self.holders: list[Waiter] = []

    async def holder(self) -> Waiter:
        handle = await self.stage.client.start_workflow(
            HolderWorkflow.run, id=f"holder-{uuid.uuid4().hex[:8]}", task_queue=WORKFLOW_QUEUE
        )
        self.holders.append(handle)
        return handle

    async def told(self, *times: int) -> None:
        """Waits until the holders have been let in so often."""
        async with asyncio.timeout(20):
            while await self._told() != times:
                await asyncio.sleep(0.02)

    async def _told(self) -> tuple[int, ...]:
        return tuple([await holder.query(HolderWorkflow.told) for holder in self.holders])

    async def ask(self, job_id: str, *, owner: str = "local", priority: int = 3) -> SiteHandle:
        ask = Ask(job_id=job_id, run=1, owner=owner, priority=priority)
        return await self.stage.tell_site(self.name, ASK, ask, max_at_once=self.max_at_once)

    async def done(self, job_id: str, *, kind: FailureKind | None = None, retry_after: float | None = None) -> None:
        done = Done(job_id=job_id, run=1, success=kind is None, kind=kind, retry_after_seconds=retry_after)
        await self.stage.tell_site(self.name, DONE, done, max_at_once=self.max_at_once)

    async def words(self, *, dones: Sequence[str] = (), asks: Sequence[str] = ()) -> SiteHandle:
        words = Words(
            dones=tuple(Done(job_id=each, run=1, success=True) for each in dones),
            asks=tuple(Ask(job_id=each, run=1, owner="local") for each in asks),
        )
        return await self.stage.tell_site(self.name, WORDS, words, max_at_once=self.max_at_once)

    async def until(self, in_use: int, waiting: int) -> None:
        def stands_so() -> bool:
            last = self.script.situations[-1] if self.script.situations else None
            return last is not None and (last.in_use, last.waiting) == (in_use, waiting)

        await eventually(stands_so, lambda: f"{self.script.situations[-1:]}, wanted {in_use} and {waiting}")

    async def close(self) -> None:
        for identifier in (site_workflow_id(self.name), *(holder.id for holder in self.holders)):
            with contextlib.suppress(RPCError):  # it has ended by itself
                await self.stage.client.get_workflow_handle(identifier).terminate()


async def eventually(condition: Callable[[], bool], said: Callable[[], str] = lambda: "") -> None:
    try:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(said()) from error


async def test_leases_go_round_and_the_row_follows(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    first, second = await scene.holder(), await scene.holder()
    await scene.ask(first.id)
    await scene.ask(second.id)
    await scene.until(1, 1)
    await scene.told(1, 0)
    await scene.done(first.id)
    await scene.until(1, 0)
    await scene.told(1, 1)
    await scene.done(second.id)
    await scene.until(0, 0)
    numbers = [situation.number for situation in scene.script.situations]
    assert numbers == sorted(set(numbers))
    await scene.close()


async def test_many_words_in_one_signal_count_like_many_signals(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=2)
    holders = [await scene.holder() for _ in range(4)]
    ids = [holder.id for holder in holders]
    await scene.words(asks=ids[:3])
    await scene.told(1, 1, 0, 0)
    await scene.until(2, 1)
    await scene.words(dones=ids[:2], asks=ids[3:])
    await scene.told(1, 1, 1, 1)
    await scene.until(2, 0)
    await scene.words(dones=ids[2:])
    await scene.until(0, 0)
    await scene.close()


async def test_a_job_that_has_ended_meanwhile_leaves_its_lease_to_the_next(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    living = await scene.holder()
    await scene.ask("has-ended")
    await scene.ask(living.id)
    await scene.until(1, 0)
    await scene.told(1)
    await scene.close()


async def test_a_holder_that_died_without_a_word_loses_its_lease(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    dead, next_one = await scene.holder(), await scene.holder()
    scene.script.seen = HoldersSeen(gone=(Holder(job_id=dead.id, run=1),))
    await scene.ask(dead.id)
    await scene.ask(next_one.id)
    await eventually(lambda: bool(scene.script.asked))
    assert [holder.job_id for holder in scene.script.asked[0].holders] == [dead.id]
    await scene.until(1, 0)
    await scene.told(1, 1)
    await scene.close()


async def test_a_complaint_shuts_the_site_and_a_probe_opens_it(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=4)
    holders = [await scene.holder() for _ in range(4)]
    await scene.ask(holders[0].id)
    await scene.until(1, 0)
    await scene.done(holders[0].id, kind=FailureKind.RATE_LIMITED, retry_after=100)
    for holder in holders[1:]:
        await scene.ask(holder.id)
    await eventually(lambda: any(each.reason for each in scene.script.situations))
    await scene.until(1, 2)  # when the site may be asked again
    shut = next(each for each in scene.script.situations if each.reason)
    assert shut.reason is FailureKind.RATE_LIMITED and shut.cooldown_until is not None
    assert shut.in_use == 0
    await scene.told(1, 1, 0, 0)
    await scene.done(holders[1].id)
    await eventually(lambda: scene.script.situations[-1].reason is None)
    await scene.close()


async def test_what_people_set_counts_at_once_and_is_read_from_the_row_at_the_start(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=4)
    scene.script.stored = StoredSite(settings=Configure(max_at_once=1))
    holders = [await scene.holder() for _ in range(3)]
    for holder in holders:
        site = await scene.ask(holder.id)
    await scene.until(1, 2)
    scene.script.stored = StoredSite(settings=Configure(max_at_once=3))
    await site.signal(CONFIGURE, Configure(max_at_once=3))
    await scene.until(3, 0)
    await scene.close()


async def test_it_rests_when_nothing_happens_and_comes_back_with_what_it_learnt(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=4)
    holder = await scene.holder()
    site = await scene.ask(holder.id)
    await scene.done(holder.id, kind=FailureKind.BOT_CHECK)
    await site.result()
    written = len(scene.script.situations)
    await scene.ask(holder.id)
    await eventually(lambda: len(scene.script.situations) > written)
    back = scene.script.situations[written]
    assert (back.number, back.reason) == (written + 1, FailureKind.BOT_CHECK)
    assert back.learnt.shut and back.waiting == 1
    await scene.close()


async def test_it_continues_as_new_with_leases_held_and_jobs_in_line(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=2)
    holders = [await scene.holder() for _ in range(3)]
    for holder in holders:
        site = await scene.ask(holder.id)
    await scene.until(2, 1)
    for _ in range(SUGGEST_NEW_AFTER):
        await scene.ask(holders[2].id)
    described = await stage.client.get_workflow_handle(site.id).describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert described.run_id != site.first_execution_run_id, "the server suggested it"
    await scene.told(1, 1, 0)
    await scene.done(holders[0].id)
    await scene.until(2, 0)
    await scene.told(1, 1, 1)
    await scene.close()
