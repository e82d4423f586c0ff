"""Who watches what."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from reelin.api.mailbox import Subscription


class Audience:
    def __init__(self) -> None:
        self._members: dict[Subscription, set[str]] = {}  # and the jobs that each watches by name
        self._everything: set[Subscription] = set()
        self._reading_on: set[Subscription] = set()
        self._by_job: dict[str, set[Subscription]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._members))

    def join(self, subscription: Subscription) -> None:
        self._members[subscription] = set()

    def leave(self, subscription: Subscription) -> None:
        for job_id in tuple(self._members[subscription]):
            self.unwatch(subscription, job_id)
        self.unwatch_all(subscription)
        del self._members[subscription]

    def watch(self, subscription: Subscription, job_id: str) -> None:
        self._members[subscription].add(job_id)
        self._by_job.setdefault(job_id, set()).add(subscription)

    def watch_all(self, subscription: Subscription) -> None:
        self._everything.add(subscription)

    def read_on(self, subscription: Subscription) -> None:
        """It has got the present state of all jobs: from now on it stands where the hub stands."""
        self._reading_on.add(subscription)

    def move_on(self, position: int) -> None:
        for subscription in self._reading_on:
            subscription.move_on(position)

    def unwatch(self, subscription: Subscription, job_id: str) -> None:
        self._members[subscription].discard(job_id)
        watching = self._by_job.get(job_id, set())
        watching.discard(subscription)
        if not watching:
            self._by_job.pop(job_id, None)

    def unwatch_all(self, subscription: Subscription) -> None:
        self._everything.discard(subscription)
        self._reading_on.discard(subscription)

    def forget(self, job_id: str) -> None:
        """There is no such job any more."""
        for subscription in tuple(self._by_job.get(job_id, ())):
            self.unwatch(subscription, job_id)

    def of(self, job_id: str) -> Collection[Subscription]:
        named = self._by_job.get(job_id)
        if not named:
            return self._everything
        return named | self._everything if self._everything else named

    def watches(self, job_id: str) -> bool:
        return bool(self._everything) or job_id in self._by_job

    @property
    def attentive(self) -> bool:
        """Whether anybody watches anything."""
        return bool(self._everything or self._by_job)

    @property
    def everything(self) -> bool:
        """Whether anybody watches all jobs."""
        return bool(self._everything)

    @property
    def named(self) -> frozenset[str]:
        """The jobs that are watched one by one."""
        return frozenset(self._by_job)
