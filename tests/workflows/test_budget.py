"""How much is asked of a site, with the time as data."""

from __future__ import annotations

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import Learnt
from reelin.workflows.budget import LONGEST_COOLDOWN_SECONDS, Budget

RATE_LIMITED, BOT_CHECK = FailureKind.RATE_LIMITED, FailureKind.BOT_CHECK
NOW = 1_000_000.0


def complain(
    budget: Budget,
    now: float,
    *,
    kind: FailureKind = RATE_LIMITED,
    began_at: float | None = None,
    in_use: int = 4,
    retry_after: float | None = None,
    job_id: str = "j",
) -> float:
    """Returns how long the site is shut."""
    budget.complained(job_id, kind, began_at=began_at or now - 0.1, now=now, in_use=in_use, retry_after=retry_after)
    return budget.learnt.cooldown_until - now


def probe(budget: Budget, now: float, job_id: str = "probe") -> None:
    assert budget.opens_at(now, 0) == now
    budget.start(job_id, now)
    assert budget.opens_at(now + 10, 1) is None, "one probe at a time"


def reopen(budget: Budget) -> float:
    """Waits out the cooldown and lets a probe succeed; returns when."""
    now = budget.learnt.cooldown_until
    probe(budget, now)
    budget.succeeded("probe", now, crowded=True)
    return now


def test_so_many_at_once_and_no_more() -> None:
    budget = Budget(4)
    assert [budget.opens_at(NOW, in_use) for in_use in range(5)] == [NOW] * 4 + [None]


def test_a_complaint_shuts_the_site_for_as_long_as_it_asks_and_halves_what_was_done() -> None:
    budget = Budget(4)
    for number in range(20):
        budget.start(f"j{number}", NOW + number / 10)
    now = NOW + 2
    assert complain(budget, now, retry_after=7) == 7
    assert budget.opens_at(now, 0) == now + 7
    assert budget.at_once == 2
    assert budget.learnt.starts_per_second == pytest.approx(5)


def test_after_the_cooldown_one_probe_goes_alone_and_its_success_opens_the_site() -> None:
    budget = Budget(4)
    complain(budget, NOW)
    now = reopen(budget)
    assert not budget.learnt.shut and budget.learnt.reason is None
    assert budget.opens_at(now, 1) == now


def test_a_probe_that_fails_doubles_the_cooldown_up_to_an_hour() -> None:
    budget = Budget(4)
    lengths = [complain(budget, NOW)]
    for _ in range(9):
        now = budget.learnt.cooldown_until
        probe(budget, now)
        lengths.append(complain(budget, now + 1, began_at=now, in_use=1, job_id="probe"))
    assert lengths[:4] == [30, 60, 120, 240]
    assert lengths[-1] == LONGEST_COOLDOWN_SECONDS
    assert budget.at_once == 2, "a probe goes alone and says nothing about numbers"


def test_a_probe_that_fails_doubles_what_the_site_had_asked_for() -> None:
    budget = Budget(4)
    complain(budget, NOW, retry_after=5)
    now = budget.learnt.cooldown_until
    probe(budget, now)
    assert complain(budget, now + 1, began_at=now, retry_after=5, job_id="probe") == 10


def test_a_probe_that_ends_in_another_way_is_followed_by_the_next() -> None:
    budget = Budget(4)
    complain(budget, NOW)
    now = budget.learnt.cooldown_until
    probe(budget, now)
    budget.left("probe")
    probe(budget, now + 1, "another")


def test_complaints_of_requests_that_were_under_way_count_once() -> None:
    budget = Budget(8)
    for number in range(8):
        budget.start(f"j{number}", NOW)
    complain(budget, NOW + 1, began_at=NOW, in_use=8, retry_after=10)
    learnt = budget.learnt
    for number in range(1, 8):
        complain(budget, NOW + 1.5, began_at=NOW, in_use=8 - number, job_id=f"j{number}")
    assert budget.learnt == learnt


def test_a_late_complaint_that_asks_for_more_time_gets_it() -> None:
    budget = Budget(8)
    complain(budget, NOW + 1, began_at=NOW, retry_after=10)
    assert complain(budget, NOW + 2, began_at=NOW, retry_after=60) == 60
    assert budget.at_once == 2


def test_a_download_that_was_let_in_long_before_complains_anew() -> None:
    budget = Budget(8)
    budget.start("long", NOW)
    complain(budget, NOW + 1, in_use=8)
    now = reopen(budget) + 3600
    assert complain(budget, now, began_at=NOW, retry_after=5, job_id="long") == 5
    assert budget.learnt.shut


def test_a_success_from_before_the_complaint_does_not_open_the_site() -> None:
    budget = Budget(4)
    budget.start("early", NOW)
    complain(budget, NOW + 1)
    budget.succeeded("early", NOW, crowded=True)
    assert budget.learnt.shut and budget.learnt.successes == 0


def test_a_bot_check_shuts_the_site_for_an_hour() -> None:
    assert complain(Budget(4), NOW, kind=BOT_CHECK, retry_after=3) == 3600


def test_without_a_word_from_the_site_repeated_complaints_double_until_they_are_forgiven() -> None:
    budget = Budget(4)
    assert complain(budget, NOW) == 30
    now = reopen(budget)
    assert complain(budget, now + 5) == 60
    now = reopen(budget)
    for number in range(20):
        budget.succeeded(f"j{number}", now + 1, crowded=False)
    assert complain(budget, now + 100) == 30


def test_success_widens_quickly_up_to_near_what_was_too_much_and_then_slowly() -> None:
    budget = Budget(10)
    complain(budget, NOW, in_use=10)
    now = reopen(budget) + 1
    quick = 0
    while budget.at_once < 8:
        budget.succeeded("j", now, crowded=True)
        quick += 1
    slow = 0
    while budget.at_once < 10:
        budget.succeeded("j", now, crowded=True)
        slow += 1
    assert 10 <= quick <= 20 and slow >= 150
    assert budget.learnt.at_once is None, "what was learnt is forgotten once people's limit is reached"


def test_success_below_the_limit_says_nothing_about_it() -> None:
    budget = Budget(10)
    complain(budget, NOW, in_use=10)
    now = reopen(budget) + 1
    for _ in range(1000):
        budget.succeeded("j", now, crowded=False)
    assert budget.at_once == 5


def test_starts_are_spread_at_the_learnt_rate() -> None:
    budget = Budget(100, learnt=Learnt(starts_per_second=5, starts_per_second_refused=10))
    now, starts = NOW, []
    while now < NOW + 10:
        budget.start("j", now)
        starts.append(now)
        opens_at = budget.opens_at(now, 0)
        assert opens_at is not None
        now = opens_at
    assert len(starts) == pytest.approx(50, abs=3)
    assert max(sum(1 for each in starts if start <= each < start + 1) for start in starts) <= 7


def test_a_slow_site_is_never_asked_less_than_once_a_minute() -> None:
    budget = Budget(4)
    now = NOW
    for _ in range(20):
        budget.start("a", now)
        budget.start("b", now + 50)
        complain(budget, now + 55, began_at=now + 50)
        budget._learn(shut=False, cooldown_until=0.0)
        now += 200
    opens_at = budget.opens_at(now, 0)
    assert opens_at is not None and opens_at - now <= 60


def test_no_hour_has_more_than_its_requests() -> None:
    budget = Budget(100, requests_per_hour=30)
    now, starts = NOW, []
    while len(starts) < 100:
        opens_at = budget.opens_at(now, 0)
        assert opens_at is not None
        now = opens_at
        starts.append(now)
        budget.start("j", now)
        now += 7
    assert max(sum(1 for each in starts if start <= each < start + 3600) for start in starts) == 30
    assert starts[-1] - starts[0] < 4 * 3600


def test_what_was_learnt_survives_being_written_down() -> None:
    budget = Budget(4)
    for number in range(10):
        budget.start(f"j{number}", NOW + number / 10)
    complain(budget, NOW + 1)
    again = Budget(4, learnt=Learnt.model_validate_json(budget.learnt.model_dump_json()))
    assert again.opens_at(NOW + 1, 0) == budget.opens_at(NOW + 1, 0)
    assert (again.at_once, again.learnt) == (budget.at_once, budget.learnt)
