"""Who gets a place in a worker, and when it is worth looking for somebody else."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from reelin.activities.places import (
    REFUSALS_AT_ONCE,
    SECONDS_PER_REFUSAL,
    STILL_SECONDS,
    Places,
)
from reelin.contracts.work import NO_PLACE


class Hall:
    """Places that are taken until somebody is told to leave, at a time that stands still until it is told to pass."""

    def __init__(self, at_once: int) -> None:
        self.now = 1000.0
        self.places = Places(at_once, clock=lambda: self.now)
        self._seats: dict[str, list[ExitStack]] = {}

    def enter(self, *sites: str) -> None:
        for site in sites:
            seat = ExitStack()
            seat.enter_context(self.places.taken(site))
            self._seats.setdefault(site, []).append(seat)

    def leave(self, site: str) -> None:
        self._seats[site].pop().close()

    def refused(self, site: str) -> bool:
        try:
            self.enter(site)
        except ApplicationError:
            return True
        return False

    @property
    def opens_in(self) -> float:
        return self.places.opens_at() - self.now


def test_a_download_without_a_place_goes_back_to_temporal_and_uses_no_attempt() -> None:
    hall = Hall(4)
    hall.enter("slow", "slow", "slow", "slow")
    with pytest.raises(ApplicationError) as caught:
        hall.enter("slow")
    assert (caught.value.type, caught.value.non_retryable) == (NO_PLACE, False)
    assert caught.value.next_retry_delay == timedelta(seconds=1)
    assert caught.value.category is ApplicationErrorCategory.BENIGN
    assert not caught.value.details, "it would be taken for a failure of the site's"


def test_a_site_that_has_nothing_running_is_let_in_beyond_the_places() -> None:
    hall = Hall(8)
    hall.enter(*["slow"] * 8)
    assert not hall.refused("one")
    assert hall.refused("one"), "it has something running now"
    assert not hall.refused("other")
    assert hall.refused("third"), "a quarter more, and no more than that"
    hall.leave("one")
    assert not hall.refused("one")


def test_the_only_place_has_one_beside_it() -> None:
    hall = Hall(1)
    hall.enter("slow")
    assert not hall.refused("one")
    assert hall.refused("other")


def test_a_place_that_becomes_free_is_anybodys_while_guests_go_on() -> None:
    hall = Hall(2)
    hall.enter("slow", "slow", "guest")
    hall.leave("slow")
    assert not hall.refused("slow")
    assert hall.refused("slow")


def test_a_place_is_free_again_however_the_download_ended() -> None:
    places = Places(1)
    for site in ("one", "guest"):
        with pytest.raises(OSError, match="gone"), places.taken("slow" if site == "guest" else "one"):
            raise OSError("gone")
    with places.taken("one"), pytest.raises(OSError, match="gone"), places.taken("guest"):
        raise OSError("gone")
    with places.taken("one"), places.taken("guest"):
        assert places.guests == 1
    assert places.guests == 0


def test_nobody_is_looked_for_while_places_change_hands() -> None:
    hall = Hall(2)
    hall.enter("fast", "fast")
    assert hall.opens_in == STILL_SECONDS
    hall.now += STILL_SECONDS - 0.1
    hall.leave("fast")
    assert hall.opens_in == STILL_SECONDS
    hall.enter("fast")
    hall.now += STILL_SECONDS
    assert hall.opens_in <= 0


def test_guests_that_come_and_go_do_not_hide_that_the_worker_stands_still() -> None:
    hall = Hall(2)
    hall.enter("slow", "slow")
    hall.now += STILL_SECONDS
    for _ in range(3):
        hall.enter("guest")
        hall.leave("guest")
        assert hall.opens_in <= 0


def test_a_list_of_one_slow_site_is_sent_away_twice_a_second_at_most_in_the_long_run() -> None:
    hall = Hall(1)
    hall.enter("slow")
    hall.now += 60
    refused = 0
    end = hall.now + 100
    while hall.now < end:
        refused += hall.refused("slow")
        hall.now += max(0.02, hall.opens_in)
    assert REFUSALS_AT_ONCE <= refused <= REFUSALS_AT_ONCE + 100 / SECONDS_PER_REFUSAL + 1


def test_finding_a_guest_makes_the_search_quick_again() -> None:
    hall = Hall(4)
    hall.enter(*["slow"] * 4)
    hall.now += 60
    for _ in range(REFUSALS_AT_ONCE + 3):
        assert hall.refused("slow")
    assert hall.opens_in > SECONDS_PER_REFUSAL
    hall.enter("guest")
    assert hall.opens_in <= 0
