"""Whose turn it is."""

from __future__ import annotations

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import FRONT, Ask, Configure, Done, LeasesGranted, LeasesSeen, SiteState, Waiters
from reelin.workflows.lease_queue import FORGET_LEASE_SECONDS, LATER_SECONDS, LOW, LeaseQueue

NOW = 1_000_000.0
NONE_REFUSED = LeasesGranted()


class Book(LeaseQueue):
    """A queue that is told at once what the rows say: that they agree."""

    def __init__(self, at_once: int = 4) -> None:
        super().__init__(at_once, SiteState())
        self.numbers: dict[str, int] = {}

    def add(self, *names: str, owner: str = "local", priority: int = 3, run: int = 1) -> None:
        for name in names:
            self.ask(Ask(job_id=name, run=run, owner=owner, priority=priority, since=NOW))

    def let_in(self, now: float) -> list[str]:
        leases = self.grant(now)
        self.granted(leases, NONE_REFUSED, now)
        self.numbers |= {lease.job_id: lease.number for lease in leases}
        return [lease.job_id for lease in leases]

    def end(self, name: str, now: float = NOW + 1, *, success: bool = True) -> None:
        self.done(Done(job_id=name, lease=self.numbers.get(name, 0), success=success), now)

    def complain(self, name: str, now: float) -> None:
        kind = FailureKind.RATE_LIMITED
        lease = self.numbers.get(name)
        self.done(Done(job_id=name, lease=lease, kind=kind, retry_after_seconds=10, began_at=now), now)


def asks(*names: str, priority: int = 3, since: float = NOW) -> tuple[Ask, ...]:
    return tuple(Ask(job_id=name, run=1, owner="local", priority=priority, since=since) for name in names)


def test_leases_are_handed_out_in_order_of_arrival_and_again_when_they_are_given_back() -> None:
    book = Book(2)
    book.add("a", "b", "c", "d")
    assert book.let_in(NOW) == ["a", "b"]
    assert book.let_in(NOW) == []
    book.end("b")
    assert book.let_in(NOW + 1) == ["c"]
    assert (book.in_use, book.waiting) == (2, 1)


def test_the_most_urgent_goes_first() -> None:
    book = Book(1)
    book.add("late", priority=5)
    book.add("usual")
    book.add("urgent", priority=1)
    order = []
    for _ in range(3):
        [name] = book.let_in(NOW)
        order.append(name)
        book.end(name)
    assert order == ["urgent", "usual", "late"]


def test_an_owner_with_a_long_list_does_not_keep_another_waiting() -> None:
    book = Book(1)
    book.add(*(f"a{number}" for number in range(50)), owner="ann")
    book.add("b0", "b1", owner="bob")
    order = []
    for _ in range(5):
        [name] = book.let_in(NOW)
        order.append(name)
        book.end(name)
    assert order == ["a0", "b0", "a1", "b1", "a2"]


def test_of_two_owners_the_one_with_less_in_use_is_next() -> None:
    book = Book(4)
    book.add(*(f"a{number}" for number in range(10)), owner="ann")
    assert book.let_in(NOW) == ["a0", "a1", "a2", "a3"]
    book.add(*(f"b{number}" for number in range(10)), owner="bob")
    for name in ("a0", "a1"):
        book.end(name)
    assert book.let_in(NOW + 1) == ["b0", "b1"]


def test_asking_again_keeps_the_place() -> None:
    book = Book(1)
    book.add("a", "b", "c")
    book.add("a")
    assert (book.waiting, book.let_in(NOW)) == (3, ["a"])


def test_who_asks_while_the_end_of_its_lease_is_still_to_be_told_is_read_of_when_it_is() -> None:
    book = Book(1)
    book.add("a")
    assert book.let_in(NOW) == ["a"]
    book.add("a")
    assert (book.waiting, book.reread_at) == (0, None)
    book.end("a", NOW + 5)
    assert book.reread_at == NOW + 5


def test_a_word_of_a_lease_that_has_ended_changes_nothing() -> None:
    book = Book(1)
    book.add("a")
    assert book.let_in(NOW) == ["a"]
    book.done(Done(job_id="a", lease=book.numbers["a"] - 1, success=True), NOW)
    assert book.in_use == 1
    book.end("a")
    assert book.in_use == 0


def test_giving_back_twice_counts_once() -> None:
    book = Book(4)
    book.add("a", "b")
    book.let_in(NOW)
    book.end("a")
    book.end("a")
    assert book.in_use == 1


def test_a_lease_that_the_rows_do_not_take_goes_to_the_next_and_was_no_request() -> None:
    book = Book(1)
    book.configure(Configure(max_at_once=1, requests_per_hour=1))
    book.add("cancelled", "next")
    [lease] = book.grant(NOW)
    book.granted([lease], LeasesGranted(refused=(lease.number,)), NOW)
    assert book.let_in(NOW) == ["next"]


def test_a_job_that_still_ends_an_older_run_is_asked_about_again_soon() -> None:
    book = Book(1)
    book.add("again", "next")
    [lease] = book.grant(NOW)
    book.granted([lease], LeasesGranted(later=(lease.number,)), NOW)
    assert book.let_in(NOW) == ["next"]
    assert book.reread_at is not None and book.reread_at <= NOW + LATER_SECONDS


def test_a_lease_that_the_rows_do_not_have_yet_is_not_looked_for_there() -> None:
    book = Book(2)
    book.add("a")
    [lease] = book.grant(NOW)
    assert book.leases == ()
    book.granted([lease], NONE_REFUSED, NOW)
    assert book.leases == (lease,)


def test_a_holder_that_is_not_seen_running_for_a_while_loses_its_lease() -> None:
    book = Book(2)
    book.add("lost", "handed-on", "next")
    assert book.let_in(NOW) == ["lost", "handed-on"]
    lost, handed_on = book.numbers["lost"], book.numbers["handed-on"]
    book.seen(LeasesSeen(missing=(lost, handed_on)), NOW + 30)
    book.seen(LeasesSeen(missing=(lost,)), NOW + 60)
    assert book.expired(NOW + 60) == ()
    assert book.expired(NOW + 30 + FORGET_LEASE_SECONDS) == (lost,)
    book.seen(LeasesSeen(gone=(lost,)), NOW + 120)
    assert [lease.job_id for lease in book.leases] == ["handed-on"]
    assert book.let_in(NOW + 120) == ["next"]
    assert book.reread_at == NOW + 120, "it may stand in line again"


def test_a_probe_that_dies_frees_its_place_for_the_next() -> None:
    book = Book(4)
    book.add("a", "b", "c")
    book.let_in(NOW)
    book.complain("a", NOW + 1)
    book.end("b")
    book.end("c")
    book.add("a", "b")
    assert book.let_in(NOW + 11) == ["a"]
    book.seen(LeasesSeen(gone=(book.numbers["a"] - 1,)), NOW + 12)
    assert book.let_in(NOW + 12) == [], "another lease"
    book.seen(LeasesSeen(gone=(book.numbers["a"],)), NOW + 12)
    assert book.let_in(NOW + 12) == ["b"]


def test_a_probe_that_is_being_served_opens_the_site_and_keeps_its_lease() -> None:
    book = Book(4)
    book.add("a", "b", "c", "d")
    book.let_in(NOW)
    book.complain("a", NOW + 1)
    for name in "bcd":
        book.end(name)
    book.add("a", "b", "c")
    assert book.let_in(NOW + 11) == ["a"]
    book.done(Done(job_id="a", lease=book.numbers["a"], success=True, goes_on=True), NOW + 20)
    assert book.in_use == 1
    assert book.let_in(NOW + 20) == ["b"]


def test_a_complaint_without_a_lease_counts_too() -> None:
    book = Book(4)
    book.complain("unlimited", NOW)
    book.add("unlimited", "other")
    assert book.let_in(NOW + 1) == []
    assert book.opens_at(NOW + 1) == NOW + 10
    assert book.let_in(NOW + 10) == ["unlimited"]


def test_what_people_set_applies_at_once() -> None:
    book = Book(1)
    book.add(*"abcdef")
    assert len(book.let_in(NOW)) == 1
    book.configure(Configure(max_at_once=3))
    assert len(book.let_in(NOW)) == 2
    book.configure(Configure(max_at_once=100, requests_per_hour=4))
    assert len(book.let_in(NOW)) == 1
    book.configure(Configure())
    assert book.budget.max_at_once == 1


def test_of_a_long_line_the_front_is_known_and_the_rest_is_read_when_it_gets_short() -> None:
    book = Book(1)
    book.read(Waiters(front=asks(*(f"job-{number:06}" for number in range(FRONT))), total=100_000), NOW)
    assert book.waiting == 100_000
    now = NOW + 100
    for number in range(FRONT - LOW):
        assert book.reread_at is None, number
        now += 1
        [name] = book.let_in(now)
        assert name == f"job-{number:06}"
        book.end(name, now)
    book.let_in(now)
    assert book.reread_at == now


def test_who_comes_after_a_front_that_is_not_all_is_not_let_in_before_the_rest() -> None:
    book = Book(1)
    book.read(Waiters(front=asks(*(f"old-{number}" for number in range(LOW))), total=1_000), NOW)
    book.ask(*asks("new", since=NOW + 1))
    book.ask(*asks("urgent", priority=1, since=NOW + 2))
    assert book.waiting == 1_002
    order = []
    for _ in range(LOW + 1):
        [name] = book.let_in(NOW + 10)
        order.append(name)
        book.end(name, NOW + 10)
    assert order[:2] == ["urgent", "old-0"]
    assert "new" not in order and book.let_in(NOW + 10) == []


def test_who_asks_while_the_rows_are_read_is_not_forgotten_by_what_they_said_before() -> None:
    book = Book(1)
    book.reread(NOW)
    assert book.begin_to_read(NOW)
    assert not book.begin_to_read(NOW)
    book.add("meanwhile")
    book.read(Waiters(), NOW + 1)
    assert book.let_in(NOW + 1) == ["meanwhile"]


def test_a_read_that_was_begun_before_a_lease_was_written_gives_nobody_a_second_one() -> None:
    book = Book(2)
    book.add("a")
    book.reread(NOW)
    assert book.begin_to_read(NOW)
    assert book.let_in(NOW) == ["a"]
    book.read(Waiters(front=asks("a", "b"), total=2), NOW)
    assert (book.waiting, book.let_in(NOW)) == (1, ["b"])
    assert book.reread_at is None, "nobody waits whom the rows could name"


def test_a_front_of_jobs_whose_leases_end_just_now_is_not_read_over_and_over() -> None:
    book = Book(1)
    book.add("a")
    book.let_in(NOW)
    book.read(Waiters(front=asks("a"), total=60), NOW)
    book.let_in(NOW)
    assert book.reread_at is not None and book.reread_at > NOW


def test_the_state_holds_all_that_is_needed_to_go_on() -> None:
    book = Book(2)
    book.add("a0", "a1", "a2", owner="ann")
    book.add("b0", "b1", owner="bob", priority=3)
    book.configure(Configure(max_at_once=2))
    assert book.let_in(NOW) == ["a0", "b0"]
    again = LeaseQueue(9, SiteState.model_validate_json(book.state(7).model_dump_json()))
    assert again.state(7) == book.state(7)
    again.done(Done(job_id="a0", lease=book.numbers["a0"], success=True), NOW + 1)
    again.read(
        Waiters(front=(Ask(job_id="b1", run=1, owner="bob"), Ask(job_id="a1", run=1, owner="ann")), total=2), NOW + 1
    )
    [lease] = again.grant(NOW + 1)
    assert lease.job_id == "a1", "of another owner than the lease that is held"
    assert lease.number > max(book.numbers.values())


def test_the_state_of_the_busiest_site_is_a_small_payload() -> None:
    book = Book(100)
    book.read(Waiters(front=asks(*(f"video-{number:024}" for number in range(FRONT))), total=100_000), NOW)
    assert len(book.let_in(NOW)) == 100
    assert len(book.state(1).model_dump_json()) < 64_000
    front = Waiters(front=asks(*(f"video-{number:024}" for number in range(FRONT))), total=100_000)
    assert len(front.model_dump_json()) < 64_000
