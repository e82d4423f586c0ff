"""Who has a lease on a site and who waits for one. Plain and deterministic, with the time passed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import COMPLAINTS, Ask, Configure, Done, Holder, Lease, Place, Prioritise, SiteState
from reelin.workflows.budget import Budget

#: Who waits asks again every minute; who has not asked for so long waits no more.
FORGET_PLACE_SECONDS = 200.0
#: A worker that stops or crashes hands its job on within seconds; a busy one begins it later.
FORGET_LEASE_SECONDS = 90.0


class Ledger:
    """`max_at_once` applies where people have set nothing."""

    def __init__(self, max_at_once: int, state: SiteState) -> None:
        self._default = max_at_once
        self._settings = state.settings
        self._leases = {lease.job_id: lease for lease in state.leases}
        self._line = {place.ask.job_id: place for place in state.line}
        self._served = dict(state.served)
        self._serial = state.serial
        self.budget = Budget(max_at_once, learnt=state.learnt)
        self.configure(state.settings)

    @property
    def in_use(self) -> int:
        return len(self._leases)

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def holders(self) -> tuple[Holder, ...]:
        return tuple(Holder(job_id=lease.job_id, run=lease.run) for lease in self._leases.values())

    def state(self, recorded: int) -> SiteState:
        return SiteState(
            settings=self._settings,
            learnt=self.budget.learnt,
            leases=tuple(self._leases.values()),
            line=tuple(self._line.values()),
            served=self._served,
            serial=self._serial,
            recorded=recorded,
        )

    def configure(self, settings: Configure) -> None:
        self._settings = settings
        self.budget.max_at_once = settings.max_at_once or self._default
        self.budget.requests_per_hour = settings.requests_per_hour

    def ask(self, ask: Ask, now: float) -> bool:
        """Says whether the job has a lease already: the word of it was lost, and is to be given again."""
        lease = self._leases.get(ask.job_id)
        if lease is not None:
            self._leases[ask.job_id] = lease.model_copy(update={"run": ask.run, "missing_since": None})
            return True
        before = self._line.get(ask.job_id)
        arrival = self._number() if before is None else before.arrival
        self._line[ask.job_id] = Place(ask=ask, arrival=arrival, asked_at=now)
        return False

    def prioritise(self, wish: Prioritise) -> None:
        for job_id in wish.job_ids:
            place = self._line.get(job_id)
            if place is not None:
                ask = place.ask.model_copy(update={"priority": wish.priority})
                self._line[job_id] = place.model_copy(update={"ask": ask})

    def done(self, done: Done, now: float) -> None:
        """Said twice, it counts once. Without a lease only a complaint counts."""
        lease, place = self._leases.get(done.job_id), self._line.get(done.job_id)
        if done.run != (lease.run if lease else place.ask.run if place else done.run):
            return  # said by a run before the one that holds the lease or the place
        if done.goes_on:
            self.budget.served(done.job_id)
            return
        if done.kind in COMPLAINTS:
            self._complained(done, done.kind, lease, now)
        elif lease is not None and done.success:
            self.budget.succeeded(done.job_id, lease.since, crowded=bool(self._line))
        else:
            self.budget.left(done.job_id)
            self._line.pop(done.job_id, None)
        self._leases.pop(done.job_id, None)

    def grant(self, now: float) -> list[Holder]:
        """Hands out what may start now; returns who is to be told."""
        self._forget_places(now)
        granted: list[Holder] = []
        while self._line:
            opens_at = self.budget.opens_at(now, self.in_use)
            if opens_at is None or opens_at > now:
                break
            granted.append(self._grant_one(now))
        return granted

    def opens_at(self, now: float) -> float | None:
        """When there will be something to hand out, or somebody to forget, without anyone saying a word."""
        if not self._line:
            return None
        forgets_at = min(place.asked_at for place in self._line.values()) + FORGET_PLACE_SECONDS
        opens_at = self.budget.opens_at(now, self.in_use)
        return forgets_at if opens_at is None else min(opens_at, forgets_at)

    def free(self, holders: Iterable[Holder]) -> None:
        """Those that are gone. A newer run of the same job is another holder."""
        for holder in holders:
            if holder in self.holders:
                del self._leases[holder.job_id]
                self.budget.left(holder.job_id)

    def not_seen(self, job_ids: Iterable[str], now: float) -> None:
        """Holders that do not run just now; all others were seen. After a while they lose their lease."""
        missing = dict.fromkeys(job_ids)
        for job_id, lease in list(self._leases.items()):
            since = None if job_id not in missing else lease.missing_since or now
            if since is not None and now - since >= FORGET_LEASE_SECONDS:
                self.free([Holder(job_id=job_id, run=lease.run)])
            elif since != lease.missing_since:
                self._leases[job_id] = lease.model_copy(update={"missing_since": since})

    def _complained(self, done: Done, kind: FailureKind, lease: Lease | None, now: float) -> None:
        self.budget.complained(
            done.job_id,
            kind,
            began_at=lease.since if lease else done.began_at or now,
            now=now,
            in_use=self.in_use,
            retry_after=done.retry_after_seconds,
        )

    def _grant_one(self, now: float) -> Holder:
        in_use = Counter(lease.owner for lease in self._leases.values())

        def turn(place: Place) -> tuple[int, int, int, int]:
            owner = place.ask.owner
            return (place.ask.priority, in_use[owner], self._served.get(owner, 0), place.arrival)

        ask = min(self._line.values(), key=turn).ask
        del self._line[ask.job_id]
        self._leases[ask.job_id] = Lease(job_id=ask.job_id, run=ask.run, owner=ask.owner, since=now)
        self.budget.start(ask.job_id, now)
        waiting = {place.ask.owner for place in self._line.values()} | {ask.owner}
        self._served = {owner: last for owner, last in self._served.items() if owner in waiting}
        self._served[ask.owner] = self._number()
        return Holder(job_id=ask.job_id, run=ask.run)

    def _forget_places(self, now: float) -> None:
        for job_id, place in list(self._line.items()):
            if now - place.asked_at >= FORGET_PLACE_SECONDS:
                del self._line[job_id]

    def _number(self) -> int:
        self._serial += 1
        return self._serial
