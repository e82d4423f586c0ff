"""What the workflow decides after each way in which an attempt can end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from reelin.activities.handover import worker_stopping
from reelin.contracts.failures import REMEDIES, FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.work import LEASE_GRANTED, WaitingRecord
from reelin.errors import Unavailable
from reelin.workflows.policy import POLICIES
from tests.workflows.conftest import SUGGEST_NEW_AFTER, Stage
from tests.workflows.script import DONE, Script, failing


@pytest.mark.parametrize("kind", [Kind.VIDEO, Kind.INFO])
async def test_a_first_attempt_that_works_is_the_outcome(stage: Stage, kind: Kind) -> None:
    script = Script([DONE])
    outcome = await stage.run(script, kind)
    assert (outcome.state, outcome.title) == (State.COMPLETED, "A film")
    assert [attempt.number for attempt in script.attempts] == [1]
    assert not script.waits and not script.failed


async def test_a_failure_that_passes_is_waited_for_and_tried_again(stage: Stage) -> None:
    script = Script([failing(FailureKind.NETWORK), failing(FailureKind.SITE_ERROR), DONE])
    outcome = await stage.run(script)
    assert outcome.state is State.COMPLETED
    assert [attempt.number for attempt in script.attempts] == [1, 2, 3]
    assert [record.failure.kind for record in script.waits] == [FailureKind.NETWORK, FailureKind.SITE_ERROR]
    assert all(record.failure.retryable for record in script.waits)


async def test_a_failure_that_will_not_pass_fails_at_once_with_its_remedy(stage: Stage) -> None:
    kinds = sorted(set(FailureKind) - set(POLICIES))
    scripts = [Script([failing(kind)]) for kind in kinds]
    failures = await asyncio.gather(*(stage.fail(script) for script in scripts))
    for kind, script, failure in zip(kinds, scripts, failures, strict=True):
        assert {attempt.number for attempt in script.attempts} == {1} and not script.waits, kind
        assert [record.failure for record in script.failed] == [failure]
        assert (failure.kind, failure.remedy) == (kind, REMEDIES[kind])
        assert not failure.retryable


async def test_a_failure_that_does_not_pass_uses_up_its_attempts(stage: Stage) -> None:
    budgets = {
        FailureKind.NETWORK: 12,
        FailureKind.SITE_ERROR: 12,
        FailureKind.DNS: 4,
        FailureKind.EXPIRED_URL: 4,
        FailureKind.RESUME_CONFLICT: 2,
        FailureKind.PROCESSING: 2,
        FailureKind.BOT_CHECK: 2,
        FailureKind.INTERNAL: 3,
    }
    scripts = {kind: Script([failing(kind)]) for kind in budgets}
    await asyncio.gather(*(stage.fail(script) for script in scripts.values()))
    assert {kind: len(script.attempts) for kind, script in scripts.items()} == budgets
    assert {kind: script.failed[0].failure.attempts for kind, script in scripts.items()} == budgets
    assert all(script.failed[0].failure.retryable for script in scripts.values())


async def test_a_resume_conflict_drops_the_partial_file_for_the_next_attempt(stage: Stage) -> None:
    script = Script([failing(FailureKind.RESUME_CONFLICT), DONE])
    await stage.run(script)
    assert [attempt.fresh for attempt in script.attempts] == [False, True]


async def test_a_rate_limit_waits_as_long_as_the_site_asks(stage: Stage) -> None:
    script = Script([failing(FailureKind.RATE_LIMITED, retry_after_seconds=5400), DONE])
    handle = await stage.start(script)
    await handle.result()
    [record] = script.waits
    assert record.next_attempt_at - (await handle.describe()).start_time >= timedelta(minutes=90)


async def test_a_rate_limit_ends_after_a_day(stage: Stage) -> None:
    script = Script([failing(FailureKind.RATE_LIMITED, retry_after_seconds=4 * 3600)])
    failure = await stage.fail(script)
    assert failure.kind is FailureKind.RATE_LIMITED
    first, last = script.waits[0], script.waits[-1]
    assert timedelta(hours=16) <= last.next_attempt_at - first.next_attempt_at <= timedelta(hours=24)


async def test_a_worker_that_stops_uses_no_attempt_and_costs_the_same_short_delay_each_time(stage: Stage) -> None:
    script = Script([*[worker_stopping()] * 8, failing(FailureKind.NETWORK), worker_stopping(), DONE])
    outcome = await stage.run(script)
    assert outcome.state is State.COMPLETED
    assert [attempt.number for attempt in script.attempts] == [1] * 9 + [2] * 2
    [record] = script.waits
    assert (record.failure.kind, record.failure.attempts) == (FailureKind.NETWORK, 1)
    assert max(script.delays()[:8]) < timedelta(seconds=2)


async def test_a_job_that_lost_its_worker_often_does_not_wait_longer_for_the_next_one(stage: Stage) -> None:
    script = Script([*[Unavailable("The database", "it is locked")] * 8, DONE])
    assert (await stage.run(script)).state is State.COMPLETED
    assert {attempt.number for attempt in script.attempts} == {1}
    assert not script.waits
    assert max(script.delays()) < timedelta(seconds=5)


async def test_a_cancelled_attempt_is_recorded_as_cancelled(stage: Stage) -> None:
    script = Script(["hang"])
    handle = await stage.start(script)
    while not script.attempts:
        await asyncio.sleep(0.02)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert [job.job_id for job in script.cancelled] == [handle.id]
    assert not script.failed


async def test_a_job_that_is_cancelled_between_attempts_is_recorded_as_cancelled(stage: Stage) -> None:
    script = Script([failing(FailureKind.DISK_FULL)])
    handle = await stage.start(script)
    while not script.waits:
        await asyncio.sleep(0.02)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert [job.job_id for job in script.cancelled] == [handle.id]
    assert not script.failed


async def test_a_job_that_waits_for_weeks_begins_new_histories_and_forgets_nothing(stage: Stage) -> None:
    waits = [failing(FailureKind.DISK_FULL)] * 40
    script = Script([failing(FailureKind.PROCESSING), *waits, failing(FailureKind.PROCESSING)])
    handle = await stage.start(script)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert [attempt.number for attempt in script.attempts] == list(range(1, 43))
    assert script.failed[0].failure.kind is FailureKind.PROCESSING, "the first one was not forgotten"
    last = await stage.client.get_workflow_handle(handle.id).describe()
    assert last.run_id != handle.first_execution_run_id
    assert last.history_length < SUGGEST_NEW_AFTER + 50


async def test_a_new_history_keeps_what_the_job_has_heard_of_its_site(stage: Stage) -> None:
    """It waits for nobody when it has been let in already."""
    waits = [failing(FailureKind.RATE_LIMITED, 1, site_waits=True)] * 30
    script = LetInWhileItIsNoted([*waits, DONE])
    assert (await stage.run(script)).state is State.COMPLETED


class LetInWhileItIsNoted(Script):
    """The site's word comes while the failure is still being written down."""

    async def wait(self, record: WaitingRecord) -> None:
        await super().wait(record)
        await activity.client().get_workflow_handle(record.job.job_id).signal(LEASE_GRANTED)
