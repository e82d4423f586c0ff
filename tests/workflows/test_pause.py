"""Pausing: bytes and attempts stay, and a resume goes on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.work import PAUSE, PLAYLIST_WORKFLOW, RESUME, Advance, Attempt, FetchResult, JobRequest
from tests.waiting import PATIENCE
from tests.workflows.conftest import Stage
from tests.workflows.script import DONE, EXPANDED, IS_PLAYLIST, Script, failing


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_paused_download_stands_still_and_goes_on_with_the_same_attempt(stage: Stage) -> None:
    script = Script(["hang", DONE])
    handle = await stage.start(script)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    await until(lambda: script.paused)
    assert len(script.attempts) == 1
    await handle.signal(RESUME)
    assert (await handle.result()).state is State.COMPLETED
    assert [attempt.number for attempt in script.attempts] == [1, 1]
    assert not script.waits and not script.failed


async def test_a_job_that_waits_for_its_next_attempt_can_be_paused(stage: Stage) -> None:
    script = Script([failing(FailureKind.NOT_LIVE_YET, retry_after_seconds=86_400), DONE])
    handle = await stage.start(script)
    await handle.signal(PAUSE)
    await until(lambda: script.paused)
    await handle.signal(RESUME)
    assert (await handle.result()).state is State.COMPLETED


async def test_a_wish_to_pause_that_only_the_row_knew_of_is_honoured(stage: Stage) -> None:
    script = Script([FetchResult(state=State.PAUSED), DONE])
    handle = await stage.start(script)
    await until(lambda: script.paused)
    await handle.signal(RESUME)
    assert (await handle.result()).state is State.COMPLETED


async def test_a_paused_job_can_be_cancelled(stage: Stage) -> None:
    script = Script(["hang"])
    handle = await stage.start(script)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    await until(lambda: script.paused)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert script.cancelled


async def test_a_url_that_turns_out_to_be_a_playlist_goes_on_as_one_under_the_same_id(stage: Stage) -> None:
    script = Script([IS_PLAYLIST, FetchResult(state=State.RUNNING)])
    handle = await stage.start(script)
    assert (await handle.result()).state is State.COMPLETED
    assert script.advanced == 1
    description = await stage.client.get_workflow_handle(handle.id).describe()
    assert description.workflow_type == PLAYLIST_WORKFLOW


async def test_a_playlist_that_is_paused_while_it_is_looked_at_is_looked_at_again(stage: Stage) -> None:
    nothing_yet, over = Advance(listing=True), Advance(over=State.COMPLETED)
    script = Script(["hang", EXPANDED], advances=[nothing_yet, Advance(paused=True), nothing_yet, over])
    handle = await stage.start(script, Kind.PLAYLIST)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    await until(lambda: script.paused and script.advanced == 2)
    await handle.signal(RESUME)
    assert (await handle.result()).state is State.COMPLETED
    assert script.advanced and len(script.attempts) == 2


@dataclass
class ResumedWhileItEnds(Script):
    """Somebody resumes it while its activity is still ending: the row says so, and the word comes in between."""

    wanted: bool = True

    async def act(self, attempt: Attempt) -> FetchResult:
        try:
            return await super().act(attempt)
        except asyncio.CancelledError:
            self.wanted = False
            await activity.client().get_workflow_handle(attempt.job.job_id).signal(RESUME)
            raise

    async def pause(self, job: JobRequest) -> bool:
        await super().pause(job)
        return self.wanted


async def test_a_resume_while_the_download_is_still_ending_is_not_overwritten(stage: Stage) -> None:
    script = ResumedWhileItEnds(["hang", DONE])
    handle = await stage.start(script)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    assert (await handle.result()).state is State.COMPLETED


@dataclass
class ResumedWhileItIsNoted(Script):
    """Somebody resumes it after the row was read, and before the workflow hears what it said."""

    async def pause(self, job: JobRequest) -> bool:
        await super().pause(job)
        await activity.client().get_workflow_handle(job.job_id).signal(RESUME)
        return True


async def test_a_resume_while_the_pause_is_being_noted_is_not_overwritten(stage: Stage) -> None:
    script = ResumedWhileItIsNoted(["hang", DONE])
    handle = await stage.start(script)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    assert (await handle.result()).state is State.COMPLETED
    assert len(script.paused) == 1


async def test_a_word_to_pause_that_comes_after_the_resume_changes_nothing(stage: Stage) -> None:
    script = ResumedWhileItEnds(["hang", DONE], wanted=False)
    handle = await stage.start(script)
    await until(lambda: script.attempts)
    await handle.signal(RESUME)
    await handle.signal(PAUSE)
    assert (await handle.result()).state is State.COMPLETED


async def test_a_job_that_is_resumed_and_paused_again_stands_still_until_it_is_resumed_again(stage: Stage) -> None:
    """The words come in the other order: the row says what is wanted."""
    script = Script(["hang", FetchResult(state=State.PAUSED), DONE])
    handle = await stage.start(script)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    await until(lambda: script.paused)
    await handle.signal(PAUSE)
    await handle.signal(RESUME)
    await until(lambda: len(script.paused) == 2)
    await handle.signal(RESUME)
    assert (await handle.result()).state is State.COMPLETED
