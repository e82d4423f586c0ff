"""The loop that download and info share: try, decide, wait, try again; then record how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

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
        Carried,
        FailedRecord,
        FailureReport,
        FetchResult,
        JobOutcome,
        JobRequest,
        Tally,
        WaitingRecord,
    )
    from reelin.workflows.lease import LeaseWait
    from reelin.workflows.policy import next_wait, policy_for, retryable

T = TypeVar("T")

#: A lost worker, a restarted server, a database that is locked: as often as it takes, without using an attempt.
#: The delay hardly grows: Temporal counts all of these together for as long as one activity lasts, which may be days.
LOST_WORKER = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=3)
)
#: A worker that says nothing for so long is lost.
SILENCE = timedelta(seconds=6)
#: Then a workflow begins a new history: a job may wait for weeks.
MANY_EVENTS = 1_000


@dataclass(frozen=True)
class Work:
    """The activity that does the job, where it runs, how it waits for its site (None: it needs no leave), and what
    notes that it is given up."""

    activity: str
    task_queue: str
    summary: str
    lease: LeaseWait | None = None
    give_up: str = RECORD_FAILED


class Wish:
    """What people have said of a job while it runs. Words may come late, or in another order than they were meant: they
    say when to look, and the job's row says what is wanted."""

    def __init__(self) -> None:
        self.paused = False  #: Somebody wants it to stand still, as far as is known.
        self._resumed = 0

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._resumed += 1

    async def until_resumed(self, record_paused: Callable[[], Awaitable[bool]]) -> None:
        """Stands still if the row says so, until somebody says that it has changed."""
        self.paused, before = False, self._resumed
        if await record_paused():
            await workflow.wait_condition(lambda: self._resumed > before)


async def run_to_outcome(job: JobRequest, work: Work, wish: Wish) -> JobOutcome:
    """Runs `work` until it is done, given up or cancelled, which is recorded.

    Raises ApplicationError with the Failure where it is given up, CancelledError where it is cancelled.
    """
    try:
        result = await attempt_until_done(job, work, wish, history_of_its_own=True)
    except BaseException as error:
        if not is_cancel(error):
            raise
        await record(RECORD_CANCELLED, job, "Record: cancelled")
        raise CancelledError("The job was cancelled") from None
    if result.playlist:
        playlist = job.model_copy(update={"kind": Kind.PLAYLIST, "leased": False, "carried": None})
        workflow.continue_as_new(args=[playlist], workflow=PLAYLIST_WORKFLOW)
    return _outcome(result)


async def attempt_until_done(
    job: JobRequest, work: Work, wish: Wish, *, history_of_its_own: bool = False
) -> FetchResult:
    """The result, after as many attempts as the policies allow. `history_of_its_own`: the workflow does nothing else,
    and may begin a new history between two attempts.

    Raises ApplicationError with the Failure, which is recorded, or what `is_cancel` recognises.
    """
    now = job.carried or Carried(number=1, fresh=False, tally=Tally(), leased=job.leased)
    job = job.model_copy(update={"carried": None})
    while True:
        if history_of_its_own and has_grown_long(MANY_EVENTS) and not wish.paused:
            workflow.continue_as_new(job.model_copy(update={"carried": _with_word_of_site(now, work)}))
        try:
            result = await _try_unless_paused(job, work, now, wish)
            if result is not None and result.lease_wanted:
                now = now.model_copy(update={"leased": False, "awaits_lease": True})
                continue
            if result is not None and result.state is not State.PAUSED:
                return result
            now = now.model_copy(update={"leased": False, "awaits_lease": False})
            await _stand_still(job, wish)
            continue
        except ActivityError as error:
            report = _failure_of(error)
        tally = _added(now.tally, report.kind, workflow.now())
        wait = _wait_after(report, tally)
        failure = _describe(report, now.number, will_retry=wait is not None)
        if wait is None:
            await record(work.give_up, FailedRecord(job=job, failure=failure, attempt=now.number), "Record: failed")
            raise failed(failure)
        await _wait_for_next(job, work, failure, wait, wish, awaits_lease=report.site_waits)
        now = Carried(
            number=now.number + 1,
            fresh=policy_for(report.kind).fresh,
            tally=tally,
            awaits_lease=report.site_waits,
        )
        if wish.paused:
            now = now.model_copy(update={"awaits_lease": False})
            await _stand_still(job, wish)


def _with_word_of_site(now: Carried, work: Work) -> Carried:
    """A new history does not hear again what this one has heard."""
    woken = now.awaits_lease and work.lease is not None and work.lease.woken
    return now.model_copy(update={"leased": True, "awaits_lease": False}) if woken else now


def _added(tally: Tally, kind: FailureKind, moment: datetime) -> Tally:
    return Tally(
        counts={**tally.counts, kind: tally.counts.get(kind, 0) + 1},
        first={kind: moment, **tally.first},
    )


def has_grown_long(longest: int) -> bool:
    """Whether it is time for a new history: this one has more than `longest` events, or Temporal suggests it."""
    info = workflow.info()
    return info.is_continue_as_new_suggested() or info.get_current_history_length() > longest


def is_cancel(error: BaseException) -> bool:
    """Whether `error` is the end that someone asked for."""
    return is_cancelled_exception(error) or (isinstance(error, ActivityError) and _cancel_requested())


async def _try_unless_paused(job: JobRequest, work: Work, now: Carried, wish: Wish) -> FetchResult | None:
    """None if someone paused the job meanwhile: the activity has ended then, and kept its bytes."""
    running = asyncio.create_task(_let_in(job, work, now))
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

    async def record_paused() -> bool:
        workflow.set_current_details("**Paused**")
        return await _note(RECORD_PAUSED, job, "Record: paused", bool)

    await wish.until_resumed(record_paused)


async def _let_in(job: JobRequest, work: Work, now: Carried) -> FetchResult:
    """Tries once, when its site says so if it stands in the site's line. Standing there uses up no attempt."""
    leased = now.leased
    if work.lease is not None:
        if now.awaits_lease:
            await work.lease.until_woken(job)
            leased = True
        work.lease.expect()
    result = await _try_once(work, Attempt(job=job, number=now.number, fresh=now.fresh, leased=leased))
    if result.lease_wanted and _cancel_requested():
        raise asyncio.CancelledError
    return result


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


def _wait_after(report: FailureReport, tally: Tally) -> timedelta | None:
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
    job: JobRequest, work: Work, failure: Failure, wait: timedelta, wish: Wish, *, awaits_lease: bool
) -> None:
    """Where the site waits, its leave is the wait: the job stands in line at once, and no wait is added to that."""
    until = workflow.now() + wait
    waiting = WaitingRecord(
        job=job, failure=failure, attempt=failure.attempts, next_attempt_at=until, awaits_lease=awaits_lease
    )
    if work.lease is not None:
        work.lease.expect()
    await record(RECORD_WAITING, waiting, f"Record: waiting after {failure.kind}")
    if awaits_lease:
        return
    workflow.set_current_details(f"**Waiting** until {until:%Y-%m-%d %H:%M:%S} UTC after {failure.kind}")
    left = max(until - workflow.now(), timedelta(0))
    with contextlib.suppress(asyncio.TimeoutError):
        reason = f"Until the next attempt ({failure.kind})"
        await workflow.wait_condition(lambda: wish.paused, timeout=left, timeout_summary=reason)


async def record(activity: str, what: WaitingRecord | FailedRecord | JobRequest, summary: str) -> None:
    await _note(activity, what, summary, type(None))


async def _note(activity: str, what: WaitingRecord | FailedRecord | JobRequest, summary: str, answer: type[T]) -> T:
    said: T = await workflow.execute_activity(
        activity,
        what,
        result_type=answer,
        task_queue=WORKFLOW_QUEUE,
        start_to_close_timeout=timedelta(seconds=60),
        heartbeat_timeout=SILENCE,
        retry_policy=LOST_WORKER,
        summary=summary,
    )
    return said


def failed(failure: Failure) -> ApplicationError:
    """A job that failed is a workflow that failed: whoever looks at Temporal's UI sees it, and why."""
    workflow.set_current_details(f"**Failed**: {failure.kind}")
    text = f"{failure.message} {failure.remedy}"
    return ApplicationError(text, failure, type=failure.kind, non_retryable=True)


def _outcome(result: FetchResult) -> JobOutcome:
    workflow.set_current_details(f"**{result.state.capitalize()}**")
    return JobOutcome(state=result.state, title=result.title)
