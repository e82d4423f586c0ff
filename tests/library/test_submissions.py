"""Submissions share transactions, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.jobs import Kind, State
from reelin.errors import Unavailable
from reelin.library import Library, Submitted
from tests.library.samples import failure, new_job


async def test_submissions_at_once_share_a_few_transactions(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    database, begun = library._database, 0
    writing = database.writing

    @asynccontextmanager
    async def counted() -> Any:
        nonlocal begun
        begun += 1
        async with writing() as connection:
            yield connection

    monkeypatch.setattr(database, "writing", counted)
    submitted = await asyncio.gather(*(library.jobs.submit(new_job(f"n{number}")) for number in range(100)))
    assert all(each.fresh for each in submitted)
    assert begun <= 2


async def test_what_is_answered_is_what_is_stored(library: Library) -> None:
    new = replace(new_job(), priority=1)
    submitted = await library.jobs.submit(new)
    assert submitted.job == await library.jobs.get(new.id)


async def test_one_that_cannot_be_stored_does_not_spoil_the_others(library: Library) -> None:
    good = [new_job(f"n{number}") for number in range(5)]
    bad = [replace(new_job("bad"), url="https://example.org/\ud800"), replace(new_job("worse"), preset=None)]  # type: ignore[arg-type]
    answers = await asyncio.gather(*map(library.jobs.submit, [*good, *bad]), return_exceptions=True)
    assert all(isinstance(answer, Submitted) for answer in answers[:5])
    assert all(isinstance(answer, Exception) for answer in answers[5:])
    assert len(await library.jobs.undispatched()) == 5


async def test_new_joined_and_repeated_ones_stand_in_one_group(library: Library) -> None:
    await library.jobs.submit(new_job("failed"))
    await library.jobs.fail("video-failed", 1, failure=failure())
    await library.jobs.submit(new_job("runs"))
    names = ("new", "runs", "failed", "new", "failed")
    answers = await asyncio.gather(*(library.jobs.submit(new_job(name)) for name in names))
    assert [answer.fresh for answer in answers] == [True, False, True, False, False]
    assert [answer.job.run for answer in answers] == [1, 1, 2, 1, 2]


async def test_one_who_goes_before_the_answer_holds_nobody_up(library: Library) -> None:
    leaving = asyncio.create_task(library.jobs.submit(new_job("leaving")))
    staying = asyncio.create_task(library.jobs.submit(new_job("staying")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).fresh
    assert {job.id for job in await library.jobs.undispatched()} == {"video-leaving", "video-staying"}


async def test_a_database_that_does_not_answer_fails_all_of_them(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    @asynccontextmanager
    async def away() -> Any:
        nonlocal asked
        asked += 1
        raise Unavailable("The database", "locked")
        yield

    monkeypatch.setattr(library._database, "writing", away)
    answers = await asyncio.gather(
        *(library.jobs.submit(new_job(f"n{number}")) for number in range(20)), return_exceptions=True
    )
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert asked == 1


async def test_closing_waits_for_what_was_submitted(url: str) -> None:
    library = Library(url)
    await library.open()
    submitting = asyncio.create_task(library.jobs.submit(new_job()))
    await asyncio.sleep(0)
    await library.close()
    assert (await submitting).job.state is State.QUEUED


async def test_a_database_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    library = Library(f"sqlite:///{tmp_path / 'nowhere' / 'reelin.db'}")
    with pytest.raises(Unavailable, match="The database does not answer"):
        await library.ping()
    await library.close()


async def test_what_changed_can_be_asked_for_by_version_and_by_id(library: Library) -> None:
    first = (await library.jobs.submit(new_job("first"))).job
    second = (await library.jobs.submit(new_job("second"))).job
    assert await library.jobs.versions_since(first.version) == [(second.id, second.version)]
    assert {job.id for job in await library.jobs.many([first.id, second.id, "video-none"])} == {first.id, second.id}
    assert (await library.jobs.tally())[State.QUEUED] == 2


async def test_who_asked_for_a_video_and_now_for_whatever_it_is_may_get_a_playlist(library: Library) -> None:
    await library.jobs.submit(replace(new_job(), kind=Kind.VIDEO))
    await library.jobs.begin("video-one", 1, 1)
    await library.jobs.fail("video-one", 1, failure=failure())
    assert (await library.jobs.submit(new_job())).job.kind is Kind.AUTO
