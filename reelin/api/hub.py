"""The live hub of one API process: from the progress bus and the jobs table to everyone who watches.

The bus is fast and may lose messages; the table is the truth. What the bus tells waits in a slot for each job, out of
which a task of the hub's takes it: whoever publishes does not pay for those who watch. A changed row is read once for
all who watch it, and the table is read on in the order of its versions, at the latest every second, so that a final
state always arrives. What a batch's items come to is found by the sweep, and what becomes of each by the item feeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Literal

import structlog

from reelin.api.audience import Audience
from reelin.api.board import Board, goes_on
from reelin.api.events import DeletedEvent, JobEvent, LiveEvent
from reelin.api.figures import Figures
from reelin.api.itemfeeds import ItemFeed, ItemFeeds
from reelin.api.mailbox import Letter, Subscription
from reelin.api.reader import TableReader
from reelin.api.status import ServiceStatus
from reelin.api.sweep import Sweep
from reelin.api.view import LinkMaker
from reelin.contracts.jobs import Job
from reelin.contracts.progress import BusEvent, JobDeleted, JobTouched, ProgressEvent
from reelin.library import JobRecord, Library
from reelin.progress import ProgressBus, Slots

PATROL_SECONDS = 1.0
#: A client that reconnects hears of the jobs that ended in so much time; what is older is a matter for the list.
MEMORY_SECONDS = 86_400
#: So long a job without news is kept in memory; one that runs is looked up before it is dropped.
IDLE_SECONDS = 60.0
#: Each so many patrols the jobs that are watched by name are read, whatever the bus says: one may have been deleted.
ROLL_CALL = 15
#: Jobs that are read at once for a client: more would keep the event loop from others for too long.
PAGE = 250
#: The hub tells for so long before it lets others have the event loop.
TURN_SECONDS = 0.005

Transport = Literal["sse", "websocket", "wait"]
_log = structlog.get_logger(__name__)


class Hub:
    def __init__(self, library: Library, bus: ProgressBus, links: LinkMaker) -> None:
        self._library = library
        self._bus = bus
        self._board = Board(links)
        self._audience = Audience()
        self._feeds = ItemFeeds(library, self._board, self._learnt, self._drop)
        self._sweep = Sweep(library, self._board, self._audience, self._feeds, self._tell)
        self._heard = Slots()
        self._reader = TableReader(
            library,
            is_news=self._is_news,
            take_in=self._read,
            missing=self._forgotten,
            told_up_to=self._audience.move_on,
        )
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._unsubscribe: Callable[[], None] | None = None
        self._closed = False

    # Life.

    async def start(self) -> None:
        self._unsubscribe = self._bus.subscribe(self._heard.put)
        lives = (self._hearing(), self._reader.run(), self._patrolling(), self._sweep.run(), self._feeds.run())
        self._tasks = tuple(asyncio.create_task(life) for life in lives)

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
        """A row that was just read, as clients see it. A batch that nobody watches is not counted: see `views`."""
        return self._board.view(record)

    async def views(self, records: Iterable[JobRecord]) -> list[Job]:
        """The same of many, and every batch with its counts."""
        return [self._board.view(record, await self._figures(record)) for record in records]

    async def unfinished(self) -> AsyncIterator[tuple[list[Job], bool]]:
        """The unfinished jobs, a page at a time, and whether another follows; nothing is remembered."""
        job_ids = [job_id for job_id, _ in await self._library.jobs.unfinished_versions()]
        for start in range(0, max(len(job_ids), 1), PAGE):
            page = await self._library.jobs.many(job_ids[start : start + PAGE])
            yield await self.views(page), start + PAGE < len(job_ids)

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
            self._feeds.leave(subscription)
            self._audience.leave(subscription)

    async def watch(self, subscription: Subscription, job_id: str) -> JobEvent:
        """From now on the job's changes reach the mailbox; returns its present state, which does not.

        Raises NotFound.
        """
        self._audience.watch(subscription, job_id)
        try:
            await self._reader.start_reading_on()
            present = await self._take_in(await self._library.jobs.get(job_id))
        except BaseException:
            self._audience.unwatch(subscription, job_id)
            raise
        subscription.drop(job_id)  # it is not newer: the board has seen it
        return present

    async def watch_all(self, subscription: Subscription, *, since: int | None = None) -> None:
        """From now on every change reaches the mailbox, and first the unfinished jobs.

        With `since`, the version up to which the client has seen everything: only those that changed after it, and
        those that ended meanwhile, at most of the last day. What was deleted meanwhile is not told.
        """
        self._audience.watch_all(subscription)
        await self._reader.start_reading_on()
        newest = await self._library.jobs.newest_version()
        if since is not None and since > newest:
            since = None  # of another library
        known = await self._library.jobs.unfinished_versions()
        if since is not None:
            subscription.move_on(since)
            known += await self._library.jobs.ended_since(max(since, newest - MEMORY_SECONDS * 1_000_000))
        for start in range(0, len(known), PAGE):
            present = await self._events(known[start : start + PAGE])
            for event, _ in present:  # to read a row told everyone of it, but to this client it may be no news
                subscription.drop(event.job_id)
            news = [(event, min(version, newest)) for event, version in present if event.version > (since or 0)]
            subscription.prime(news)
        subscription.move_on(newest)
        self._audience.read_on(subscription)

    async def watch_items(self, subscription: Subscription, job_id: str, *, since: int | None = None) -> ItemFeed:
        """From now on the items of the batch reach the mailbox, first those in flight; only one event of each.

        With `since`, the version up to which the client has seen everything: only what changed after it.
        """
        return await self._feeds.open(subscription, job_id, since=since)

    def rest(self, feed: ItemFeed) -> AsyncIterator[Letter]:
        """Of a batch that has ended: what waits in the mailbox, and what did not reach it. Then the feed is closed."""
        return self._feeds.rest(feed)

    def unwatch(self, subscription: Subscription, job_id: str) -> None:
        self._feeds.close(subscription, job_id)
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

    def stand(self, service: ServiceStatus) -> None:
        """How the service stands from now on: those who watch a job hear of it where the job waits because of that."""
        for job_id in self._board.stand(service):
            self._tell(job_id)

    # What the bus tells.

    async def _hearing(self) -> None:
        while True:
            await self._heard.filled()
            turn_ends = time.monotonic() + TURN_SECONDS
            while len(self._heard) and time.monotonic() < turn_ends:
                for event in self._heard.take():
                    self._hear(event)
            await asyncio.sleep(0)

    def _hear(self, event: BusEvent) -> None:
        match event:
            case ProgressEvent():
                self._progressed(event)
            case JobTouched():
                self._touched(event.job_id)
            case JobDeleted():
                self._forgotten(event.job_id)

    def _progressed(self, progress: ProgressEvent) -> None:
        news = self._board.note(progress)
        if not news or not self._watched(progress.job_id):
            return
        event = self._board.event(progress.job_id)
        if event is None:
            self._reader.read_soon(progress.job_id)
        else:
            self._publish(event)

    def _touched(self, job_id: str) -> None:
        self._sweep.wake(job_id)
        if self._audience.everything:
            self._reader.read_on()
        if self._watched(job_id) or self._board.has_progress(job_id):
            self._reader.read_soon(job_id)
        else:
            self._board.forget(job_id)

    def _watched(self, job_id: str) -> bool:
        return self._audience.watches(job_id) or self._feeds.follows(job_id)

    def _forgotten(self, job_id: str) -> None:
        deleted = DeletedEvent(job_id, self._board.version(job_id) + 1)
        self._board.forget(job_id)
        self._reader.forget(job_id)
        self._publish(deleted)
        self._feeds.forget(deleted)
        self._audience.forget(job_id)

    def _publish(self, event: LiveEvent) -> None:
        for subscription in self._audience.of(event.job_id):
            subscription.put(event)
        self._feeds.tell(event.job_id)

    def _tell(self, job_id: str) -> None:
        event = self._board.event(job_id)
        if event is not None:
            self._publish(event)

    def _drop(self, job_id: str) -> None:
        if not self._watched(job_id):
            self._board.forget(job_id)

    def _learnt(self, record: JobRecord) -> JobEvent:
        """Takes in a row that was read; those who watch the job hear of it if it is news."""
        news = self._board.learn(record)
        event = self._board.event(record.id)
        assert event is not None  # its row was learnt a line ago
        if news:
            self._publish(event)
        return event

    async def _take_in(self, record: JobRecord) -> JobEvent:
        """The same, and a batch is counted first."""
        figures = await self._figures(record)
        if figures is None:
            return self._learnt(record)
        news = self._board.learn(record)
        if self._board.figure(record.id, figures) or news:
            self._tell(record.id)
        return self._learnt(record)

    async def _figures(self, record: JobRecord) -> Figures | None:
        return await self._sweep.current(record.id) if goes_on(record) else None

    async def _events(self, known: Sequence[tuple[str, int]]) -> list[tuple[JobEvent, int]]:
        """The present state of jobs, whose rows are read where the board does not have them, with those versions."""
        unknown = [job_id for job_id, version in known if not self._board.knows(job_id, version)]
        for record in await self._library.jobs.many(unknown) if unknown else ():
            await self._take_in(record)
        events = ((self._board.event(job_id), version) for job_id, version in known)
        return [(event, version) for event, version in events if event is not None]

    def _is_news(self, job_id: str, version: int) -> bool:
        return self._watched(job_id) and not self._board.knows(job_id, version)

    async def _read(self, record: JobRecord) -> None:
        await self._take_in(record)
        if record.state.final and not self._feeds.follows(record.id):
            self._drop(record.id)

    # The patrol.

    async def _patrolling(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(PATROL_SECONDS)
            rounds += 1
            if self._audience.attentive:
                self._reader.read_on()
            else:
                self._reader.stop_reading_on()
            for job_id in self._audience.named:
                if rounds % ROLL_CALL == 0 or self._board.is_held(job_id):  # these changes are not among the others
                    self._reader.read_soon(job_id)
            if rounds % ROLL_CALL == 0:
                self._look_through_idle()

    def _look_through_idle(self) -> None:
        for job_id in self._board.idle(IDLE_SECONDS):
            if self._board.has_progress(job_id):
                self._reader.read_soon(job_id)
            else:
                self._board.forget(job_id)
