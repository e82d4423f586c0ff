"""The table of section "Failures" in docs/architecture.md, as data."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from reelin.contracts.failures import REMEDIES, FailureKind
from reelin.workflows.policy import POLICIES, Policy, next_wait, policy_for

SECOND = timedelta(seconds=1)


def _wait(policy: Policy, occurrences: int, **changes: object) -> timedelta | None:
    given = {"since_first": timedelta(0), "retry_after": None, "random": Random(1), **changes}
    return next_wait(policy, occurrences=occurrences, **given)  # type: ignore[arg-type]


def test_backoff_doubles_from_two_seconds_to_ten_minutes_with_jitter() -> None:
    policy = policy_for(FailureKind.NETWORK)
    for occurrences, ideal in ((1, 2), (2, 4), (5, 32), (11, 600)):
        wait = _wait(policy, occurrences)
        assert wait is not None
        assert ideal * 0.75 * SECOND <= wait <= ideal * 1.25 * SECOND
    assert len({_wait(policy, 3, random=Random(seed)) for seed in range(5)}) == 5


def test_a_longer_retry_after_wins_and_a_shorter_one_does_not() -> None:
    policy = policy_for(FailureKind.NETWORK)
    assert _wait(policy, 1, retry_after=timedelta(hours=3)) == timedelta(hours=3)
    wait = _wait(policy, 5, retry_after=SECOND)
    assert wait is not None and wait >= 20 * SECOND


def test_the_window_ends_the_waiting() -> None:
    policy = policy_for(FailureKind.RATE_LIMITED)
    assert _wait(policy, 10, since_first=timedelta(hours=23, minutes=59)) is None


def test_a_kind_without_a_policy_is_never_tried_again() -> None:
    assert _wait(policy_for(FailureKind.NOT_FOUND), 1) is None


def test_every_kind_has_a_remedy_and_no_policy_is_for_an_unknown_kind() -> None:
    assert set(REMEDIES) == set(FailureKind)
    assert set(POLICIES) < set(FailureKind)
