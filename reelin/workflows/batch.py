"""Playlists and lists: write down what they consist of, and meanwhile keep so many items in flight until none is left.

What is in line and in flight stands in the database: a history of 100,000 items is as short as one of 100.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.failures import REMEDIES, Failure, FailureKind
    from reelin.contracts.jobs import State
    from reelin.contracts.work import (
        BULK_WORKFLOW,
        CALL_OFF,
        EXPAND,
        GIVE_UP_LISTING,
        LET_GO,
        METADATA_QUEUE,
        PAUSE,
        PLAYLIST_WORKFLOW,
        POKE,
        RECORD_CANCELLED,
        RESUME,
        WORKFLOW_QUEUE,
        Advance,
        JobOutcome,
        JobRequest,
    )
    from reelin.workflows.attempts import (
        LOST_WORKER,
        SILENCE,
        Wish,
        Work,
        attempt_until_done,
        failed,
        has_grown_long,
        is_cancel,
        record,
    )

#: An item that ended without a word is noticed after so long.
PATIENCE = timedelta(seconds=30)
LONG_PATIENCE = timedelta(minutes=10)
#: Then the workflow begins a new history; it carries nothing over.
MANY_EVENTS, MANY_EVENTS_LISTING = 1_500, 5_000
_LOOK = "Look at the items"


class _Batch:
    def __init__(self) -> None:
        self._poked = False
        self._wish = Wish()

    @workflow.signal(name=PAUSE)
    def pause(self) -> None:
        """Whoever looks at the items reads the wish in the row; while the playlist is looked at, it counts here."""
        self._wish.pause()
        self._poked = True

    @workflow.signal(name=RESUME)
    def resume(self) -> None:
        self._wish.resume()
        self._poked = True

    @workflow.signal(name=POKE)
    def poke(self) -> None:
        """Something has changed: an item ended, someone paused or resumed the batch."""
        self._poked = True

    async def _run(self, job: JobRequest) -> JobOutcome:
        try:
            return await self._list_and_advance(job)
        except BaseException as error:
            if not is_cancel(error):
                raise
            await self._call_off_until_over(job)
            raise CancelledError("The batch was cancelled") from None

    async def _list_and_advance(self, job: JobRequest) -> JobOutcome:
        """However it ends, nothing lists items after it: what is called off then is all that there is."""
        listing = asyncio.create_task(self._list(job))
        try:
            return await self._advance_until_over(job, listing)
        finally:
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)

    async def _list(self, job: JobRequest) -> None:
        """Until all items are listed, or that is given up, which stands in rows then as all else does."""
        try:
            with contextlib.suppress(ApplicationError):
                await attempt_until_done(job, Work(EXPAND, METADATA_QUEUE, _LOOK, give_up=GIVE_UP_LISTING), self._wish)
        finally:
            self._poked = True

    async def _advance_until_over(self, job: JobRequest, listing: asyncio.Task[None]) -> JobOutcome:
        while True:
            self._poked = False
            now = await _act(LET_GO, job, "Let items go")
            if now.over is not None:
                return _outcome(now)
            workflow.set_current_details(_details(now))
            await self._until_poked(_patience(now))
            if listing.done():
                listing.result()  # a fault of our own is not to be waited out
            # Listing begins anew with the history: it goes on from its cursor, but looks at a playlist once more.
            if has_grown_long(MANY_EVENTS if listing.done() else MANY_EVENTS_LISTING):
                workflow.continue_as_new(job)

    async def _call_off_until_over(self, job: JobRequest) -> None:
        workflow.set_current_details("**Cancelled**; waiting for the items in flight")
        while True:
            self._poked = False
            now = await _act(CALL_OFF, job, "Call items off")
            if now.over is not None:
                return await record(RECORD_CANCELLED, job, "Record: cancelled")
            await self._until_poked(timedelta(seconds=2))

    async def _until_poked(self, patience: timedelta | None) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._poked, timeout=patience, timeout_summary="Until the items are looked at anyway"
            )


@workflow.defn(name=PLAYLIST_WORKFLOW)
class PlaylistWorkflow(_Batch):
    """Expand the playlist once, then run its items."""

    @workflow.run
    async def run(self, job: JobRequest) -> JobOutcome:
        return await self._run(job)


@workflow.defn(name=BULK_WORKFLOW)
class BulkWorkflow(_Batch):
    """Run the items of a submitted list."""

    @workflow.run
    async def run(self, job: JobRequest) -> JobOutcome:
        return await self._run(job)


def _patience(now: Advance) -> timedelta | None:
    """None: until it is poked. Whatever lists the items says so for each page, and when it is through."""
    if now.paused and not now.in_flight:
        return LONG_PATIENCE
    return None if now.listing and not (now.in_flight or now.in_line) else PATIENCE


async def _act(activity: str, job: JobRequest, summary: str) -> Advance:
    result: Advance = await workflow.execute_activity(
        activity,
        job,
        result_type=Advance,
        task_queue=WORKFLOW_QUEUE,
        start_to_close_timeout=timedelta(seconds=120),
        heartbeat_timeout=SILENCE,
        retry_policy=LOST_WORKER,
        summary=summary,
    )
    return result


def _details(now: Advance) -> str:
    if now.paused:
        return f"**Paused**; {now.in_flight} items are still ending" if now.in_flight else "**Paused**"
    in_line = ", more in line" if now.in_line else ""
    waiting = f", **{now.waiting} of them waiting**" if now.waiting else ""
    return f"{now.in_flight} items in flight{waiting}{in_line}" + ("; **looking at the items**" if now.listing else "")


def _outcome(now: Advance) -> JobOutcome:
    state = now.over or State.CANCELLED
    workflow.set_current_details(f"**{state.capitalize()}**")
    if state is State.FAILED:
        raise failed(now.failure or _NOTHING_CAME)
    return JobOutcome(state=state, counts=now.counts)


_NOTHING_CAME = Failure(
    kind=FailureKind.INTERNAL,
    message="None of the items could be downloaded.",
    remedy=REMEDIES[FailureKind.INTERNAL],
    retryable=True,
)
