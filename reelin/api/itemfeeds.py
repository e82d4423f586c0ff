"""Who watches the items of which batch.

What is in flight is told as it happens, like any job. What has changed is read from the database in the order of its
versions, client by client from a mark of its own, so that no end of an item is missed, even of one that began and ended
between two looks; and only into a mailbox that has room: a client that is slow, or a batch of 100,000 that is called
off, costs a page of memory and no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field

from reelin.api.board import Board
from reelin.api.events import DeletedEvent, JobEvent
from reelin.api.mailbox import Letter, Subscription
from reelin.api.rounds import in_rounds
from reelin.library import ItemRecord, JobRecord, Library

FEED_SECONDS = 0.5
SHARE = 0.1
PAGE = 250
#: Letters in a mailbox beyond which items no longer enter it: the client is to catch up from its mark.
FULL = 2 * PAGE


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Everything that changed up to here was told: all of `version`, or if there is a `position` its items up to that
    one. It is where reading stopped, and no moment: whoever writes, what comes later has a greater version."""

    version: int
    position: int = 0

    @property
    def told(self) -> int:
        """The version that was told as a whole, with all before it."""
        return self.version - 1 if self.position else self.version


@dataclass(eq=False, slots=True)
class ItemFeed:
    """One client's view of a batch's items. `told`: the newest version of each that it got since the mark."""

    batch_id: str
    subscription: Subscription
    mark: Mark
    told: dict[str, int] = field(default_factory=dict)

    def tell(self, event: JobEvent, row_version: int) -> None:
        """What has just happened, if there is room for it; else it is read later."""
        if self.subscription.accepts(event.job_id, FULL):
            self.subscription.put(event)
            self.told[event.job_id] = row_version

    def unread(self, changes: Sequence[tuple[ItemRecord, JobEvent]]) -> list[JobEvent]:
        """Those that were not told, as of now they are."""
        found = []
        for item, event in changes:
            if self.told.get(item.job.id, 0) < item.job.version:
                self.told[item.job.id] = item.job.version
                found.append(event)
        return found

    def move(self, mark: Mark) -> None:
        self.mark = mark
        self.subscription.move_on(mark.told)
        self.told = {job_id: version for job_id, version in self.told.items() if version >= mark.version}


class ItemFeeds:
    """`learn` takes in the row of a job, and tells everyone who watches it; `drop` forgets one unless it is watched."""

    def __init__(
        self, library: Library, board: Board, learn: Callable[[JobRecord], object], drop: Callable[[str], None]
    ) -> None:
        self._library = library
        self._board = board
        self._learn = learn
        self._drop = drop
        self._feeds: dict[str, dict[Subscription, ItemFeed]] = {}
        self._in_flight: dict[str, dict[str, ItemRecord]] = {}  # job id → batch id → its place there

    async def run(self) -> None:
        await in_rounds(self.round, seconds=FEED_SECONDS, share=SHARE, action="hub_items")

    async def open(self, subscription: Subscription, batch_id: str, *, since: int | None = None) -> ItemFeed:
        """The items in flight, and from now on every change. With `since`: only what changed after that version."""
        newest = await self._library.jobs.newest_version()
        flying = await self._library.batches.in_flight(batch_id)
        feeds = self._feeds.setdefault(batch_id, {})
        if subscription not in feeds:
            if since is not None and since > newest:
                since = None  # of another library
            mark = Mark(newest if since is None else since)
            subscription.move_on(since or 0)
            feed = ItemFeed(batch_id, subscription, mark)
            versions = {item.job.id: min(item.job.version, newest) for item in flying}
            present = feed.unread([(item, self._take_in(item)) for item in flying])
            news = [event for event in present if since is None or event.version > since]
            subscription.prime((event, versions[event.job_id]) for event in news)
            subscription.move_on(mark.told)
            feeds[subscription] = feed
        return feeds[subscription]

    def close(self, subscription: Subscription, batch_id: str) -> None:
        feeds = self._feeds.get(batch_id, {})
        feeds.pop(subscription, None)
        if not feeds:
            self._forget_batch(batch_id)

    def leave(self, subscription: Subscription) -> None:
        for batch_id in [each for each, feeds in self._feeds.items() if subscription in feeds]:
            self.close(subscription, batch_id)

    @property
    def in_flight(self) -> Collection[str]:
        """The items that someone watches as such."""
        return self._in_flight.keys()

    def follows(self, job_id: str) -> bool:
        """Whether it is in flight in a batch whose items someone watches."""
        return job_id in self._in_flight

    def tell(self, job_id: str) -> None:
        """The board has news of the job."""
        for batch_id, item in self._in_flight.get(job_id, {}).items():
            event, row_version = self._board.event_in(item), self._board.row_version(job_id)
            for feed in self._feeds[batch_id].values():
                feed.tell(event, row_version)

    def forget(self, deleted: DeletedEvent) -> None:
        """The job is no more, be it an item or a batch."""
        for batch_id in self._in_flight.pop(deleted.job_id, {}):
            for feed in self._feeds[batch_id].values():
                feed.subscription.put(deleted)
        self._forget_batch(deleted.job_id)

    async def round(self) -> None:
        """The next page for each client that has room for it; those that stand at the same mark share it."""
        for batch_id, feeds in tuple(self._feeds.items()):
            groups: dict[Mark, list[ItemFeed]] = {}
            for feed in feeds.values():
                if len(feed.subscription) < PAGE:
                    groups.setdefault(feed.mark, []).append(feed)
            for mark, group in groups.items():
                changes, following = await self._page(batch_id, mark)
                for feed in group:
                    if feeds.get(feed.subscription) is feed:  # it was not closed meanwhile
                        for event in feed.unread(changes):
                            feed.subscription.put(event)
                        feed.move(following)

    async def rest(self, feed: ItemFeed) -> AsyncIterator[Letter]:
        """Of a batch that has ended: what waits in the mailbox, then what did not reach it, as fast as it is taken."""
        self.close(feed.subscription, feed.batch_id)
        while (letter := feed.subscription.take()) is not None:
            yield letter
        more = True
        while more:
            changes, following = await self._page(feed.batch_id, feed.mark)
            unread, more = feed.unread(changes), len(changes) == PAGE
            position = feed.mark.told
            feed.move(following)
            for event in unread:
                yield Letter(event, position)

    async def _page(self, batch_id: str, mark: Mark) -> tuple[list[tuple[ItemRecord, JobEvent]], Mark]:
        """What changed after the mark, and the next mark."""
        newest = await self._library.jobs.newest_version()
        found = await self._library.batches.changed_since(batch_id, mark.version, mark.position, limit=PAGE)
        changes = [(item, self._take_in(item)) for item in found]
        if len(found) == PAGE:
            return changes, Mark(found[-1].job.version, found[-1].position)
        read = found[-1].job.version if found else mark.version
        return changes, Mark(max(newest, read))

    def _take_in(self, item: ItemRecord) -> JobEvent:
        """Those in flight are followed from here on, those that are through no more."""
        job_id, flies = item.job.id, not item.settled and not item.state.final
        if flies and item.batch_id in self._feeds:
            self._in_flight.setdefault(job_id, {}).setdefault(item.batch_id, item)
        if item.settled:
            self._land(job_id, item.batch_id)  # what becomes of the job is not this batch's news any more
        if flies or self._board.row_version(job_id):
            self._learn(item.job)
        event = self._board.event_in(item)
        if not flies:
            self._land(job_id, item.batch_id)
            self._drop(job_id)
        return event

    def _land(self, job_id: str, batch_id: str) -> None:
        places = self._in_flight.get(job_id, {})
        places.pop(batch_id, None)
        if not places:
            self._in_flight.pop(job_id, None)

    def _forget_batch(self, batch_id: str) -> None:
        self._feeds.pop(batch_id, None)
        for job_id in [job_id for job_id, places in self._in_flight.items() if batch_id in places]:
            self._land(job_id, batch_id)
