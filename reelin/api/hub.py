"""The live hub of one API process: from the progress bus and the jobs table to everyone who watches.

The bus is fast and may lose messages; the table is the truth. Progress goes straight through. A changed row is read
once for all who watch it. Every second a patrol looks for changes that the bus did not tell of, so that a final state
always arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal

import structlog

from reelin.api.audience import Audience
from reelin.api.board import Board
from reelin.api.events import DeletedEvent, JobEvent, LiveEvent
from reelin.api.mailbox import Subscription
from reelin.api.view import LinkMaker
from reelin.contracts.jobs import Job
from reelin.contracts.progress import BusEvent, JobDeleted, JobTouched, ProgressEvent
from reelin.library import JobRecord, Library
from reelin.progress import ProgressBus

PATROL_SECONDS = 1.0
#: A change may carry an older version than one already seen: clocks differ, and a transaction commits late.
MARGIN = 2_000_000  # microseconds, as versions are
#: A client that reconnects hears of the jobs that ended in so much time; what is older is a matter for the list.
MEMORY_SECONDS = 86_400
#: So long a job without news is kept in memory; one that runs is looked up before it is dropped.
IDLE_SECONDS = 60.0
#: Each so many patrols the jobs that are watched by name are read, whatever the bus says: one may have been deleted.
ROLL_CALL = 15
RETRY_SECONDS = 1.0

Transport = Literal["sse", "websocket", "wait"]
_log = structlog.get_logger(__name__)


def _microseconds() -> int:
    return time.time_ns() // 1000


class Hub:
    def __init__(self, library: Library, bus: ProgressBus, links: LinkMaker) -> None:
        self._library = library
        self._bus = bus
        self._board = Board(links)
        self._audience = Audience()
        self._stale: set[str] = set()
        self._stale_arrived = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._unsubscribe: Callable[[], None] | None = None
        self._closed = False

    # Life.

    async def start(self) -> None:
        self._unsubscribe = self._bus.subscribe(self._heard)
        self._tasks = (asyncio.create_task(self._reading()), asyncio.create_task(self._patrolling()))

    async def close(self) -> None:
        """Ends every subscription, so that a server that waits for its clients can stop. May be called twice."""
        self._closed = True
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for subscription in self._audience:
            subscription.close()
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What routes ask.

    def view(self, record: JobRecord) -> Job:
        """A row that was just read, as clients see it."""
        return self._board.view(record)

    def touch(self, job_id: str) -> None:
        """Tells every API process that the row has changed."""
        self._bus.publish(JobTouched(job_id=job_id))

    def deleted(self, job_id: str) -> None:
        """Tells every API process that the job was forgotten."""
        self._bus.publish(JobDeleted(job_id=job_id))

    def clients(self) -> Counter[str]:
        """Connected clients by transport."""
        return Counter(subscription.transport for subscription in self._audience)

    @contextlib.contextmanager
    def subscription(self, transport: Transport) -> Iterator[Subscription]:
        """A mailbox that watches nothing yet. It is gone when the block ends."""
        subscription = Subscription(transport)
        self._audience.join(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            self._audience.leave(subscription)

    async def watch(self, subscription: Subscription, job_id: str) -> JobEvent:
        """From now on the job's changes reach the mailbox; returns its present state, which does not.

        Raises NotFound.
        """
        self._audience.watch(subscription, job_id)
        try:
            present = self._learnt(await self._library.jobs.get(job_id))
        except BaseException:
            self._audience.unwatch(subscription, job_id)
            raise
        subscription.drop(job_id)  # it is not newer: the board has seen it
        return present

    async def watch_all(self, subscription: Subscription, *, since: int | None = None) -> None:
        """From now on every change reaches the mailbox, and first the unfinished jobs.

        With `since`, the version up to which the client has seen everything: only those that changed after it, and
        those that ended meanwhile, at most of the last day.
        """
        self._audience.watch_all(subscription)
        unfinished = [self._learnt(record) for record in await self._library.jobs.unfinished()]
        if since is None:
            subscription.prime(unfinished)
            return
        since = max(since, _microseconds() - MEMORY_SECONDS * 1_000_000)
        ended = [self._learnt(record) async for record in self._changed(since) if record.state.final]
        subscription.prime(event for event in [*unfinished, *ended] if event.version > since - MARGIN)

    def unwatch(self, subscription: Subscription, job_id: str) -> None:
        self._audience.unwatch(subscription, job_id)
        if subscription not in self._audience.of(job_id):
            subscription.drop(job_id)

    def unwatch_all(self, subscription: Subscription) -> None:
        self._audience.unwatch_all(subscription)

    async def wait_final(self, job_id: str, seconds: float) -> None:
        """Returns once the job is final or deleted, at the latest after `seconds`. Raises NotFound."""
        with self.subscription("wait") as subscription, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if (await self.watch(subscription, job_id)).final:
                    return
                async for letter in subscription:
                    if letter.event.final:
                        return

    # What the bus tells.

    def _heard(self, event: BusEvent) -> None:
        match event:
            case ProgressEvent():
                self._progressed(event)
            case JobTouched():
                self._touched(event.job_id)
            case JobDeleted():
                self._forgotten(event.job_id)

    def _progressed(self, progress: ProgressEvent) -> None:
        news = self._board.note(progress)
        if not news or not self._audience.watches(progress.job_id):
            return
        event = self._board.event(progress.job_id)
        if event is None:
            self._read_soon(progress.job_id)
        else:
            self._publish(event)

    def _touched(self, job_id: str) -> None:
        if self._audience.watches(job_id) or self._board.has_progress(job_id):
            self._read_soon(job_id)
        else:
            self._board.forget(job_id)

    def _forgotten(self, job_id: str) -> None:
        version = max(_microseconds(), self._board.version(job_id) + 1)
        self._board.forget(job_id)
        self._stale.discard(job_id)
        self._publish(DeletedEvent(job_id, version))
        self._audience.forget(job_id)

    def _publish(self, event: LiveEvent) -> None:
        for subscription in self._audience.of(event.job_id):
            subscription.put(event)

    def _learnt(self, record: JobRecord) -> JobEvent:
        """Takes in a row that was read; those who watch the job hear of it if it is news."""
        news = self._board.learn(record)
        event = self._board.event(record.id)
        assert event is not None  # its row was learnt a line ago
        if news:
            self._publish(event)
        return event

    # Reading rows: one query for all that changed meanwhile.

    def _read_soon(self, job_id: str) -> None:
        self._stale.add(job_id)
        self._stale_arrived.set()

    async def _reading(self) -> None:
        while True:
            await self._stale_arrived.wait()
            self._stale_arrived.clear()
            wanted, self._stale = self._stale, set()
            try:
                await self._read(wanted)
            except Exception:  # noqa: BLE001  whatever the driver raises: the hub outlives it
                _log.exception("The hub cannot read changed jobs; it tries again", action="hub_read")
                self._stale |= wanted
                await asyncio.sleep(RETRY_SECONDS)
                self._stale_arrived.set()

    async def _read(self, job_ids: set[str]) -> None:
        missing = set(job_ids)
        for record in await self._library.jobs.many(job_ids):
            missing.discard(record.id)
            self._learnt(record)
        for job_id in missing:
            self._forgotten(job_id)

    # The patrol.

    async def _patrolling(self) -> None:
        looked_at, rounds = _microseconds(), 0
        while True:
            await asyncio.sleep(PATROL_SECONDS)
            begun, rounds = _microseconds(), rounds + 1
            try:
                if self._audience.attentive:
                    await self._find_missed(looked_at)
                if rounds % ROLL_CALL == 0:
                    self._call_roll()
                looked_at = begun
            except Exception:  # noqa: BLE001  whatever the driver raises: the hub outlives it
                _log.exception("The hub cannot look for missed changes; it tries again", action="hub_patrol")

    async def _find_missed(self, since: int) -> None:
        async for job_id, version in self._changes(since):
            if self._audience.watches(job_id) and not self._board.knows(job_id, version):
                self._read_soon(job_id)

    def _call_roll(self) -> None:
        for job_id in self._audience.named:
            self._read_soon(job_id)
        for job_id in self._board.idle(IDLE_SECONDS):
            if self._board.has_progress(job_id):
                self._read_soon(job_id)
            else:
                self._board.forget(job_id)

    async def _changes(self, since: int) -> AsyncIterator[tuple[str, int]]:
        """(job id, version) of every row that changed after `since`, and of some before it: see MARGIN."""
        since -= MARGIN
        while page := await self._library.jobs.versions_since(since):
            for job_id, version in page:
                yield job_id, version
            since = page[-1][1]

    async def _changed(self, since: int) -> AsyncIterator[JobRecord]:
        """The same as rows."""
        since -= MARGIN
        while page := await self._library.jobs.changed_since(since):
            for record in page:
                yield record
            since = page[-1].version
