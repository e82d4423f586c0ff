"""A site's workflow on a real server: the arithmetic has tests of its own."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import CONFIGURE, Ask, Configure, Done, StoredSite, Words, site_workflow_id
from tests.waiting import PATIENCE
from tests.workflows.conftest import SUGGEST_NEW_AFTER, SiteHandle, Stage


class Scene:
    """One site, and the rows of the jobs that want something of it."""

    def __init__(self, stage: Stage, max_at_once: int) -> None:
        self.stage = stage
        self.name = f"{uuid.uuid4().hex[:8]}.org"
        self.max_at_once = max_at_once
        self.script = stage.site(self.name)

    async def ask(self, *names: str, priority: int = 3) -> SiteHandle:
        """As whoever puts them in line does: the rows first, then a word."""
        asks = self.line_up(*names, priority=priority)
        return await self.tell(Words(asks=asks))

    def line_up(self, *names: str, priority: int = 3) -> tuple[Ask, ...]:
        since = float(len(self.script.waiting))
        asks = tuple(Ask(job_id=name, run=1, owner="local", priority=priority, since=since) for name in names)
        self.script.waiting |= {ask.job_id: ask for ask in asks}
        return asks

    async def done(self, *names: str, kind: FailureKind | None = None, retry_after: float | None = None) -> SiteHandle:
        dones = tuple(
            Done(
                job_id=name,
                lease=self.script.held.pop(name).number,
                success=kind is None,
                kind=kind,
                retry_after_seconds=retry_after,
            )
            for name in names
        )
        return await self.tell(Words(dones=dones))

    async def tell(self, words: Words) -> SiteHandle:
        return await self.stage.tell_site(self.name, words, max_at_once=self.max_at_once)

    async def until(self, *held: str) -> None:
        """These, and nobody else, have leases."""
        await eventually(
            lambda: set(self.script.held) == set(held), lambda: f"{sorted(self.script.held)}, wanted {held}"
        )

    async def close(self) -> None:
        with contextlib.suppress(RPCError):  # it has ended by itself
            await self.stage.client.get_workflow_handle(site_workflow_id(self.name)).terminate()


async def eventually(condition: Callable[[], bool], said: Callable[[], str] = lambda: "") -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(said()) from error


async def until_idle(site: SiteHandle) -> None:
    """It has heard all that it asked for, and waits."""
    async with asyncio.timeout(60):
        while True:
            raw = (await site.describe()).raw_description
            if not raw.pending_activities and not raw.HasField("pending_workflow_task"):
                return
            await asyncio.sleep(0.02)


def granted(scene: Scene) -> Sequence[str]:
    return [lease.job_id for lease in scene.script.granted]


async def test_leases_go_round(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    await scene.ask("first")
    await scene.ask("second")
    await scene.until("first")
    await scene.done("first")
    await scene.until("second")
    await scene.done("second")
    await scene.until()
    assert list(granted(scene)) == ["first", "second"]
    numbers = [lease.number for lease in scene.script.granted]
    assert numbers == sorted(set(numbers))
    assert scene.script.reads == 0, "the words told enough"
    await scene.close()


async def test_many_words_in_one_signal_count_like_many_signals(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=2)
    await scene.ask("a", "b", "c")
    await scene.until("a", "b")
    await scene.done("a", "b")
    await scene.ask("d")
    await scene.until("c", "d")
    await scene.close()


async def test_a_line_of_rows_is_read_when_somebody_says_so_and_on_and_on(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=3)
    names = [f"job-{number:03}" for number in range(130)]
    scene.line_up(*names)
    await scene.tell(Words(reread=True))
    for number in range(0, 129, 3):
        three = names[number : number + 3]
        await scene.until(*three)
        await scene.done(*three)
    await scene.until(names[-1])
    assert list(granted(scene)) == names
    assert scene.script.reads < 10
    await scene.close()


async def test_what_is_more_urgent_by_now_goes_first(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    await scene.ask("first", "second", "third")
    await scene.until("first")
    third = scene.script.waiting["third"]
    scene.script.waiting["third"] = third.model_copy(update={"priority": 1})
    reads = scene.script.reads
    site = await scene.tell(Words(reread=True))
    await eventually(lambda: scene.script.reads > reads)
    await until_idle(site)
    await scene.done("first")
    await scene.until("third")
    await scene.close()


async def test_a_job_that_waits_no_more_leaves_its_turn_to_the_next(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    scene.script.gone = {"cancelled"}
    await scene.ask("cancelled", "next")
    await scene.until("next")
    await scene.close()


async def test_a_job_that_still_ends_an_older_run_is_let_in_when_it_has(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    scene.script.ending = {"again"}
    await scene.ask("again")
    await eventually(lambda: scene.script.reads > 0)
    scene.script.ending = set()
    await scene.until("again")
    await scene.close()


async def test_a_holder_that_died_without_a_word_loses_its_lease(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    await scene.ask("dead", "next")
    await scene.until("dead")
    del scene.script.held["dead"]
    await scene.until("next")
    assert [lease.job_id for lease in scene.script.checked[0].leases] == ["dead"]
    await scene.close()


async def test_a_lease_that_no_worker_uses_ends_in_the_rows_before_the_next_gets_it(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    scene.script.idle = {"stuck"}
    await scene.ask("stuck", "next")
    await scene.until("next")
    stuck = scene.script.granted[0].number
    assert any(stuck in question.expired for question in scene.script.checked)
    assert list(granted(scene)) == ["stuck", "next"]
    await scene.close()


async def test_a_database_that_is_away_delays_a_lease_and_loses_none(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    scene.script.away = True
    await scene.ask("a")
    await scene.tell(Words(reread=True))
    scene.script.away = False
    await scene.until("a")
    await scene.done("a")
    await scene.ask("b")
    await scene.until("b")
    await scene.close()


async def test_a_complaint_shuts_the_site_and_a_probe_opens_it(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=4)
    await scene.ask("a")
    await scene.until("a")
    await scene.done("a", kind=FailureKind.RATE_LIMITED, retry_after=100)
    await scene.ask("b", "c", "d")
    await eventually(lambda: any(each.reason for each in scene.script.situations))
    await scene.until("b")  # when the site may be asked again
    shut = next(each for each in scene.script.situations if each.reason)
    assert shut.reason is FailureKind.RATE_LIMITED and shut.cooldown_until is not None
    await scene.done("b")
    await scene.until("c", "d")
    await eventually(lambda: scene.script.situations[-1].reason is None)
    await scene.close()


async def test_what_people_set_counts_at_once_and_is_read_from_the_row_at_the_start(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=4)
    scene.script.stored = StoredSite(settings=Configure(max_at_once=1))
    site = await scene.ask("a", "b", "c")
    await scene.until("a")
    scene.script.stored = StoredSite(settings=Configure(max_at_once=3))
    await site.signal(CONFIGURE, Configure(max_at_once=3))
    await scene.until("a", "b", "c")
    await scene.close()


async def test_it_rests_when_nothing_happens_and_comes_back_with_what_it_learnt(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=4)
    site = await scene.ask("a")
    await scene.until("a")
    await scene.done("a", kind=FailureKind.BOT_CHECK)
    await site.result()
    written = len(scene.script.situations)
    await scene.ask("a")
    await eventually(lambda: len(scene.script.situations) > written)
    back = scene.script.situations[written]
    assert (back.number, back.reason) == (written + 1, FailureKind.BOT_CHECK)
    assert back.learnt.shut
    await scene.close()


async def test_one_that_was_terminated_comes_back_with_the_leases_that_are_held(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=2)
    site = await scene.ask("a", "b", "c")
    await scene.until("a", "b")
    await site.terminate()
    await scene.ask("d")
    await scene.done("a")
    await scene.until("b", "c")
    assert list(granted(scene)) == ["a", "b", "c"]
    await scene.close()


async def test_it_continues_as_new_with_leases_held_and_jobs_in_line(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=2)
    site = await scene.ask("a", "b", "c")
    await scene.until("a", "b")
    for _ in range(SUGGEST_NEW_AFTER):
        await scene.tell(Words())
    described = await stage.client.get_workflow_handle(site.id).describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert described.run_id != site.first_execution_run_id, "the server suggested it"
    await scene.done("a")
    await scene.until("b", "c")
    assert list(granted(scene)) == ["a", "b", "c"]
    await scene.close()


async def test_who_stood_in_line_for_thirty_days_is_let_in_then_and_cost_nothing_meanwhile(stage: Stage) -> None:
    scene = Scene(stage, max_at_once=1)
    await scene.ask("a")
    await scene.until("a")
    site = await scene.done("a", kind=FailureKind.RATE_LIMITED, retry_after=30 * 86_400)
    scene.line_up(*(f"job-{number:03}" for number in range(300)))
    await scene.tell(Words(reread=True))
    await scene.until("job-000")
    described = await site.describe()
    first, second = scene.script.granted
    assert second.since - first.since >= 30 * 86_400
    assert described.history_length < 100
    await scene.close()
