"""How much may be asked of a site, and how that is learnt: plain arithmetic, with the time passed in.

A complaint halves what was done when it came (how many at once, and how many started a second), and shuts the site
for a cooldown. Then one probe is let through: if it succeeds the site is open again, if not the cooldown doubles.
While somebody waits, each success widens both limits: quickly up to near what was too much, then slowly.
"""

from __future__ import annotations

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import Learnt

#: Without a word from the site (Retry-After): the first cooldown, doubling up to the longest.
FIRST_COOLDOWN_SECONDS = 30.0
SHORTEST_COOLDOWN_SECONDS = 1.0
LONGEST_COOLDOWN_SECONDS = 3600.0
#: After a complaint, others about what was under way may come so late.
ECHO_SECONDS = 60.0
#: So many successes after a complaint, the next one counts as the first again.
FORGIVEN_AFTER = 20
#: Parts of what was too much: how far it widens quickly, and by how much with each success before and beyond.
NEAR, QUICKLY, SLOWLY = 0.8, 0.02, 0.001
#: What is learnt is dropped beyond so many times of what was too much.
OUTGROWN = 4.0
SLOWEST_STARTS_PER_SECOND = 1 / 60
#: Starts that were not used for so long may follow at once.
BURST_SECONDS = 0.25
_RATE_WINDOWS = (10.0, 60.0)
_RECENT_STARTS = 64
_MINUTE = 60


class Budget:
    """One site's. `max_at_once` and `requests_per_hour` (None: no limit) are people's; `learnt` is to be kept."""

    def __init__(self, max_at_once: int, requests_per_hour: int | None = None, learnt: Learnt | None = None) -> None:
        self.max_at_once = max_at_once
        self.requests_per_hour = requests_per_hour
        self.learnt = learnt or Learnt()

    @property
    def at_once(self) -> int:
        learnt = self.learnt.at_once
        return self.max_at_once if learnt is None else max(1, min(self.max_at_once, int(learnt)))

    def opens_at(self, now: float, in_use: int) -> float | None:
        """When the next request may start: `now`, later, or None where only the end of one that runs makes room."""
        if self.learnt.cooldown_until > now:
            return self.learnt.cooldown_until
        if self.learnt.shut:
            return None if self.learnt.probe is not None else self._hour_opens_at(now)
        if in_use >= self.at_once:
            return None
        return max(self._rate_opens_at(now), self._hour_opens_at(now))

    def start(self, job_id: str, now: float) -> None:
        learnt = self.learnt
        if learnt.starts_per_second is not None:
            self._learn(due_at=max(learnt.due_at, now) + 1 / learnt.starts_per_second)
        self._learn(
            recent_starts=(*learnt.recent_starts, now)[-_RECENT_STARTS:],
            started_by_minute=_counted(learnt.started_by_minute, int(now // _MINUTE)),
            probe=job_id if learnt.shut else learnt.probe,
        )

    def take_back(self, job_id: str, started_at: float) -> None:
        """A start that was none: nothing was asked of the site."""
        starts = list(self.learnt.recent_starts)
        if started_at in starts:
            starts.remove(started_at)
        minute = int(started_at // _MINUTE)
        counted = [(each, n - (each == minute)) for each, n in self.learnt.started_by_minute]
        self._learn(recent_starts=tuple(starts), started_by_minute=tuple(each for each in counted if each[1] > 0))
        self.left(job_id)

    def succeeded(self, job_id: str, began_at: float, *, crowded: bool) -> None:
        """`crowded`: somebody waits. Below a limit, a success says nothing about the limit."""
        if began_at <= self.learnt.complained_at:
            self.left(job_id)
            return
        successes = self.learnt.successes + 1
        forgiven = {"cooldown_seconds": 0.0} if successes >= FORGIVEN_AFTER else {}
        self._learn(successes=successes, **forgiven)
        if self.learnt.probe == job_id:
            self.served(job_id)
        elif crowded and not self.learnt.shut:
            self._widen()

    def served(self, job_id: str) -> None:
        """It gets what it wanted, and need not be through: a probe has shown what it was to show."""
        if self.learnt.probe == job_id:
            self._learn(shut=False, probe=None, reason=None, due_at=0.0)

    def complained(
        self, job_id: str, kind: FailureKind, *, began_at: float, now: float, in_use: int, retry_after: float | None
    ) -> None:
        """`in_use` counts this one. Requests that were under way at the last complaint had no chance to heed it."""
        recent = self.learnt.shut or now - self.learnt.complained_at < ECHO_SECONDS
        if recent and began_at <= self.learnt.complained_at:
            asked = now + (retry_after or 0)
            self._learn(cooldown_until=max(self.learnt.cooldown_until, asked))
            self.left(job_id)
            return
        seconds = self._cooldown(kind, retry_after, probing=self.learnt.probe == job_id)
        self._halve(now, in_use)
        self._learn(
            complained_at=now,
            reason=kind,
            cooldown_until=now + seconds,
            cooldown_seconds=seconds,
            successes=0,
            shut=True,
            probe=None,
        )

    def left(self, job_id: str) -> None:
        """Neither success nor complaint: where it was the probe, the next one is."""
        if self.learnt.probe == job_id:
            self._learn(probe=None)

    def _learn(self, **changes: object) -> None:
        self.learnt = self.learnt.model_copy(update=changes)

    def _cooldown(self, kind: FailureKind, retry_after: float | None, *, probing: bool) -> float:
        doubled = min(2 * self.learnt.cooldown_seconds, LONGEST_COOLDOWN_SECONDS)
        if kind is FailureKind.BOT_CHECK:
            return max(LONGEST_COOLDOWN_SECONDS, retry_after or 0)
        if retry_after is None:
            return max(FIRST_COOLDOWN_SECONDS, doubled)
        return max(SHORTEST_COOLDOWN_SECONDS, retry_after, doubled if probing else 0)

    def _halve(self, now: float, in_use: int) -> None:
        learnt = self.learnt
        if learnt.probe is not None:
            return  # it went alone: it says nothing about numbers
        at_once = float(min(in_use, self.at_once))
        if at_once > 1:  # one alone was not too many
            self._learn(at_once=at_once / 2, at_once_refused=at_once)
        rate = self._measured_rate(now)
        if rate is not None:
            halved = max(SLOWEST_STARTS_PER_SECOND, rate / 2)
            self._learn(starts_per_second=halved, starts_per_second_refused=rate)

    def _measured_rate(self, now: float) -> float | None:
        for window in _RATE_WINDOWS:
            starts = [start for start in self.learnt.recent_starts if now - start <= window]
            if len(starts) > 1:
                return len(starts) / max(1.0, now - starts[0])
        return None

    def _widen(self) -> None:
        learnt = self.learnt
        at_once = _wider(learnt.at_once, learnt.at_once_refused)
        if at_once is not None and at_once >= self.max_at_once:
            at_once = None
        self._learn(
            at_once=at_once,
            starts_per_second=_wider(learnt.starts_per_second, learnt.starts_per_second_refused),
        )

    def _rate_opens_at(self, now: float) -> float:
        if self.learnt.starts_per_second is None:
            return now
        return max(now, self.learnt.due_at - BURST_SECONDS)

    def _hour_opens_at(self, now: float) -> float:
        """Whole minutes leave the hour: it never counts too few."""
        if self.requests_per_hour is None:
            return now
        this_minute = int(now // _MINUTE)
        minutes = [(minute, n) for minute, n in self.learnt.started_by_minute if minute >= this_minute - _MINUTE]
        over = sum(n for _, n in minutes) - self.requests_per_hour + 1
        for minute, n in minutes:
            if over <= 0:
                break
            over -= n
            now = float((minute + _MINUTE + 1) * _MINUTE)
        return now


def _wider(limit: float | None, refused: float) -> float | None:
    if limit is None or limit > OUTGROWN * refused:
        return None
    return limit + refused * (QUICKLY if limit < NEAR * refused else SLOWLY)


def _counted(minutes: tuple[tuple[int, int], ...], minute: int) -> tuple[tuple[int, int], ...]:
    kept = [(each, n) for each, n in minutes if minute - _MINUTE <= each < minute]
    now = sum(n for each, n in minutes if each == minute)
    return (*kept, (minute, now + 1))
