"""How a download waits for its site."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.sites import ASK, Ask
from reelin.contracts.work import LEASE_GRANTED, PAUSE, RESUME, WORKFLOW_QUEUE, Attempt, FetchResult
from tests.workflows.conftest import Stage
from tests.workflows.holder import HolderWorkflow
from tests.workflows.script import DONE, WANTED, Script, failing


async def until_tried(script: Script, times: int) -> None:
    async with asyncio.timeout(20):
        while len(script.attempts) < times:
            await asyncio.sleep(0.02)


async def happened(handle: WorkflowHandle[Any, Any], what: str) -> list[Any]:
    """The attributes of all events of this kind."""
    return [getattr(event, what) async for event in handle.fetch_history_events() if event.HasField(what)]


def leases(script: Script) -> list[bool]:
    return [attempt.lease for attempt in script.attempts]


async def test_a_download_that_needs_a_lease_goes_on_when_it_gets_one(stage: Stage) -> None:
    script = Script([WANTED, DONE])
    handle = await stage.start(script)
    await until_tried(script, 1)
    await handle.signal(LEASE_GRANTED)
    assert (await handle.result()).state is State.COMPLETED
    assert leases(script) == [False, True]
    assert {attempt.number for attempt in script.attempts} == {1}
    assert not script.waits


@dataclass
class GrantedWhileItAsks(Script):
    """The site's word overtakes the answer of the attempt that asks, the `at`th one."""

    at: int = 1

    async def act(self, attempt: Attempt) -> FetchResult:
        if len(self.attempts) + 1 == self.at:
            await activity.client().get_workflow_handle(attempt.job.job_id).signal(LEASE_GRANTED)
        return await super().act(attempt)


async def test_a_word_that_comes_before_the_wait_counts(stage: Stage) -> None:
    script = GrantedWhileItAsks([WANTED, DONE])
    await stage.run(script)
    assert leases(script) == [False, True]


async def test_a_word_that_was_lost_is_asked_for_again_without_using_an_attempt(stage: Stage) -> None:
    script = GrantedWhileItAsks([WANTED, WANTED, WANTED, DONE], at=3)
    await stage.run(script)
    assert leases(script) == [False, False, False, True]
    assert {attempt.number for attempt in script.attempts} == {1}


async def test_after_a_complaint_the_sites_leave_is_the_only_wait(stage: Stage) -> None:
    script = Script([failing(FailureKind.RATE_LIMITED, 3600, site_waits=True), WANTED, DONE])
    handle = await stage.start(script)
    await until_tried(script, 2)
    started = (await handle.describe()).start_time
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    closed = (await handle.describe()).close_time
    assert closed is not None and (closed - started).total_seconds() < 600
    assert leases(script) == [False, False, True]
    [record] = script.waits
    assert record.failure.kind is FailureKind.RATE_LIMITED


async def test_a_bot_check_that_does_not_pass_fails_at_the_second_time(stage: Stage) -> None:
    script = Script([failing(FailureKind.BOT_CHECK, site_waits=True)])
    failure = await stage.fail(script)
    assert (failure.kind, len(script.attempts)) == (FailureKind.BOT_CHECK, 2)


async def test_a_download_that_is_cancelled_in_line_leaves_the_line(stage: Stage) -> None:
    script = Script([WANTED])
    holder = await stage.client.start_workflow(HolderWorkflow.run, id="holds-it", task_queue=WORKFLOW_QUEUE)
    site = await stage.tell_site("example.org", ASK, Ask(job_id=holder.id, run=1, owner="local"), max_at_once=1)
    handle = await stage.start(script)
    await site.signal(ASK, Ask(job_id=handle.id, run=1, owner="local"))
    while not await happened(handle, "timer_started_event_attributes"):
        await asyncio.sleep(0.02)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert [job.job_id for job in script.cancelled] == [handle.id]
    signals = await happened(site, "workflow_execution_signaled_event_attributes")
    assert [signal.signal_name for signal in signals] == ["ask", "ask", "done"]
    for each in (site, holder):
        await each.terminate()


async def test_a_download_that_was_started_in_line_is_fetched_once_when_it_is_let_in(stage: Stage) -> None:
    script = Script([DONE])
    handle = await stage.start(script, in_line=True)
    while not await happened(handle, "timer_started_event_attributes"):
        await asyncio.sleep(0.02)
    assert not script.attempts, "its site has to let it in first"
    await handle.signal(LEASE_GRANTED)
    assert (await handle.result()).state is State.COMPLETED
    assert leases(script) == [True]
    assert script.attempts[0].number == 1


async def test_a_download_in_line_that_hears_nothing_asks_for_itself(stage: Stage) -> None:
    script = GrantedWhileItAsks([WANTED, WANTED, DONE], at=2)
    await stage.start(script, in_line=True)
    await until_tried(script, 3)
    assert leases(script) == [False, False, True]
    assert {attempt.number for attempt in script.attempts} == {1}


async def test_only_the_first_lease_is_asked_for_by_others(stage: Stage) -> None:
    script = Script([failing(FailureKind.NETWORK), WANTED, DONE])
    handle = await stage.start(script, in_line=True)
    await handle.signal(LEASE_GRANTED)
    await until_tried(script, 2)
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    assert leases(script) == [True, False, True]


async def test_a_download_that_is_cancelled_before_it_asked_itself_leaves_the_line(stage: Stage) -> None:
    site = await stage.tell_site("example.org", ASK, Ask(job_id="somebody", run=1, owner="local"))
    script = Script([DONE])
    handle = await stage.start(script, in_line=True)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert not script.attempts
    assert [job.job_id for job in script.cancelled] == [handle.id]
    assert await dones_of(site, handle.id) == 1
    await site.terminate()


async def test_a_download_that_is_paused_in_line_leaves_it_and_asks_for_itself_when_it_goes_on(stage: Stage) -> None:
    site = await stage.tell_site("example.org", ASK, Ask(job_id="somebody", run=1, owner="local"))
    script = Script([WANTED, DONE])
    handle = await stage.start(script, in_line=True)
    await handle.signal(PAUSE)
    async with asyncio.timeout(20):
        while not script.paused:
            await asyncio.sleep(0.02)
    assert await dones_of(site, handle.id) == 1
    await handle.signal(RESUME)
    await until_tried(script, 1)
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    assert leases(script) == [False, True]
    await site.terminate()


async def dones_of(site: WorkflowHandle[Any, Any], job_id: str) -> int:
    """How often the site heard that the job leaves."""
    signals = await happened(site, "workflow_execution_signaled_event_attributes")
    said = [signal.input.payloads[0].data.decode() for signal in signals if signal.signal_name == "done"]
    return sum(job_id in each for each in said)
