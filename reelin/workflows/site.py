"""One site, and the whole fleet's manners towards it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.model import Message
    from reelin.contracts.sites import (
        CHECK_LEASES,
        CONFIGURE,
        GRANT_LEASES,
        LOAD_SITE,
        NO_LIMIT,
        READ_WAITERS,
        RECORD_SITE,
        WORDS,
        Configure,
        Lease,
        Leases,
        LeasesGranted,
        LeasesSeen,
        SiteRequest,
        SiteSituation,
        SiteState,
        StoredSite,
        Waiters,
        Words,
    )
    from reelin.contracts.work import SITE_WORKFLOW, WORKFLOW_QUEUE
    from reelin.workflows.attempts import has_grown_long
    from reelin.workflows.lease_queue import LeaseQueue

T = TypeVar("T", bound=Message)
RECORD_AT_MOST_EVERY = 1.0
RECORD_LEARNT_EVERY = 10.0
CHECK_LEASES_EVERY = 30.0
REST_AFTER = 600.0
#: Then the workflow begins a new history; it hands on its leases and what it has learnt.
LONGEST_HISTORY = 1_500
_PATIENCE = timedelta(seconds=20)
_AS_OFTEN_AS_IT_TAKES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))


@workflow.defn(name=SITE_WORKFLOW)
class SiteWorkflow:
    """Hands out leases as its queue says. What it is told waits in an inbox until the loop comes round."""

    @workflow.init
    def __init__(self, request: SiteRequest) -> None:
        self._site = request.site
        self._default = request.max_at_once
        self._inbox: list[Words | Configure] = []
        self._queue = LeaseQueue(request.max_at_once, request.state or SiteState())
        self._recorded = request.state.recorded if request.state else 0
        self._last_written: SiteSituation | None = None
        self._recorded_at = self._check_due = 0.0
        self._idle_since: float | None = None
        self._errands: dict[int, asyncio.Task[None]] = {}
        self._errand_number = 0
        self._errand_ended = False
        self._recording = False

    @workflow.run
    async def run(self, request: SiteRequest) -> None:
        if request.state is None:
            await self._load()
        else:
            self._queue.reread(_now())
        while True:
            self._read_inbox()
            if granted := self._queue.grant(_now()):
                self._start(self._grant(tuple(granted)))
            self._keep_books()
            if self._at_rest():
                return
            if has_grown_long(LONGEST_HISTORY):
                await self._go_on_anew()
            await self._until_something_happens()

    @workflow.signal(name=WORDS)
    def words(self, words: Words) -> None:
        self._inbox.append(words)

    @workflow.signal(name=CONFIGURE)
    def configure(self, settings: Configure) -> None:
        self._inbox.append(settings)

    def _read_inbox(self) -> None:
        messages, self._inbox = self._inbox, []
        for message in messages:
            if isinstance(message, Configure):
                self._queue.configure(message)
                self._last_written = None  # so that a row that is being read just now is read again
                continue
            for done in message.dones:
                self._queue.done(done, _now())
            for ask in message.asks:
                self._queue.ask(ask)
            if message.reread:
                self._queue.reread(_now())

    # Errands run beside the loop, so that nothing slow keeps a lease from being handed out.

    async def _grant(self, leases: tuple[Lease, ...]) -> None:
        """As often as it takes: what the rows have is not known before."""
        answer: LeasesGranted = await workflow.execute_activity(
            GRANT_LEASES,
            Leases(leases=leases),
            result_type=LeasesGranted,
            task_queue=WORKFLOW_QUEUE,
            start_to_close_timeout=_PATIENCE,
            retry_policy=_AS_OFTEN_AS_IT_TAKES,
            summary=f"Let {len(leases)} in",
        )
        self._queue.granted(leases, answer, _now())

    async def _read_waiters(self) -> None:
        waiters = await self._ask_library(READ_WAITERS, self._site, Waiters, "Read whose turn is next")
        if waiters is None:
            self._queue.could_not_read(_now())
        else:
            self._queue.read(waiters, _now())

    def _keep_books(self) -> None:
        now = _now()
        workflow.set_current_details(self._in_words())
        due = self._due_to_record()
        if due is not None and now >= due:
            self._recorded_at = now
            self._start(self._record())
        if not self._queue.leases:
            self._check_due = now + CHECK_LEASES_EVERY
        elif now >= self._check_due:
            self._check_due = now + CHECK_LEASES_EVERY
            self._start(self._check())
        if self._queue.begin_to_read(now):
            self._start(self._read_waiters())

    async def _record(self) -> None:
        """Its answer has what people have set, should the word of that have been lost."""
        self._recording = True
        self._recorded += 1
        self._last_written = self._situation()
        stored = await self._ask_library(RECORD_SITE, self._last_written, StoredSite, "Record how the site stands")
        self._recording = False
        if stored is None:
            self._last_written = None
        else:
            self._queue.configure(stored.settings)

    async def _check(self) -> None:
        held = self._queue.leases
        question = Leases(leases=held, expired=self._queue.expired(_now()))
        seen = await self._ask_library(CHECK_LEASES, question, LeasesSeen, "Look whether the leases are used")
        if seen is not None:
            self._queue.seen(seen, _now())

    async def _ask_library(self, activity: str, message: Message | str, answer: type[T], summary: str) -> T | None:
        """None where the database is away: there will be another occasion."""
        try:
            said: T = await workflow.execute_activity(
                activity,
                message,
                result_type=answer,
                task_queue=WORKFLOW_QUEUE,
                schedule_to_close_timeout=_PATIENCE,
                summary=summary,
            )
        except ActivityError:
            return None
        return said

    def _start(self, errand: Awaitable[None]) -> None:
        self._errand_number += 1
        self._errands[self._errand_number] = asyncio.create_task(self._run_errand(self._errand_number, errand))

    async def _run_errand(self, number: int, errand: Awaitable[None]) -> None:
        try:
            await errand
        finally:
            del self._errands[number]
            self._errand_ended = True

    # The loop's own steps.

    async def _load(self) -> None:
        stored: StoredSite = await workflow.execute_activity(
            LOAD_SITE,
            self._site,
            result_type=StoredSite,
            task_queue=WORKFLOW_QUEUE,
            start_to_close_timeout=_PATIENCE,
            retry_policy=_AS_OFTEN_AS_IT_TAKES,
            summary="What is known of the site",
        )
        self._recorded = stored.recorded
        known = SiteState(settings=stored.settings, learnt=stored.learnt, leases=stored.leases)
        self._queue = LeaseQueue(self._default, known)
        self._queue.read(stored.waiters, _now())

    def _at_rest(self) -> bool:
        """Whether it can end: what it has learnt is in the row, and nothing came in since."""
        if self._queue.in_use or self._queue.waiting or self._inbox:
            self._idle_since = None
            return False
        self._idle_since = _now() if self._idle_since is None else self._idle_since
        return _now() - self._idle_since >= REST_AFTER and not self._errands and not self._changed()

    async def _go_on_anew(self) -> None:
        await workflow.wait_condition(lambda: not self._errands)
        self._read_inbox()
        if not self._errands:
            state = self._queue.state(self._recorded)
            workflow.continue_as_new(SiteRequest(site=self._site, max_at_once=self._default, state=state))

    async def _until_something_happens(self) -> None:
        """Moments that have passed wait for something else: an errand, or the next time that the row is written."""
        now = _now()
        moments = [
            self._queue.opens_at(now),
            self._due_to_record(),
            self._check_due if self._queue.leases else None,
            None if self._idle_since is None else self._idle_since + REST_AFTER,
        ]
        self._errand_ended = False
        left = [moment - now for moment in moments if moment is not None and moment > now]
        timeout = max(0.001, min(left, default=REST_AFTER))
        try:
            await workflow.wait_condition(
                lambda: bool(self._inbox) or self._errand_ended, timeout=timeout, timeout_summary="Until it opens"
            )
        except TimeoutError:
            pass

    def _changed(self) -> bool:
        """Whether the row says something else."""
        return self._due_to_record() is not None

    def _due_to_record(self) -> float | None:
        """What people look at soon, and how it was learnt by and by: unless people set how many an hour, to have
        forgotten some seconds of that after a crash does no harm. None: the row says all that there is to say."""
        last, now = self._last_written, self._situation()
        if self._recording:
            return None
        if last is None or _shown(now) != _shown(last):
            return self._recorded_at + RECORD_AT_MOST_EVERY
        if now.learnt == last.learnt:
            return None
        hourly = self._queue.budget.requests_per_hour is not None
        return self._recorded_at + (RECORD_AT_MOST_EVERY if hourly else RECORD_LEARNT_EVERY)

    def _situation(self) -> SiteSituation:
        learnt = self._queue.budget.learnt
        cooling = learnt.cooldown_until > _now()
        return SiteSituation(
            site=self._site,
            number=self._recorded,
            cooldown_until=datetime.fromtimestamp(learnt.cooldown_until, UTC) if cooling else None,
            reason=learnt.reason,
            learnt=learnt,
        )

    def _in_words(self) -> str:
        situation, budget = self._situation(), self._queue.budget
        of = f" of {budget.at_once}" if budget.at_once < NO_LIMIT else ""
        words = [f"**{self._queue.in_use}{of}** at once, **{self._queue.waiting}** waiting"]
        rate = budget.learnt.starts_per_second
        if rate is not None:
            words.append(f"at most {rate:.2f} starts a second")
        if situation.reason is not None:
            words.append(f"after {situation.reason}")
        if situation.cooldown_until is not None:
            words.append(f"shut until {situation.cooldown_until:%Y-%m-%d %H:%M:%S} UTC")
        return "\n\n".join(words)


def _shown(situation: SiteSituation) -> tuple[object, ...]:
    return (situation.cooldown_until, situation.reason, situation.learnt.complained_at)


def _now() -> float:
    return workflow.now().timestamp()
