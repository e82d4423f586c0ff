"""The loop that download and info share: try, decide, wait, try again; then record how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.failures import REMEDIES, Failure, FailureKind
    from reelin.contracts.jobs import Kind, State
    from reelin.contracts.work import (
        PLAYLIST_WORKFLOW,
        RECORD_CANCELLED,
        RECORD_FAILED,
        RECORD_PAUSED,
        RECORD_WAITING,
        WORKFLOW_QUEUE,
        Attempt,
        FailedRecord,
        FailureReport,
        FetchResult,
        JobOutcome,
        JobRequest,
        WaitingRecord,
    )
    from reelin.workflows.lease import LeaseWait
    from reelin.workflows.policy import next_wait, policy_for, retryable

#: A lost worker, a restarted server, a database that is locked: as often as it takes, without using an attempt.
#: The delay hardly grows: Temporal counts all of these together for as long as one activity lasts, which may be days.
LOST_WORKER = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=3)
)
#: A worker that says nothing for so long is lost.
SILENCE = timedelta(seconds=6)


@dataclass(frozen=True)
class Work:
    """The activity that does the job, where it runs, how it waits for its site, and what notes that it is given up."""

    activity: str
    task_queue: str
    summary: str
    lease: LeaseWait = field(default_factory=LeaseWait)
    give_up: str = RECORD_FAILED


@dataclass
class Wish:
    """What people want of a job while it runs; a workflow's signals change it."""

    paused: bool = False


@dataclass
class _Tally:
    """How often, and since when, each kind of failure has occurred in this run."""

    counts: dict[FailureKind, int] = field(default_factory=dict)
    first: dict[FailureKind, datetime] = field(default_factory=dict)

    def add(self, kind: FailureKind, moment: datetime) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first.setdefault(kind, moment)


async def run_to_outcome(job: JobRequest, work: Work, wish: Wish | None = None) -> JobOutcome:
    """Runs `work` until it is done, given up or cancelled, which is recorded.

    Raises ApplicationError with the Failure where it is given up, CancelledError where it is cancelled.
    """
    try:
        result = await attempt_until_done(job, work, wish or Wish())
    except BaseException as error:
        if not is_cancel(error):
            raise
        await record(RECORD_CANCELLED, job, "Record: cancelled")
        raise CancelledError("The job was cancelled") from None
    if result.playlist:
        workflow.continue_as_new(args=[job.model_copy(update={"kind": Kind.PLAYLIST})], workflow=PLAYLIST_WORKFLOW)
    return _outcome(result)


async def attempt_until_done(job: JobRequest, work: Work, wish: Wish) -> FetchResult:
    """The result, after as many attempts as the policies allow.

    Raises ApplicationError with the Failure, which is recorded, or what `is_cancel` recognises.
    """
    tally = _Tally()
    number, fresh = 1, False
    while True:
        try:
            result = await _try_unless_paused(work, Attempt(job=job, number=number, fresh=fresh), wish)
            if result is not None and result.state is not State.PAUSED:
                return result
            await _stand_still(job, wish)
            continue
        except ActivityError as error:
            report = _failure_of(error)
        tally.add(report.kind, workflow.now())
        wait = _wait_after(report, tally)
        failure = _describe(report, number, will_retry=wait is not None)
        if wait is None:
            await record(work.give_up, FailedRecord(job=job, failure=failure, attempt=number), "Record: failed")
            raise failed(failure)
        await _wait_for_next(job, failure, number, wait, wish, site_waits=report.site_waits)
        if wish.paused:
            await _stand_still(job, wish)
        number, fresh = number + 1, policy_for(report.kind).fresh


def is_cancel(error: BaseException) -> bool:
    """Whether `error` is the end that someone asked for."""
    return is_cancelled_exception(error) or (isinstance(error, ActivityError) and _cancel_requested())


async def _try_unless_paused(work: Work, attempt: Attempt, wish: Wish) -> FetchResult | None:
    """None if someone paused the job meanwhile: the activity has ended then, and kept its bytes."""
    running = asyncio.create_task(_let_in(work, attempt))
    try:
        await workflow.wait_condition(lambda: running.done() or wish.paused)
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)  # looked at: else each cancel is a traceback in the log
        raise
    if running.done():
        return running.result()
    running.cancel()
    await asyncio.wait([running])
    try:
        return running.result()  # it ended in this very moment
    except (ActivityError, asyncio.CancelledError):
        return None


async def _stand_still(job: JobRequest, wish: Wish) -> None:
    """Until someone resumes the job; without using an attempt."""
    wish.paused = True
    workflow.set_current_details("**Paused**")
    await record(RECORD_PAUSED, job, "Record: paused")
    await workflow.wait_condition(lambda: not wish.paused)


async def _let_in(work: Work, attempt: Attempt) -> FetchResult:
    """Tries once, with the leave of the site where that is needed. Standing in line uses up no attempt."""
    while True:
        if not work.lease.stands_in_line(attempt.job):
            work.lease.ask_anew()
            result = await _try_once(work, attempt)
            if not result.lease_wanted:
                return result
            if _cancel_requested():
                await work.lease.give_back(attempt.job)
                raise asyncio.CancelledError
        if await work.lease.granted(attempt.job):
            return await _try_once(work, attempt.model_copy(update={"lease": True}))


async def _try_once(work: Work, attempt: Attempt) -> FetchResult:
    workflow.set_current_details(f"**{work.summary}**, attempt {attempt.number}")
    result: FetchResult = await workflow.execute_activity(
        work.activity,
        attempt,
        result_type=FetchResult,
        task_queue=work.task_queue,
        start_to_close_timeout=timedelta(days=30),
        heartbeat_timeout=SILENCE,
        retry_policy=LOST_WORKER,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=f"{work.summary} (attempt {attempt.number})",
    )
    return result


def _failure_of(error: ActivityError) -> FailureReport:
    """The failure that the activity reported. Cancellation passes through; anything else is a fault of our own."""
    cause = error.cause
    if isinstance(cause, CancelledError) or _cancel_requested():
        raise error
    if isinstance(cause, ApplicationError) and cause.details:
        return FailureReport.model_validate(cause.details[0])
    return FailureReport(kind=FailureKind.INTERNAL, message="The activity ended without a report.")


def _cancel_requested() -> bool:
    """Whether someone cancelled the workflow. The activity may have ended in another way at the same moment, or its
    worker was lost: waiting for it has swallowed the request, but the task remembers."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _wait_after(report: FailureReport, tally: _Tally) -> timedelta | None:
    asked = report.retry_after_seconds
    return next_wait(
        policy_for(report.kind),
        occurrences=tally.counts[report.kind],
        since_first=workflow.now() - tally.first[report.kind],
        retry_after=None if asked is None else timedelta(seconds=asked),
        random=workflow.random(),
    )


def _describe(report: FailureReport, number: int, *, will_retry: bool) -> Failure:
    return Failure(
        kind=report.kind,
        message=report.message,
        remedy=REMEDIES[report.kind],
        retryable=will_retry or retryable(report.kind),
        attempts=number,
    )


async def _wait_for_next(
    job: JobRequest, failure: Failure, number: int, wait: timedelta, wish: Wish, *, site_waits: bool
) -> None:
    """Where the site waits, its leave is the wait: the job stands in line at once, and no wait is added to that."""
    until = workflow.now() + wait
    waiting = WaitingRecord(job=job, failure=failure, attempt=number, next_attempt_at=until)
    await record(RECORD_WAITING, waiting, f"Record: waiting after {failure.kind}")
    if site_waits:
        return
    workflow.set_current_details(f"**Waiting** until {until:%Y-%m-%d %H:%M:%S} UTC after {failure.kind}")
    left = max(until - workflow.now(), timedelta(0))
    with contextlib.suppress(asyncio.TimeoutError):
        reason = f"Until the next attempt ({failure.kind})"
        await workflow.wait_condition(lambda: wish.paused, timeout=left, timeout_summary=reason)


async def record(activity: str, what: WaitingRecord | FailedRecord | JobRequest, summary: str) -> None:
    await workflow.execute_activity(
        activity,
        what,
        task_queue=WORKFLOW_QUEUE,
        start_to_close_timeout=timedelta(seconds=60),
        heartbeat_timeout=SILENCE,
        retry_policy=LOST_WORKER,
        summary=summary,
    )


def failed(failure: Failure) -> ApplicationError:
    """A job that failed is a workflow that failed: whoever looks at Temporal's UI sees it, and why."""
    workflow.set_current_details(f"**Failed**: {failure.kind}")
    text = f"{failure.message} {failure.remedy}"
    return ApplicationError(text, failure, type=failure.kind, non_retryable=True)


def _outcome(result: FetchResult) -> JobOutcome:
    workflow.set_current_details(f"**{result.state.capitalize()}**")
    return JobOutcome(state=result.state, title=result.title)
