"""One site, and the whole fleet's manners towards it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.model import Message
    from reelin.contracts.sites import (
        ASK,
        CHECK_HOLDERS,
        CONFIGURE,
        DONE,
        LOAD_SITE,
        PRIORITISE,
        RECORD_SITE,
        WORDS,
        Ask,
        Configure,
        Done,
        Holder,
        Holders,
        HoldersSeen,
        Prioritise,
        SiteRequest,
        SiteSituation,
        SiteState,
        StoredSite,
        Words,
    )
    from reelin.contracts.work import LEASE_GRANTED, SITE_WORKFLOW, WORKFLOW_QUEUE
    from reelin.workflows.ledger import Ledger

T = TypeVar("T", bound=Message)
RECORD_AT_MOST_EVERY = 1.0
CHECK_HOLDERS_EVERY = 30.0
REST_AFTER = 600.0
LONGEST_HISTORY = 8_000
_PATIENCE = timedelta(seconds=20)
_AS_OFTEN_AS_IT_TAKES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))


@workflow.defn(name=SITE_WORKFLOW)
class SiteWorkflow:
    """Hands out leases as the ledger says. What it is told waits in an inbox until the loop comes round."""

    @workflow.init
    def __init__(self, request: SiteRequest) -> None:
        self._site = request.site
        self._default = request.max_at_once
        self._inbox: list[Ask | Done | Configure | Prioritise | Holder | HoldersSeen] = []
        self._ledger = Ledger(request.max_at_once, request.state or SiteState())
        self._recorded = request.state.recorded if request.state else 0
        self._last_written: SiteSituation | None = None
        self._record_due = self._check_due = 0.0
        self._idle_since: float | None = None
        self._errands: dict[int, asyncio.Task[None]] = {}
        self._errand_number = 0
        self._errand_ended = False
        self._recording = False

    @workflow.run
    async def run(self, request: SiteRequest) -> None:
        if request.state is None:
            await self._load()
        while True:
            self._read_inbox()
            for holder in self._ledger.grant(_now()):
                self._start(self._tell(holder))
            self._keep_books()
            if self._at_rest():
                return
            if self._grown_long():
                await self._go_on_anew()
            await self._until_something_happens()

    @workflow.signal(name=ASK)
    def ask(self, ask: Ask) -> None:
        self._inbox.append(ask)

    @workflow.signal(name=DONE)
    def done(self, done: Done) -> None:
        self._inbox.append(done)

    @workflow.signal(name=WORDS)
    def words(self, words: Words) -> None:
        self._inbox += [*words.dones, *words.asks]

    @workflow.signal(name=CONFIGURE)
    def configure(self, settings: Configure) -> None:
        self._inbox.append(settings)

    @workflow.signal(name=PRIORITISE)
    def prioritise(self, wish: Prioritise) -> None:
        self._inbox.append(wish)

    def _read_inbox(self) -> None:
        messages, self._inbox = self._inbox, []
        for message in messages:
            if isinstance(message, Ask):
                if self._ledger.ask(message, _now()):
                    self._start(self._tell(Holder(job_id=message.job_id, run=message.run)))
            elif isinstance(message, Done):
                self._ledger.done(message, _now())
            elif isinstance(message, Configure):
                self._ledger.configure(message)
                self._last_written = None  # so that a row that is being read just now is read again
            elif isinstance(message, Prioritise):
                self._ledger.prioritise(message)
            elif isinstance(message, Holder):
                self._ledger.free([message])
            else:
                self._ledger.free(message.gone)
                self._ledger.not_seen(message.missing, _now())

    # Errands run beside the loop, so that nothing slow keeps a lease from being handed out.

    async def _tell(self, holder: Holder) -> None:
        try:
            await workflow.get_external_workflow_handle(holder.job_id).signal(LEASE_GRANTED)
        except ApplicationError:  # it has ended meanwhile
            self._inbox.append(holder)

    def _keep_books(self) -> None:
        now = _now()
        workflow.set_current_details(self._in_words())
        if now >= self._record_due and self._changed():
            self._record_due = now + RECORD_AT_MOST_EVERY
            self._start(self._record())
        if not self._ledger.in_use:
            self._check_due = now + CHECK_HOLDERS_EVERY
        elif now >= self._check_due:
            self._check_due = now + CHECK_HOLDERS_EVERY
            self._start(self._check())

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
            self._ledger.configure(stored.settings)

    async def _check(self) -> None:
        holders = Holders(holders=self._ledger.holders)
        seen = await self._ask_library(CHECK_HOLDERS, holders, HoldersSeen, "Look whether the holders run")
        if seen is not None:
            self._inbox.append(seen)

    async def _ask_library(self, activity: str, message: Message, answer: type[T], summary: str) -> T | None:
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
        self._ledger = Ledger(self._default, SiteState(settings=stored.settings, learnt=stored.learnt))

    def _at_rest(self) -> bool:
        """Whether it can end: what it has learnt is in the row, and nothing came in since."""
        if self._ledger.in_use or self._ledger.waiting or self._inbox:
            self._idle_since = None
            return False
        self._idle_since = _now() if self._idle_since is None else self._idle_since
        return _now() - self._idle_since >= REST_AFTER and not self._errands and not self._changed()

    def _grown_long(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.get_current_history_length() > LONGEST_HISTORY

    async def _go_on_anew(self) -> None:
        await workflow.wait_condition(lambda: not self._errands)
        self._read_inbox()
        if not self._errands:
            state = self._ledger.state(self._recorded)
            workflow.continue_as_new(SiteRequest(site=self._site, max_at_once=self._default, state=state))

    async def _until_something_happens(self) -> None:
        now = _now()
        moments = [self._ledger.opens_at(now), self._record_due if self._changed() else None]
        if self._ledger.in_use:
            moments.append(self._check_due)
        if self._idle_since is not None and not self._errands:
            moments.append(self._idle_since + REST_AFTER)
        self._errand_ended = False
        timeout = max(0.001, min((moment for moment in moments if moment is not None), default=REST_AFTER) - now)
        try:
            await workflow.wait_condition(
                lambda: bool(self._inbox) or self._errand_ended, timeout=timeout, timeout_summary="Until it opens"
            )
        except TimeoutError:
            pass

    def _changed(self) -> bool:
        """Whether people would read something else than what was written last."""
        if self._recording:
            return False
        return self._last_written is None or _visible(self._situation()) != _visible(self._last_written)

    def _situation(self) -> SiteSituation:
        learnt = self._ledger.budget.learnt
        cooling = learnt.cooldown_until > _now()
        return SiteSituation(
            site=self._site,
            number=self._recorded,
            in_use=self._ledger.in_use,
            waiting=self._ledger.waiting,
            cooldown_until=datetime.fromtimestamp(learnt.cooldown_until, UTC) if cooling else None,
            reason=learnt.reason,
            learnt=learnt,
        )

    def _in_words(self) -> str:
        situation, budget = self._situation(), self._ledger.budget
        words = [f"**{situation.in_use} of {budget.at_once}** at once, **{situation.waiting}** waiting"]
        rate = budget.learnt.starts_per_second
        if rate is not None:
            words.append(f"at most {rate:.2f} starts a second")
        if situation.reason is not None:
            words.append(f"after {situation.reason}")
        if situation.cooldown_until is not None:
            words.append(f"shut until {situation.cooldown_until:%Y-%m-%d %H:%M:%S} UTC")
        return "\n\n".join(words)


def _visible(situation: SiteSituation) -> tuple[object, ...]:
    learnt = situation.learnt
    return (situation.in_use, situation.waiting, situation.cooldown_until, situation.reason, learnt.complained_at)


def _now() -> float:
    return workflow.now().timestamp()
