"""The sites table: what people set, what a site's workflow says, and what is said too late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import Learnt, SiteSituation
from reelin.errors import NotFound
from reelin.library import Library

SITE = "example.org"


def situation(number: int, **fields: Any) -> SiteSituation:
    values = {"cooldown_until": None, "reason": None, "learnt": Learnt(at_once=2.5)}
    return SiteSituation(site=SITE, number=number, **(values | fields))


async def test_what_the_workflow_says_and_what_people_set_do_not_overwrite_each_other(library: Library) -> None:
    await library.sites.record(situation(1))
    await library.sites.configure(SITE, max_at_once=2)
    await library.sites.record(situation(2, learnt=Learnt(at_once=3.5)))
    row = await library.sites.configure(SITE, requests_per_hour=50)
    assert (row.max_at_once, row.requests_per_hour) == (2, 50)
    assert Learnt.model_validate(row.learnt) == Learnt(at_once=3.5)


async def test_a_record_that_comes_late_or_twice_changes_nothing(library: Library) -> None:
    await library.sites.record(situation(2, reason=FailureKind.BOT_CHECK))
    for late in (situation(2), situation(1)):
        assert (await library.sites.record(late)).reason == "bot_check"
    assert (await library.sites.record(situation(3))).reason is None


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
