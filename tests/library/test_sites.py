"""The sites table: what people set, what a site's workflow says, and what is said too late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.sites import Learnt, SiteSituation
from reelin.errors import NotFound
from reelin.library import Library
from tests.library.samples import failure, new_job

SITE = "example.org"


def situation(number: int, **fields: Any) -> SiteSituation:
    values = {"in_use": 1, "waiting": 2, "cooldown_until": None, "reason": None, "learnt": Learnt(at_once=2.5)}
    return SiteSituation(site=SITE, number=number, **(values | fields))


async def test_what_the_workflow_says_and_what_people_set_do_not_overwrite_each_other(library: Library) -> None:
    await library.sites.record(situation(1))
    await library.sites.configure(SITE, max_at_once=2)
    await library.sites.record(situation(2, in_use=3))
    row = await library.sites.configure(SITE, requests_per_hour=50)
    assert (row.max_at_once, row.requests_per_hour, row.in_use, row.waiting) == (2, 50, 3, 2)
    assert Learnt.model_validate(row.learnt) == Learnt(at_once=2.5)


async def test_a_record_that_comes_late_or_twice_changes_nothing(library: Library) -> None:
    await library.sites.record(situation(2, in_use=4))
    for late in (situation(2, in_use=9), situation(1, in_use=9)):
        assert (await library.sites.record(late)).in_use == 4
    assert (await library.sites.record(situation(3, in_use=0))).in_use == 0


async def test_a_site_needs_leases_from_its_first_complaint_on(library: Library) -> None:
    until = datetime.now(UTC) + timedelta(seconds=30)
    await library.sites.record(situation(1))
    assert not (await library.sites.get(SITE)).limited
    row = await library.sites.complained(SITE, FailureKind.RATE_LIMITED, until)
    assert (row.limited, row.reason, row.cooldown_until) == (True, "rate_limited", until)
    assert (await library.sites.record(situation(2))).limited


async def test_an_unknown_site_is_not_found(library: Library) -> None:
    assert await library.sites.find(SITE) is None
    with pytest.raises(NotFound):
        await library.sites.get(SITE)


async def test_many_first_words_at_once_make_one_row(library: Library) -> None:
    await asyncio.gather(
        *(library.sites.configure(SITE, max_at_once=number) for number in range(1, 10)),
        *(library.sites.record(situation(number)) for number in range(1, 10)),
    )
    page = await library.sites.page(limit=10, cursor=None)
    assert [row.site for row in page.items] == [SITE]
    assert (page.items[0].limited, page.items[0].recorded) == (True, 9)


async def test_a_job_waits_for_its_site_until_it_begins(library: Library) -> None:
    job = (await library.jobs.submit(new_job())).job
    until = datetime.now(UTC) + timedelta(minutes=5)
    waiting = await library.jobs.wait_for_site(job.id, job.run, until)
    assert waiting is not None
    assert (waiting.state, waiting.next_attempt_at, waiting.failure, waiting.attempt) == (State.WAITING, until, None, 0)
    assert await library.jobs.wait_for_site(job.id, job.run, until) == waiting, "asking again writes nothing"
    assert await library.jobs.wait_for_site(job.id, job.run, None) == waiting
    begun = await library.jobs.begin(job.id, job.run, 1)
    assert begun is not None and (begun.state, begun.next_attempt_at) == (State.RUNNING, None)


async def test_a_moment_that_has_passed_is_not_shown_as_the_next_attempt(library: Library) -> None:
    job = (await library.jobs.submit(new_job())).job
    past = datetime.now(UTC) - timedelta(seconds=1)
    await library.jobs.wait(job.id, job.run, failure=failure(FailureKind.RATE_LIMITED), attempt=1, until=past)
    waiting = await library.jobs.wait_for_site(job.id, job.run, None)
    assert waiting is not None
    assert (waiting.next_attempt_at, waiting.failure_kind) == (None, "rate_limited")


async def test_a_job_that_is_over_does_not_wait(library: Library) -> None:
    job = (await library.jobs.submit(new_job())).job
    await library.jobs.cancel(job.id, job.run)
    waiting = await library.jobs.wait_for_site(job.id, job.run, None)
    assert waiting is not None and waiting.state is State.CANCELLED
    assert await library.jobs.wait_for_site("video-unknown", 1, None) is None
