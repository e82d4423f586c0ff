"""Whose turn it is."""

from __future__ import annotations

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import Ask, Configure, Done, Holder, Prioritise, SiteState
from reelin.workflows.ledger import FORGET_LEASE_SECONDS, FORGET_PLACE_SECONDS, Ledger

NOW = 1_000_000.0


def ledger(at_once: int = 4) -> Ledger:
    return Ledger(at_once, SiteState())


def ask(book: Ledger, *names: str, owner: str = "local", priority: int = 3, run: int = 1, now: float = NOW) -> None:
    for name in names:
        assert not book.ask(Ask(job_id=name, run=run, owner=owner, priority=priority), now)


def grant(book: Ledger, now: float) -> list[str]:
    return [holder.job_id for holder in book.grant(now)]


def done(book: Ledger, name: str, now: float = NOW + 1, *, run: int = 1, success: bool = True) -> None:
    book.done(Done(job_id=name, run=run, success=success), now)


def complain(book: Ledger, name: str, now: float) -> None:
    book.done(Done(job_id=name, run=1, kind=FailureKind.RATE_LIMITED, retry_after_seconds=10, began_at=now), now)


def test_places_are_handed_out_in_order_of_arrival_and_again_when_they_are_given_back() -> None:
    book = ledger(2)
    ask(book, "a", "b", "c", "d")
    assert grant(book, NOW) == ["a", "b"]
    assert grant(book, NOW) == []
    done(book, "b")
    assert grant(book, NOW + 1) == ["c"]
    assert (book.in_use, book.waiting) == (2, 1)


def test_the_most_urgent_goes_first() -> None:
    book = ledger(1)
    ask(book, "late", priority=5)
    ask(book, "usual")
    ask(book, "urgent", priority=1)
    order = []
    for _ in range(3):
        [name] = grant(book, NOW)
        order.append(name)
        done(book, name)
    assert order == ["urgent", "usual", "late"]


def test_a_priority_changes_in_line_and_nowhere_else() -> None:
    book = ledger(1)
    ask(book, "first", "second", "third")
    assert grant(book, NOW) == ["first"]
    book.prioritise(Prioritise(job_ids=("third", "first", "nobody"), priority=1))
    done(book, "first")
    assert grant(book, NOW + 1) == ["third"]


def test_an_owner_with_a_long_list_does_not_keep_another_waiting() -> None:
    book = ledger(1)
    ask(book, *(f"a{number}" for number in range(50)), owner="ann")
    ask(book, "b0", "b1", owner="bob")
    order = []
    for _ in range(5):
        [name] = grant(book, NOW)
        order.append(name)
        done(book, name)
    assert order == ["a0", "b0", "a1", "b1", "a2"]


def test_of_two_owners_the_one_with_less_in_use_is_next() -> None:
    book = ledger(4)
    ask(book, *(f"a{number}" for number in range(10)), owner="ann")
    assert grant(book, NOW) == ["a0", "a1", "a2", "a3"]
    ask(book, *(f"b{number}" for number in range(10)), owner="bob")
    for name in ("a0", "a1"):
        done(book, name)
    assert grant(book, NOW + 1) == ["b0", "b1"]


def test_asking_again_keeps_the_place_and_one_that_has_a_lease_is_told_again() -> None:
    book = ledger(1)
    ask(book, "a", "b", "c")
    assert grant(book, NOW) == ["a"]
    ask(book, "b", now=NOW + 60)
    assert book.ask(Ask(job_id="a", run=1, owner="local"), NOW + 60)
    assert book.in_use == 1
    done(book, "a", NOW + 61)
    assert grant(book, NOW + 61) == ["b"]


def test_a_word_of_an_older_run_changes_nothing() -> None:
    book = ledger(1)
    ask(book, "a", run=2)
    assert grant(book, NOW) == ["a"]
    done(book, "a", run=1)
    assert book.in_use == 1
    done(book, "a", run=2)
    assert book.in_use == 0


def test_giving_back_twice_counts_once() -> None:
    book = ledger(4)
    ask(book, "a", "b")
    grant(book, NOW)
    done(book, "a")
    done(book, "a")
    assert book.in_use == 1


def test_who_leaves_the_line_is_not_let_in() -> None:
    book = ledger(1)
    ask(book, "a", "b", "c")
    grant(book, NOW)
    done(book, "b", success=False)
    done(book, "a")
    assert grant(book, NOW + 1) == ["c"]


def test_who_does_not_ask_again_is_forgotten() -> None:
    book = ledger(1)
    ask(book, "a", "b")
    grant(book, NOW)
    assert book.opens_at(NOW + 1) == NOW + FORGET_PLACE_SECONDS
    assert grant(book, NOW + FORGET_PLACE_SECONDS) == []
    assert book.waiting == 0


def test_a_holder_that_is_not_seen_running_for_a_while_loses_its_lease() -> None:
    book = ledger(2)
    ask(book, "lost", "handed-on", "next")
    assert grant(book, NOW) == ["lost", "handed-on"]
    book.not_seen(["lost", "handed-on"], NOW + 30)
    book.not_seen(["lost"], NOW + 60)
    assert book.in_use == 2
    book.not_seen(["lost", "handed-on"], NOW + 30 + FORGET_LEASE_SECONDS)
    assert [holder.job_id for holder in book.holders] == ["handed-on"]
    assert grant(book, NOW + 120) == ["next"]


def test_a_probe_that_dies_frees_its_place_for_the_next() -> None:
    book = ledger(4)
    ask(book, "a", "b", "c")
    grant(book, NOW)
    complain(book, "a", NOW + 1)
    done(book, "b"), done(book, "c")
    ask(book, "a", "b", now=NOW + 2)
    assert grant(book, NOW + 11) == ["a"]
    book.free([Holder(job_id="a", run=9)])
    assert grant(book, NOW + 12) == [], "another run"
    book.free([Holder(job_id="a", run=1)])
    assert grant(book, NOW + 12) == ["b"]


def test_a_probe_that_is_being_served_opens_the_site_and_keeps_its_lease() -> None:
    book = ledger(4)
    ask(book, "a", "b", "c", "d")
    grant(book, NOW)
    complain(book, "a", NOW + 1)
    for name in "bcd":
        done(book, name)
    ask(book, "a", "b", "c", now=NOW + 2)
    assert grant(book, NOW + 11) == ["a"]
    book.done(Done(job_id="a", run=1, success=True, goes_on=True), NOW + 20)
    assert book.in_use == 1
    assert grant(book, NOW + 20) == ["b"]


def test_a_complaint_without_a_lease_counts_too() -> None:
    book = ledger(4)
    complain(book, "unlimited", NOW)
    ask(book, "unlimited", "other")
    assert grant(book, NOW + 1) == []
    assert book.opens_at(NOW + 1) == NOW + 10
    assert grant(book, NOW + 10) == ["unlimited"]


def test_what_people_set_applies_at_once() -> None:
    book = ledger(1)
    ask(book, *"abcdef")
    assert len(grant(book, NOW)) == 1
    book.configure(Configure(max_at_once=3))
    assert len(grant(book, NOW)) == 2
    book.configure(Configure(max_at_once=100, requests_per_hour=4))
    assert len(grant(book, NOW)) == 1
    book.configure(Configure())
    assert book.budget.max_at_once == 1


def test_the_state_holds_all_that_is_needed_to_go_on() -> None:
    book = ledger(2)
    ask(book, "a0", "a1", "a2", owner="ann")
    ask(book, "b0", "b1", owner="bob", priority=3)
    book.configure(Configure(max_at_once=2))
    assert grant(book, NOW) == ["a0", "b0"]
    again = Ledger(9, SiteState.model_validate_json(book.state(7).model_dump_json()))
    assert again.state(7) == book.state(7)
    for each in (book, again):
        done(each, "a0")
    assert grant(again, NOW + 1) == grant(book, NOW + 1) == ["a1"]
