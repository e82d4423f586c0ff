"""What happens after a failure: one row of data for each kind, and the arithmetic of backoff."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from reelin.contracts.failures import FailureKind

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """`attempts` is how often a kind may occur in one run before the job fails; `window` ends it by time instead.

    The wait before the next attempt doubles from `first` to `longest`; a site's Retry-After, where it is longer,
    wins. `fresh` drops the partial files.
    """

    attempts: int = 1
    first: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(minutes=10)
    window: timedelta | None = None
    fresh: bool = False


FAIL_AT_ONCE = Policy()

POLICIES: dict[FailureKind, Policy] = {
    FailureKind.RATE_LIMITED: Policy(
        attempts=100, first=timedelta(seconds=30), longest=HOUR, window=timedelta(hours=24)
    ),
    FailureKind.BOT_CHECK: Policy(attempts=2, first=HOUR, longest=HOUR),
    FailureKind.SITE_ERROR: Policy(attempts=12),
    FailureKind.NETWORK: Policy(attempts=12),
    FailureKind.DNS: Policy(attempts=4),
    FailureKind.EXPIRED_URL: Policy(attempts=4, first=timedelta(seconds=1)),
    FailureKind.RESUME_CONFLICT: Policy(attempts=2, first=timedelta(seconds=1), fresh=True),
    FailureKind.DISK_FULL: Policy(
        attempts=1_000_000, first=timedelta(seconds=10), longest=timedelta(minutes=5), window=timedelta(days=30)
    ),
    FailureKind.RESOURCES_EXHAUSTED: Policy(
        attempts=1_000_000, first=timedelta(seconds=2), longest=timedelta(minutes=5), window=timedelta(days=30)
    ),
    FailureKind.STORAGE_UNAVAILABLE: Policy(
        attempts=1_000_000, first=timedelta(seconds=5), longest=timedelta(minutes=1), window=timedelta(days=30)
    ),
    FailureKind.NOT_LIVE_YET: Policy(
        attempts=10_000, first=timedelta(minutes=5), longest=HOUR, window=timedelta(days=30)
    ),
    FailureKind.PROCESSING: Policy(attempts=2, first=timedelta(seconds=1)),
    FailureKind.INTERNAL: Policy(attempts=3),
}


def policy_for(kind: FailureKind) -> Policy:
    return POLICIES.get(kind, FAIL_AT_ONCE)


def retryable(kind: FailureKind) -> bool:
    return kind in POLICIES


def next_wait(
    policy: Policy, *, occurrences: int, since_first: timedelta, retry_after: timedelta | None, random: Random
) -> timedelta | None:
    """How long to wait after this failure, or None if the job fails now.

    `occurrences` counts this kind within the run, this one included; `since_first` is the time since its first.
    """
    if occurrences >= policy.attempts:
        return None
    doubled = policy.first * (1 << min(occurrences - 1, 20))
    wait = min(doubled, policy.longest) * random.uniform(0.75, 1.25)
    if retry_after is not None:
        wait = max(wait, retry_after)
    if policy.window is not None and since_first + wait > policy.window:
        return None
    return wait
