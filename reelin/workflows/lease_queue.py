"""Who has a lease on a site and whose turn it is. Plain and deterministic, with the time passed in.

Who waits stands in rows; of them the queue knows how many there are, and the front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import (
    COMPLAINTS,
    FRONT,
    Ask,
    Configure,
    Done,
    Lease,
    LeasesGranted,
    LeasesSeen,
    SiteState,
    Waiters,
)
from reelin.workflows.budget import Budget

#: When so few of those who wait are known by name, the rows are read again, at most so often.
LOW = 25
REREAD_SECONDS = 0.2
#: A worker that stops or crashes hands its job on within seconds; a busy one begins it later.
FORGET_LEASE_SECONDS = 90.0
#: Jobs whose older run is still ending are asked about again after so long.
LATER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Waiter:
    ask: Ask
    arrival: int


class LeaseQueue:
    """`max_at_once` applies where people have set nothing."""

    def __init__(self, max_at_once: int, state: SiteState) -> None:
        self._default = max_at_once
        self._settings = state.settings
        self._leases = {lease.job_id: lease for lease in state.leases}
        self._front: dict[str, _Waiter] = {}
        self._asked_meanwhile: set[str] = set()  #: Those that ask while they have a lease: its end is still to be told.
        self._unconfirmed: set[int] = set()  #: Leases that the rows do not have yet.
        self._served = dict(state.served)
        self._serial = max((*self._served.values(), *(lease.number for lease in state.leases)), default=0)
        self._arrivals = 0
        self._read_at = 0.0
        self._asked_while_reading: list[Ask] | None = None  #: None: the rows are not being read.
        self.waiting = 0  #: As many as wait altogether, as far as is known.
        self.reread_at: float | None = None  #: When the rows are to be read again; None: not before somebody says so.
        self.budget = Budget(max_at_once, learnt=state.learnt)
        self.configure(state.settings)

    @property
    def in_use(self) -> int:
        return len(self._leases)

    @property
    def leases(self) -> tuple[Lease, ...]:
        """Those that the rows have, as far as is known."""
        return tuple(lease for lease in self._leases.values() if lease.number not in self._unconfirmed)

    def state(self, recorded: int) -> SiteState:
        return SiteState(
            settings=self._settings,
            learnt=self.budget.learnt,
            leases=self.leases,
            served=self._served,
            recorded=recorded,
        )

    def configure(self, settings: Configure) -> None:
        self._settings = settings
        self.budget.max_at_once = settings.max_at_once or self._default
        self.budget.requests_per_hour = settings.requests_per_hour

    def reread(self, now: float, *, after: float = 0) -> None:
        """The rows are to be read again, at the latest so many seconds from now."""
        self.reread_at = now + after if self.reread_at is None else min(self.reread_at, now + after)

    def begin_to_read(self, now: float) -> bool:
        """Whether the rows are to be read now: `read` or `could_not_read` says what came of it."""
        if self.reread_at is None or now < self.reread_at or self._asked_while_reading is not None:
            return False
        self.reread_at, self._asked_while_reading = None, []
        return True

    def read(self, waiters: Waiters, now: float) -> None:
        """What the rows say takes the place of what was known, but for who has asked since."""
        asks, self._asked_while_reading = self._asked_while_reading or [], None
        self._front, self._read_at = {}, now
        for ask in waiters.front:
            self._add(ask)
        self.waiting = len(self._front) + waiters.total - len(waiters.front)
        for ask in asks:
            self.ask(ask)

    def could_not_read(self, now: float) -> None:
        self._asked_while_reading = None
        self.reread(now, after=1)

    def ask(self, ask: Ask) -> None:
        """Where more wait than are known by name, whoever comes after those is not known either."""
        if self._asked_while_reading is not None:
            self._asked_while_reading.append(ask)
        if ask.job_id in self._front or not self._in_front(ask):
            self.waiting += ask.job_id not in self._front
            return
        if self._add(ask):
            self.waiting += 1
        if len(self._front) > 2 * FRONT:
            del self._front[max(self._front.values(), key=_place).ask.job_id]

    def done(self, done: Done, now: float) -> None:
        """Said twice, it counts once. Without a lease only a complaint counts."""
        lease = self._leases.get(done.job_id) if done.lease is not None else None
        if done.lease != (lease.number if lease else None):
            return  # said of a lease that has ended
        if done.goes_on:
            self.budget.served(done.job_id)
            return
        if done.kind in COMPLAINTS:
            self._complained(done, done.kind, lease, now)
        elif lease is not None and done.success:
            self.budget.succeeded(done.job_id, lease.since, crowded=self.waiting > 0)
        else:
            self.budget.left(done.job_id)
        if lease is not None:
            self._free(lease, now)

    def grant(self, now: float) -> list[Lease]:
        """Hands out what may start now: the rows are to be told, and they may know better."""
        granted: list[Lease] = []
        while self._front:
            opens_at = self.budget.opens_at(now, self.in_use)
            if opens_at is None or opens_at > now:
                break
            granted.append(self._grant_one(now))
        if len(self._front) < min(LOW, self.waiting):
            self.reread(max(now, self._read_at + REREAD_SECONDS))
        return granted

    def granted(self, leases: Iterable[Lease], answer: LeasesGranted, now: float) -> None:
        """What the rows said of new leases. Of those that were not taken nothing was asked of the site."""
        for lease in leases:
            self._unconfirmed.discard(lease.number)
            held = self._leases.get(lease.job_id)
            if held is not None and held.number == lease.number and held.number in (*answer.refused, *answer.later):
                self.budget.take_back(lease.job_id, lease.since)
                self._free(held, now)
        if answer.later:
            self.reread(now, after=LATER_SECONDS)

    def opens_at(self, now: float) -> float | None:
        """When there will be something to hand out, or to read, without anyone saying a word."""
        opens_at = self.budget.opens_at(now, self.in_use) if self._front else None
        moments = [opens_at, self.reread_at if self._asked_while_reading is None else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def expired(self, now: float) -> tuple[int, ...]:
        """The leases, by number, whose holders were not seen running for too long."""
        return tuple(
            lease.number
            for lease in self._leases.values()
            if lease.missing_since is not None and now - lease.missing_since >= FORGET_LEASE_SECONDS
        )

    def seen(self, answer: LeasesSeen, now: float) -> None:
        """What the rows said of the leases. All that are not named were seen running."""
        for job_id, lease in list(self._leases.items()):
            since = None if lease.number not in answer.missing else lease.missing_since or now
            if lease.number in answer.gone:
                self.budget.left(job_id)
                self._free(lease, now)
                self.reread(now)
            elif since != lease.missing_since:
                self._leases[job_id] = lease.model_copy(update={"missing_since": since})

    def _add(self, ask: Ask) -> bool:
        lease = self._leases.get(ask.job_id)
        if lease is not None:
            if lease.number not in self._unconfirmed:  # else it has asked, or was read of, before it got that lease
                self._asked_meanwhile.add(ask.job_id)
            return False
        self._arrivals += 1
        self._front[ask.job_id] = _Waiter(ask, self._arrivals)
        return True

    def _in_front(self, ask: Ask) -> bool:
        """Whether it comes before the last of its owner that is known by name, or all are."""
        if self.waiting <= len(self._front):
            return True
        of_owner = [waiter for waiter in self._front.values() if waiter.ask.owner == ask.owner]
        return not of_owner or (ask.priority, ask.since) < max(
            (waiter.ask.priority, waiter.ask.since) for waiter in of_owner
        )

    def _free(self, lease: Lease, now: float) -> None:
        del self._leases[lease.job_id]
        if lease.job_id in self._asked_meanwhile:
            self._asked_meanwhile.discard(lease.job_id)
            self.reread(now)

    def _complained(self, done: Done, kind: FailureKind, lease: Lease | None, now: float) -> None:
        self.budget.complained(
            done.job_id,
            kind,
            began_at=lease.since if lease else done.began_at or now,
            now=now,
            in_use=self.in_use,
            retry_after=done.retry_after_seconds,
        )

    def _grant_one(self, now: float) -> Lease:
        in_use = Counter(lease.owner for lease in self._leases.values())

        def turn(waiter: _Waiter) -> tuple[int, int, int, float, int]:
            ask = waiter.ask
            return (ask.priority, in_use[ask.owner], self._served.get(ask.owner, 0), ask.since, waiter.arrival)

        ask = min(self._front.values(), key=turn).ask
        del self._front[ask.job_id]
        self.waiting -= 1
        number = self._serial = max(self._serial + 1, int(now * 1000))  # none is used twice, also after a fresh start
        lease = Lease(job_id=ask.job_id, run=ask.run, number=number, owner=ask.owner, since=now)
        self._leases[ask.job_id] = lease
        self._unconfirmed.add(number)
        self.budget.start(ask.job_id, now)
        known = {waiter.ask.owner for waiter in self._front.values()} | {ask.owner}
        self._served = {owner: last for owner, last in self._served.items() if owner in known}
        self._served[ask.owner] = number
        return lease


def _place(waiter: _Waiter) -> tuple[int, float, int]:
    return (waiter.ask.priority, waiter.ask.since, waiter.arrival)
