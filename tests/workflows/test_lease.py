"""How a download waits for its site."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.work import LEASE_GRANTED, PAUSE, RESUME, Attempt, FetchResult
from tests.waiting import PATIENCE
from tests.workflows.conftest import Stage
from tests.workflows.script import DONE, EXPANDED, IS_PLAYLIST, WANTED, Script, failing


async def until_tried(script: Script, times: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(script.attempts) < times:
            await asyncio.sleep(0.02)


async def happened(handle: WorkflowHandle[Any, Any], what: str) -> list[Any]:
    """The attributes of all events of this kind."""
    return [getattr(event, what) async for event in handle.fetch_history_events() if event.HasField(what)]


async def until_answered(handle: WorkflowHandle[Any, Any], times: int) -> None:
    """So many of its activities have ended."""
    async with asyncio.timeout(PATIENCE):
        while len(await happened(handle, "activity_task_completed_event_attributes")) < times:
            await asyncio.sleep(0.02)


def leases(script: Script) -> list[bool]:
    return [attempt.leased for attempt in script.attempts]


async def test_a_download_that_needs_a_lease_goes_on_when_it_gets_one(stage: Stage) -> None:
    script = Script([WANTED, DONE])
    handle = await stage.start(script)
    await until_tried(script, 1)
    await handle.signal(LEASE_GRANTED)
    assert (await handle.result()).state is State.COMPLETED
    assert leases(script) == [False, True]
    assert {attempt.number for attempt in script.attempts} == {1}
    assert not script.waits


async def test_a_download_in_line_costs_nothing_however_long_it_stands_there(stage: Stage) -> None:
    script = Script([WANTED, DONE])
    handle = await stage.start(script)
    await until_answered(handle, 1)
    waits = await happened(handle, "timer_started_event_attributes")
    events = (await handle.describe()).history_length
    assert not waits, "nobody is to wake it but its site"
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    assert events < 15


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


async def test_a_lease_that_was_taken_away_before_it_was_used_is_waited_for_again(stage: Stage) -> None:
    script = Script([WANTED, WANTED, DONE])
    handle = await stage.start(script, leased=True)
    for times in (1, 2):
        await until_answered(handle, times)
        await handle.signal(LEASE_GRANTED)
    await handle.result()
    assert leases(script) == [True, True, True]
    assert {attempt.number for attempt in script.attempts} == {1}


async def test_after_a_complaint_the_sites_leave_is_the_only_wait(stage: Stage) -> None:
    script = Script([failing(FailureKind.RATE_LIMITED, 3600, site_waits=True), DONE])
    handle = await stage.start(script, leased=True)
    await until_answered(handle, 1)  # the note that it waits: the attempt has failed
    started = (await handle.describe()).start_time
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    closed = (await handle.describe()).close_time
    assert closed is not None and (closed - started).total_seconds() < 600
    assert leases(script) == [True, True]
    [record] = script.waits
    assert (record.failure.kind, record.awaits_lease) == (FailureKind.RATE_LIMITED, True)


async def test_a_bot_check_that_does_not_pass_fails_at_the_second_time(stage: Stage) -> None:
    script = Script([failing(FailureKind.BOT_CHECK, site_waits=True)])
    handle = await stage.start(script)
    await until_answered(handle, 1)
    await handle.signal(LEASE_GRANTED)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert len(script.attempts) == 2 and script.failed[0].failure.kind is FailureKind.BOT_CHECK


async def test_a_download_that_is_cancelled_in_line_is_recorded_as_cancelled(stage: Stage) -> None:
    script = Script([WANTED])
    handle = await stage.start(script)
    await until_answered(handle, 1)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert [job.job_id for job in script.cancelled] == [handle.id]


async def test_a_download_whose_site_let_it_in_first_is_fetched_at_once(stage: Stage) -> None:
    script = Script([DONE])
    await (await stage.start(script, leased=True)).result()
    assert leases(script) == [True]
    assert script.attempts[0].number == 1


async def test_a_lease_is_good_for_one_attempt(stage: Stage) -> None:
    script = Script([failing(FailureKind.NETWORK), WANTED, DONE])
    handle = await stage.start(script, leased=True)
    await until_tried(script, 2)
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    assert leases(script) == [True, False, True]


async def test_a_download_that_is_paused_in_line_asks_again_when_it_goes_on(stage: Stage) -> None:
    script = Script([WANTED, WANTED, DONE])
    handle = await stage.start(script)
    await until_answered(handle, 1)
    await handle.signal(PAUSE)
    async with asyncio.timeout(PATIENCE):
        while not script.paused:
            await asyncio.sleep(0.02)
    await handle.signal(RESUME)
    await until_tried(script, 2)
    await handle.signal(LEASE_GRANTED)
    await handle.result()
    assert leases(script) == [False, False, True]


async def test_a_pause_and_a_resume_that_come_together_in_line_ask_again(stage: Stage) -> None:
    """Pausing took its row out of the line, whether its workflow noticed or not."""
    script = Script([WANTED, WANTED, DONE])
    handle = await stage.start(script)
    await until_answered(handle, 1)
    await handle.signal(PAUSE)
    await handle.signal(RESUME)
    await until_tried(script, 2)
    await handle.signal(LEASE_GRANTED)
    assert (await handle.result()).state is State.COMPLETED


async def test_a_playlist_by_its_address_does_not_wait_for_a_lease_that_nobody_asked_for(stage: Stage) -> None:
    script = Script([IS_PLAYLIST, EXPANDED])
    handle = await stage.start(script, Kind.VIDEO, leased=True)
    await handle.result()
    first = stage.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    last = await stage.client.get_workflow_handle(handle.id).describe()
    assert (await first.describe()).run_id != last.run_id
    assert last.close_time is not None
    assert last.close_time - (await first.describe()).start_time < timedelta(seconds=20)
    assert leases(script) == [True, False]
